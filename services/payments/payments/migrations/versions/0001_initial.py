"""Payments, provider orders, attempts, observations, refunds and stored webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrations import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    create_chassis_tables()
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.Column("pay_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closing_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_ask_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint(
            "status IN ('new','creating','open','closing','closed','settled')", name=op.f("ck_payments_status")
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_payments_amount")),
        sa.PrimaryKeyConstraint("id", name="pk_payments"),
        sa.UniqueConstraint("order_id", name="uq_payments_order_id"),
        sa.UniqueConstraint("receipt", name="uq_payments_receipt"),
    )
    op.create_index(
        "ix_payments_due",
        "payments",
        ["next_ask_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('creating','open','closing')"),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("tries", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_events"),
    )
    op.create_index(
        "ix_webhook_events_due",
        "webhook_events",
        ["next_try_at"],
        unique=False,
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_index("ix_webhook_events_received_at", "webhook_events", ["received_at"], unique=False)
    op.create_table(
        "payment_history",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name="fk_payment_history_payment_id_payments"),
        sa.PrimaryKeyConstraint("id", name="pk_payment_history"),
    )
    op.create_index("ix_payment_history_payment_id", "payment_history", ["payment_id"], unique=False)
    op.create_table(
        "provider_orders",
        sa.Column("provider_order_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name="fk_provider_orders_payment_id_payments"),
        sa.PrimaryKeyConstraint("provider_order_id", name="pk_provider_orders"),
    )
    op.create_index("ix_provider_orders_payment_id", "provider_orders", ["payment_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("provider_order_id", sa.Text(), nullable=False),
        sa.Column("provider_payment_id", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("captured", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_description", sa.Text(), nullable=True),
        sa.Column("to_return", sa.Text(), nullable=True),
        sa.Column("refunds_checked", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refunds_seen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("captured BETWEEN 0 AND amount", name=op.f("ck_attempts_captured")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name="fk_attempts_payment_id_payments"),
        sa.ForeignKeyConstraint(
            ["provider_order_id"],
            ["provider_orders.provider_order_id"],
            name="fk_attempts_provider_order_id_provider_orders",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.UniqueConstraint("provider_payment_id", name="uq_attempts_provider_payment_id"),
    )
    op.create_index("ix_attempts_payment_id", "attempts", ["payment_id"], unique=False)
    op.create_index(
        "ix_attempts_to_return", "attempts", ["id"], unique=False, postgresql_where=sa.text("to_return IS NOT NULL")
    )
    op.create_index(
        "ix_attempts_refunds_unseen",
        "attempts",
        ["id"],
        unique=False,
        postgresql_where=sa.text("refunds_seen > refunds_checked"),
    )
    op.create_table(
        "observations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("raw", postgresql.JSONB(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name="fk_observations_attempt_id_attempts"),
        sa.PrimaryKeyConstraint("id", name="pk_observations"),
    )
    op.create_index("ix_observations_attempt_id", "observations", ["attempt_id"], unique=False)
    op.create_index(
        "ix_observations_asked_for",
        "observations",
        ["at"],
        unique=False,
        postgresql_where=sa.text("source = 'poll' AND applied"),
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("provider_refund_id", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tries", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("status IN ('requested','submitted','processed','failed')", name=op.f("ck_refunds_status")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refunds_amount")),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name="fk_refunds_attempt_id_attempts"),
        sa.PrimaryKeyConstraint("id", name="pk_refunds"),
        sa.UniqueConstraint("provider_refund_id", name="uq_refunds_provider_refund_id"),
    )
    op.create_index("ix_refunds_attempt_id", "refunds", ["attempt_id"], unique=False)
    op.create_index(
        "ix_refunds_due",
        "refunds",
        ["next_try_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('requested','submitted')"),
    )
    op.create_table(
        "refund_history",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("refund_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name="fk_refund_history_refund_id_refunds"),
        sa.PrimaryKeyConstraint("id", name="pk_refund_history"),
    )
    op.create_index("ix_refund_history_refund_id", "refund_history", ["refund_id"], unique=False)


def downgrade() -> None:
    op.drop_table("refund_history")
    op.drop_table("refunds")
    op.drop_table("observations")
    op.drop_table("attempts")
    op.drop_table("provider_orders")
    op.drop_table("payment_history")
    op.drop_table("webhook_events")
    op.drop_table("payments")
    drop_chassis_tables()
