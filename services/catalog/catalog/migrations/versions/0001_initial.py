"""Categories, products, stock and reservations."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from chassis.migrations import create_chassis_tables, drop_chassis_tables

revision = "0001"
down_revision = None

SEARCH_VECTOR = """
setweight(to_tsvector('simple'::regconfig, search_name), 'A')
|| setweight(to_tsvector('english'::regconfig, search_name), 'A')
|| setweight(to_tsvector('simple'::regconfig, search_skus), 'B')
|| setweight(to_tsvector('english'::regconfig, description), 'D')
"""
STATUSES = "'held', 'released', 'committed', 'commit_failed', 'returned', 'expired'"


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    default = None if nullable else sa.text("clock_timestamp()")
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _bool(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def upgrade() -> None:
    create_chassis_tables()
    # Both are trusted extensions: the owner of the database may create them.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE EXTENSION IF NOT EXISTS fuzzystrmatch")
    _create_categories()
    _create_products()
    _create_variants()
    _create_stock()
    _create_reservations()
    op.create_table("search_words", sa.Column("word", sa.Text(collation="C"), primary_key=True))


def _create_categories() -> None:
    op.create_table(
        "categories",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("parent_id", sa.Uuid(), sa.ForeignKey("categories.id"), nullable=True),
        sa.Column("ancestor_ids", ARRAY(sa.Uuid()), nullable=False),
        _text("slug"),
        _text("name"),
        _text("description"),
        _int("position"),
        _bool("is_active"),
        sa.Column("version", sa.BigInteger(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        sa.CheckConstraint("ancestor_ids[cardinality(ancestor_ids)] = id", name="path_ends_at_itself"),
        sa.CheckConstraint("cardinality(ancestor_ids) <= 10", name="depth"),
    )
    op.create_index("uq_categories_slug", "categories", ["slug"], unique=True)
    op.create_index("ix_categories_parent_id", "categories", ["parent_id"])
    op.create_index("ix_categories_ancestor_ids", "categories", ["ancestor_ids"], postgresql_using="gin")


def _create_products() -> None:
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _text("slug"),
        _text("name"),
        sa.Column("name_key", sa.Text(collation="C"), nullable=False),
        _text("description"),
        sa.Column("attributes", JSONB(), nullable=False),
        sa.Column("category_id", sa.Uuid(), sa.ForeignKey("categories.id"), nullable=True),
        _bool("is_featured"),
        _bool("is_active"),
        _text("image_url", nullable=True),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("compare_at_price", sa.BigInteger(), nullable=True),
        sa.Column("default_variant_id", sa.Uuid(), nullable=True),
        _bool("in_stock"),
        _text("search_name"),
        _text("search_skus"),
        sa.Column("search_vector", TSVECTOR(), sa.Computed(SEARCH_VECTOR, persisted=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        _time("deleted_at", nullable=True),
        sa.CheckConstraint("price >= 0 AND compare_at_price >= 0", name="price_not_negative"),
        sa.CheckConstraint("category_id IS NOT NULL OR deleted_at IS NOT NULL", name="category_while_sold"),
    )
    kept = sa.text("deleted_at IS NULL")
    op.create_index("uq_products_slug", "products", ["slug"], unique=True, postgresql_where=kept)
    op.create_index("ix_products_search_vector", "products", ["search_vector"], postgresql_using="gin")
    for order, column in (("price", "price"), ("name", "name_key"), ("created", "created_at")):
        op.create_index(f"ix_products_{order}", "products", [column, "id"], postgresql_where=kept)
        below = ["category_id", column, "id"]
        op.create_index(f"ix_products_category_{order}", "products", below, postgresql_where=kept)
    shown = sa.text("deleted_at IS NULL AND is_active")
    op.create_index("ix_products_category_active", "products", ["category_id"], postgresql_where=shown)
    for name, condition in (("featured", "is_featured"), ("inactive", "NOT is_active")):
        where = sa.text(f"deleted_at IS NULL AND {condition}")
        op.create_index(f"ix_products_{name}", "products", ["created_at", "id"], postgresql_where=where)


def _create_variants() -> None:
    op.create_table(
        "variants",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("product_id", sa.Uuid(), sa.ForeignKey("products.id"), nullable=False),
        _text("sku"),
        _text("name"),
        sa.Column("options", JSONB(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("compare_at_price", sa.BigInteger(), nullable=True),
        _bool("is_active"),
        _int("position"),
        _time("created_at"),
        _time("updated_at"),
        _time("deleted_at", nullable=True),
        sa.CheckConstraint("price >= 0 AND compare_at_price > price", name="prices"),
    )
    kept = sa.text("deleted_at IS NULL")
    op.create_index("uq_variants_sku", "variants", ["sku"], unique=True, postgresql_where=kept)
    op.create_index("uq_variants_options", "variants", ["product_id", "options"], unique=True, postgresql_where=kept)
    op.create_index("ix_variants_product_id", "variants", ["product_id", "position"])


def _create_stock() -> None:
    op.create_table(
        "stock_levels",
        sa.Column("variant_id", sa.Uuid(), sa.ForeignKey("variants.id"), primary_key=True),
        sa.Column("product_id", sa.Uuid(), sa.ForeignKey("products.id"), nullable=False),
        _int("on_hand"),
        _int("reserved"),
        _int("low_stock_threshold"),
        sa.Column("stock_version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("reserved >= 0 AND reserved <= on_hand", name="never_oversold"),
    )
    op.create_index("ix_stock_levels_product_id", "stock_levels", ["product_id"])
    op.create_index(
        "ix_stock_levels_low",
        "stock_levels",
        [sa.text("(on_hand - reserved)"), "variant_id"],
        postgresql_where=sa.text("on_hand - reserved <= low_stock_threshold"),
    )
    op.create_table(
        "stock_movements",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("variant_id", sa.Uuid(), sa.ForeignKey("variants.id"), nullable=False),
        _text("kind"),
        _int("delta"),
        _int("on_hand"),
        _text("reason", nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        _time("created_at"),
        sa.CheckConstraint("kind IN ('initial', 'adjustment', 'committed', 'returned')", name="kind"),
    )
    op.create_index("ix_stock_movements_variant_id", "stock_movements", ["variant_id", "number"])


def _create_reservations() -> None:
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Uuid(), primary_key=True),
        _text("status"),
        _int("hold"),
        _int("version"),
        _text("decided_by", nullable=True),
        _bool("is_closed"),
        _time("touched_at"),
        _time("confirmed_at", nullable=True),
        _time("created_at"),
        sa.CheckConstraint(f"status IN ({STATUSES})", name="status"),
    )
    for name, column, condition in (
        ("unconfirmed", "touched_at", "confirmed_at IS NULL"),
        ("confirmed", "confirmed_at", "confirmed_at IS NOT NULL"),
    ):
        where = sa.text(f"status = 'held' AND {condition}")
        op.create_index(f"ix_reservations_{name}", "reservations", [column], postgresql_where=where)
    op.create_table(
        "reservation_items",
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("reservations.order_id"), primary_key=True),
        sa.Column("variant_id", sa.Uuid(), primary_key=True),
        _int("quantity"),
        sa.CheckConstraint("quantity > 0", name="quantity"),
    )
    op.create_index("ix_reservation_items_variant_id", "reservation_items", ["variant_id"])
    op.create_table(
        "reservation_history",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("order_id", sa.Uuid(), sa.ForeignKey("reservations.order_id"), nullable=False),
        _text("from_status", nullable=True),
        _text("to_status"),
        _text("cause"),
        _int("hold"),
        _time("at"),
    )
    op.create_index("ix_reservation_history_order_id", "reservation_history", ["order_id", "number"])


def downgrade() -> None:
    for table in (
        "search_words",
        "reservation_history",
        "reservation_items",
        "reservations",
        "stock_movements",
        "stock_levels",
        "variants",
        "products",
        "categories",
    ):
        op.drop_table(table)
    # The extensions stay: they may have been there before, and somebody else's.
    drop_chassis_tables()
