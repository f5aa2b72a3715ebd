"""Carts, their items, what orders took, and the copy of the catalogue."""

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
    create_catalog_copy()
    create_carts()
    op.create_table(
        "cart_items",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("cart_id", sa.Uuid, nullable=False),
        sa.Column("variant_id", sa.Uuid, nullable=False),
        sa.Column("quantity", sa.SmallInteger, nullable=False),
        sa.Column("seen_price", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cart_items"),
        sa.ForeignKeyConstraint(["cart_id"], ["carts.id"], name="fk_cart_items_cart_id_carts", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["variant_copies.variant_id"], name="fk_cart_items_variant_id_variant_copies"
        ),
        sa.UniqueConstraint("cart_id", "variant_id", name="uq_cart_items_cart_id_variant_id"),
        sa.CheckConstraint("quantity BETWEEN 1 AND 99", name="quantity"),
    )
    op.create_table(
        "cart_orders",
        sa.Column("order_id", sa.Uuid, nullable=False),
        sa.Column("cart_id", sa.Uuid, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("items", postgresql.JSONB, nullable=False),
        sa.Column("cart_version", sa.BigInteger),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("order_id", name="pk_cart_orders"),
        sa.ForeignKeyConstraint(["cart_id"], ["carts.id"], name="fk_cart_orders_cart_id_carts"),
        sa.UniqueConstraint("cart_id", "cart_version", name="uq_cart_orders_cart_id_cart_version"),
        sa.CheckConstraint("state IN ('taken', 'returned')", name="state"),
    )


def create_carts() -> None:
    op.create_table(
        "carts",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("token_hash", sa.String),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("merged_into", sa.Uuid),
        sa.Column("capped", postgresql.JSONB, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name="pk_carts"),
        sa.ForeignKeyConstraint(["merged_into"], ["carts.id"], name="fk_carts_merged_into_carts"),
        sa.UniqueConstraint("user_id", name="uq_carts_user_id"),
        sa.UniqueConstraint("token_hash", name="uq_carts_token_hash"),
        sa.CheckConstraint("(user_id IS NULL) <> (token_hash IS NULL)", name="one_owner"),
        sa.CheckConstraint("merged_into IS NULL OR user_id IS NULL", name="only_guests_merge"),
    )
    op.create_index("ix_carts_guest_updated_at", "carts", ["updated_at"], postgresql_where=sa.text("user_id IS NULL"))
    op.create_index(
        "ix_carts_merged_into", "carts", ["merged_into"], postgresql_where=sa.text("merged_into IS NOT NULL")
    )


def create_catalog_copy() -> None:
    op.create_table(
        "product_copies",
        sa.Column("product_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("is_withdrawn", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("product_id", name="pk_product_copies"),
    )
    op.create_table(
        "variant_copies",
        sa.Column("variant_id", sa.Uuid, nullable=False),
        sa.Column("product_id", sa.Uuid, nullable=False),
        sa.Column("product_version", sa.BigInteger, nullable=False),
        sa.Column("sku", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("image_url", sa.String),
        sa.Column("unit_price", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("variant_id", name="pk_variant_copies"),
    )
    op.create_table(
        "stock_copies",
        sa.Column("variant_id", sa.Uuid, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("stock_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("variant_id", name="pk_stock_copies"),
    )
    op.execute(
        """
        CREATE VIEW offers AS
        SELECT variant_id, product_id, sku, name, image_url, unit_price,
               CASE WHEN is_sellable THEN available ELSE 0 END AS available,
               is_sellable
        FROM variant_copies AS variant
        LEFT JOIN product_copies AS product USING (product_id)
        LEFT JOIN stock_copies AS stock USING (variant_id)
        CROSS JOIN LATERAL (
            -- A variant that the newest version of its product no longer lists is no longer sold.
            SELECT variant.is_active
               AND product.is_withdrawn IS NOT TRUE
               AND coalesce(product.version, 0) <= variant.product_version AS is_sellable
        ) AS rule
        """
    )


def downgrade() -> None:
    op.execute("DROP VIEW offers")
    for table in ("cart_orders", "cart_items", "carts", "stock_copies", "variant_copies", "product_copies"):
        op.drop_table(table)
    drop_chassis_tables()
