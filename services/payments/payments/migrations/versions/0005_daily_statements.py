"""What the orders of a day are worth, beside what the provider kept for them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "daily_statements",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sums", postgresql.JSONB(), nullable=False),
        sa.Column("differing", postgresql.JSONB(), nullable=False),
        sa.Column("differing_count", sa.BigInteger(), nullable=False),
        sa.Column("is_under_way", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_daily_statements"),
    )
    # Of a day's attempts only: for the price of a few pages, where a B-tree would cost every capture an entry.
    op.create_index("ix_attempts_captured_at", "attempts", ["captured_at"], postgresql_using="brin")


def downgrade() -> None:
    op.drop_index("ix_attempts_captured_at", "attempts")
    op.drop_table("daily_statements")
