"""Orders, their items, and the history of their moves."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.migrations import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
NO = sa.text("false")
NOTHING = sa.text("0")

STATUSES = "('awaiting_payment', 'closing', 'paid', 'shipped', 'delivered', 'cancelled', 'expired')"
CHECKS = {
    "status": f"status IN {STATUSES}",
    "payment_status": "payment_status IN ('unpaid', 'paid', 'partially_refunded', 'refunded', 'refund_failed')",
    "close_reason": "close_reason IS NULL OR close_reason IN ('expired', 'cancelled', 'out_of_stock')",
    "closed_for_a_reason": "(close_reason IS NOT NULL) = (status IN ('closing', 'cancelled', 'expired'))",
    "closing_since": "(closing_since IS NULL) OR (close_reason IS NOT NULL)",
    "amounts": "subtotal >= 0 AND discount >= 0 AND shipping >= 0 AND tax >= 0 AND total >= 0",
    "total": "total = subtotal + shipping + tax - discount",
    "paid_by_an_attempt": (
        "status NOT IN ('paid', 'shipped', 'delivered') OR total = 0 OR paying_attempt_id IS NOT NULL"
    ),
    "currency": "currency ~ '^[A-Z]{3}$'",
    "version": "version > 0",
}


def upgrade() -> None:
    create_chassis_tables()
    create_orders()
    create_order_indexes()
    create_order_items()
    create_order_moves()


def create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("placement", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("cart_id", sa.Uuid, nullable=False),
        sa.Column("cart_version", sa.BigInteger, nullable=False),
        sa.Column("cart_knows", sa.Boolean, nullable=False, server_default=NO),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("close_reason", sa.Text),
        sa.Column("needs_review", sa.Boolean, nullable=False, server_default=NO),
        *money_columns(),
        sa.Column("stock_committed_at", MOMENT),
        sa.Column("stock_given_back_at", MOMENT),
        sa.Column("shipping_address", postgresql.JSONB, nullable=False),
        sa.Column("billing_address", postgresql.JSONB),
        sa.Column("note", sa.Text),
        sa.Column("carrier", sa.Text),
        sa.Column("tracking", sa.Text),
        sa.Column("placed_at", MOMENT, nullable=False),
        sa.Column("pay_by", MOMENT, nullable=False),
        sa.Column("deadline", MOMENT, nullable=False),
        *(sa.Column(name, MOMENT) for name in ("paid_at", "closing_since", "closed_at", "shipped_at", "delivered_at")),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.UniqueConstraint("number", name="uq_orders_number"),
        sa.UniqueConstraint("paying_attempt_id", name="uq_orders_paying_attempt_id"),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_orders_{name}")) for name, rule in CHECKS.items()),
    )


def money_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("subtotal", sa.BigInteger, nullable=False),
        sa.Column("discount", sa.BigInteger, nullable=False, server_default=NOTHING),
        sa.Column("shipping", sa.BigInteger, nullable=False, server_default=NOTHING),
        sa.Column("tax", sa.BigInteger, nullable=False, server_default=NOTHING),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("payment_status", sa.Text, nullable=False, server_default="unpaid"),
        sa.Column("payment_version", sa.BigInteger, nullable=False, server_default=NOTHING),
        sa.Column("payment_id", sa.Uuid),
        sa.Column("paying_attempt_id", sa.Uuid),
        sa.Column("returned_attempts", sa.ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'")),
    ]


def create_order_indexes() -> None:
    newest_first = [sa.text("placed_at DESC"), sa.text("id DESC")]
    op.create_index("ix_orders_user_id_placement", "orders", ["user_id", sa.text("placement DESC")])
    op.create_index("ix_orders_placed_at", "orders", newest_first)
    op.create_index("ix_orders_status_placed_at", "orders", ["status", *newest_first])
    create_partial("uq_orders_open_cart_version", ["cart_id", "cart_version"], "status NOT IN ('cancelled', 'expired')")
    create_partial("ix_orders_unknown_to_cart", ["user_id", "placement"], "NOT cart_knows")
    create_partial("ix_orders_deadline", ["deadline"], "status = 'awaiting_payment'")
    create_partial("ix_orders_closing_since", ["closing_since"], "status = 'closing'")
    create_partial("ix_orders_needs_review", ["placed_at"], "needs_review")


def create_partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "orders", columns, unique=name.startswith("uq_"), postgresql_where=sa.text(where))


def create_order_items() -> None:
    op.create_table(
        "order_items",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("position", sa.SmallInteger, nullable=False),
        sa.Column("variant_id", sa.Uuid, nullable=False),
        sa.Column("product_id", sa.Uuid, nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("image_url", sa.Text),
        sa.Column("quantity", sa.SmallInteger, nullable=False),
        sa.Column("price_at_purchase", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_order_items"),
        sa.UniqueConstraint("order_id", "variant_id", name="uq_order_items_order_id_variant_id"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_order_items_order_id_orders", ondelete="CASCADE"),
        sa.CheckConstraint("quantity BETWEEN 1 AND 99", name=op.f("ck_order_items_quantity")),
        sa.CheckConstraint("price_at_purchase >= 0", name=op.f("ck_order_items_price_at_purchase")),
    )


def create_order_moves() -> None:
    op.create_table(
        "order_moves",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("move", sa.Text, nullable=False),
        sa.Column("from_status", sa.Text),
        sa.Column("to_status", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("actor_kind", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("attempt_id", sa.Uuid),
        sa.Column("note", sa.Text),
        sa.Column("at", MOMENT, nullable=False, server_default=sa.text("clock_timestamp()")),
        sa.PrimaryKeyConstraint("id", name="pk_order_moves"),
        sa.UniqueConstraint("order_id", "version", name="uq_order_moves_order_id_version"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_order_moves_order_id_orders", ondelete="CASCADE"),
        sa.CheckConstraint("actor_kind IN ('customer', 'staff', 'system')", name=op.f("ck_order_moves_actor_kind")),
    )


def downgrade() -> None:
    for table in ("order_moves", "order_items", "orders"):
        op.drop_table(table)
    drop_chassis_tables()
