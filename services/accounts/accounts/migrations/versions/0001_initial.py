"""Users, sessions, refresh tokens, addresses, counters of failed attempts."""

import sqlalchemy as sa
from alembic import op

from chassis.migrations import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NO = sa.text("false")


def upgrade() -> None:
    create_chassis_tables()
    create_users()
    create_sessions()
    create_addresses()
    op.create_table(
        "attempt_counters",
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("failures", sa.Float, nullable=False),
        sa.Column("counted_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_attempt_counters"),
    )
    op.create_index("ix_attempt_counters_counted_at", "attempt_counters", ["counted_at"])


def create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("phone", sa.Text),
        sa.Column("role", sa.Text, nullable=False, server_default="customer"),
        sa.Column("email_verified", sa.Boolean, nullable=False, server_default=NO),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("created_at", MOMENT, nullable=False, server_default=NOW),
        sa.Column("updated_at", MOMENT, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.CheckConstraint("role IN ('customer', 'staff', 'admin')", name=op.f("ck_users_role")),
    )
    op.execute("CREATE UNIQUE INDEX uq_users_email ON users (lower(email) text_pattern_ops)")
    op.execute("CREATE INDEX ix_users_full_name ON users (lower(full_name) text_pattern_ops)")
    op.create_index("ix_users_role", "users", ["role", "id"])
    op.create_index("ix_users_inactive", "users", ["id"], postgresql_where=sa.text("NOT is_active"))


def create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("user_agent", sa.Text),
        sa.Column("created_at", MOMENT, nullable=False, server_default=NOW),
        sa.Column("last_used_at", MOMENT, nullable=False, server_default=NOW),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("end_reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id", "id"])
    op.create_index("ix_sessions_ended_at", "sessions", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL"))
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("session_id", sa.Uuid, nullable=False),
        sa.Column("issued_at", MOMENT, nullable=False, server_default=NOW),
        sa.Column("spent_at", MOMENT),
        sa.PrimaryKeyConstraint("digest", name="pk_refresh_tokens"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_refresh_tokens_session_id_sessions", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"])


def create_addresses() -> None:
    op.create_table(
        "addresses",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("recipient_name", sa.Text, nullable=False),
        sa.Column("line1", sa.Text, nullable=False),
        sa.Column("line2", sa.Text),
        sa.Column("city", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("postal_code", sa.Text, nullable=False),
        sa.Column("country", sa.Text, nullable=False),
        sa.Column("phone", sa.Text),
        sa.Column("is_default_shipping", sa.Boolean, nullable=False, server_default=NO),
        sa.Column("is_default_billing", sa.Boolean, nullable=False, server_default=NO),
        sa.Column("created_at", MOMENT, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name="pk_addresses"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_addresses_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_addresses_user_id", "addresses", ["user_id", "id"])
    for purpose in ("shipping", "billing"):
        op.create_index(
            f"uq_addresses_default_{purpose}",
            "addresses",
            ["user_id"],
            unique=True,
            postgresql_where=sa.text(f"is_default_{purpose}"),
        )


def downgrade() -> None:
    for table in ("attempt_counters", "addresses", "refresh_tokens", "sessions", "users"):
        op.drop_table(table)
    drop_chassis_tables()
