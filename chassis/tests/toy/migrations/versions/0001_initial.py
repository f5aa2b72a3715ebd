import sqlalchemy as sa
from alembic import op

from chassis.migrations import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_chassis_tables()
    op.create_table(
        "things",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("quantity", sa.BigInteger, sa.CheckConstraint("quantity < 99", name="few"), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("things")
    drop_chassis_tables()
