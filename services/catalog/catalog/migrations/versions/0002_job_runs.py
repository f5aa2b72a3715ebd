"""How each job's last run ended; events are found by their correlation."""

from chassis.migrations import add_job_runs, drop_job_runs

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    add_job_runs()


def downgrade() -> None:
    drop_job_runs()
