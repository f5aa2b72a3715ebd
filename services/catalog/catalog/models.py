"""The tables of catalog.

A product carries what the product list needs of its variants (`price`, `in_stock`, `default_variant_id`), so that a
page of fifty is one index scan; whoever changes variants or stock refreshes it in the same transaction (`offers.py`).
Stock stands apart from what is described and shown: the counters are hot, the descriptions are not.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    text,
)
from sqlalchemy import Uuid as UuidType
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.database import metadata

SEARCH_VECTOR = """
setweight(to_tsvector('simple'::regconfig, search_name), 'A')
|| setweight(to_tsvector('english'::regconfig, search_name), 'A')
|| setweight(to_tsvector('simple'::regconfig, search_skus), 'B')
|| setweight(to_tsvector('english'::regconfig, description), 'D')
"""
NOT_DELETED = text("deleted_at IS NULL")
NOW = text("clock_timestamp()")


class Base(DeclarativeBase):
    """Catalog's tables, beside the chassis' outbox, inbox and idempotency keys."""

    metadata = metadata()
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        UUID: UuidType(as_uuid=True),
        str: Text(),
    }


class Category(Base):
    """A node of the tree. `ancestor_ids` runs from the root to the category itself and is never empty."""

    __tablename__ = "categories"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id"))
    ancestor_ids: Mapped[list[UUID]] = mapped_column(ARRAY(UuidType(as_uuid=True)))
    slug: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    position: Mapped[int] = mapped_column(Integer)
    is_active: Mapped[bool]
    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("ancestor_ids[cardinality(ancestor_ids)] = id", name="path_ends_at_itself"),
        CheckConstraint("cardinality(ancestor_ids) <= 10", name="depth"),
        Index("uq_categories_slug", "slug", unique=True),
        Index("ix_categories_parent_id", "parent_id"),
        Index("ix_categories_ancestor_ids", "ancestor_ids", postgresql_using="gin"),
    )


class Product(Base):
    """What is described and shown. Deleted ones keep their row, so that stock and movements keep their meaning."""

    __tablename__ = "products"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str]
    name: Mapped[str]
    name_key: Mapped[str] = mapped_column(Text(collation="C"))
    description: Mapped[str]
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB)
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id"))
    is_featured: Mapped[bool]
    is_active: Mapped[bool]
    image_url: Mapped[str | None]
    price: Mapped[int] = mapped_column(BigInteger)
    compare_at_price: Mapped[int | None] = mapped_column(BigInteger)
    default_variant_id: Mapped[UUID | None]
    in_stock: Mapped[bool]
    search_name: Mapped[str]
    search_skus: Mapped[str]
    search_vector: Mapped[str] = mapped_column(TSVECTOR, Computed(SEARCH_VECTOR, persisted=True), deferred=True)
    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("price >= 0 AND compare_at_price >= 0", name="price_not_negative"),
        CheckConstraint("category_id IS NOT NULL OR deleted_at IS NOT NULL", name="category_while_sold"),
        Index("uq_products_slug", "slug", unique=True, postgresql_where=NOT_DELETED),
        Index("ix_products_search_vector", "search_vector", postgresql_using="gin"),
        # One index per order of the list, and one per order below a category: each page is a walk along one.
        Index("ix_products_price", "price", "id", postgresql_where=NOT_DELETED),
        Index("ix_products_name", "name_key", "id", postgresql_where=NOT_DELETED),
        Index("ix_products_created", "created_at", "id", postgresql_where=NOT_DELETED),
        Index("ix_products_category_price", "category_id", "price", "id", postgresql_where=NOT_DELETED),
        Index("ix_products_category_name", "category_id", "name_key", "id", postgresql_where=NOT_DELETED),
        Index("ix_products_category_created", "category_id", "created_at", "id", postgresql_where=NOT_DELETED),
        # Counts by category read this one alone.
        Index("ix_products_category_active", "category_id", postgresql_where=text("deleted_at IS NULL AND is_active")),
        Index(
            "ix_products_featured",
            "created_at",
            "id",
            postgresql_where=text("deleted_at IS NULL AND is_featured"),
        ),
        Index(
            "ix_products_inactive",
            "created_at",
            "id",
            postgresql_where=text("deleted_at IS NULL AND NOT is_active"),
        ),
    )


class Variant(Base):
    """The version of a product that can be bought. `name` is the label of its options, e.g. "Blue / M"."""

    __tablename__ = "variants"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    sku: Mapped[str]
    name: Mapped[str]
    options: Mapped[dict[str, str]] = mapped_column(JSONB)
    price: Mapped[int] = mapped_column(BigInteger)
    compare_at_price: Mapped[int | None] = mapped_column(BigInteger)
    is_active: Mapped[bool]
    position: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=NOW)
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("price >= 0 AND compare_at_price > price", name="prices"),
        Index("uq_variants_sku", "sku", unique=True, postgresql_where=NOT_DELETED),
        Index("uq_variants_options", "product_id", "options", unique=True, postgresql_where=NOT_DELETED),
        Index("ix_variants_product_id", "product_id", "position"),
    )


class StockLevel(Base):
    """How much of a variant is there, and how much of that is promised to orders. Locked in the order of variant ids.

    `stock_version` rises whenever what is available changes.
    """

    __tablename__ = "stock_levels"

    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"), primary_key=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    on_hand: Mapped[int] = mapped_column(Integer)
    reserved: Mapped[int] = mapped_column(Integer)
    low_stock_threshold: Mapped[int] = mapped_column(Integer)
    stock_version: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("reserved >= 0 AND reserved <= on_hand", name="never_oversold"),
        Index("ix_stock_levels_product_id", "product_id"),
        Index(
            "ix_stock_levels_low",
            text("(on_hand - reserved)"),
            "variant_id",
            postgresql_where=text("on_hand - reserved <= low_stock_threshold"),
        ),
    )


class StockMovement(Base):
    """The ledger of what came and went. Rows are only ever added; per variant they sum up to what is on hand."""

    __tablename__ = "stock_movements"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variants.id"))
    kind: Mapped[str]
    delta: Mapped[int] = mapped_column(Integer)
    on_hand: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str | None]
    order_id: Mapped[UUID | None]
    actor_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("kind IN ('initial', 'adjustment', 'committed', 'returned')", name="kind"),
        Index("ix_stock_movements_variant_id", "variant_id", "number"),
    )


class Reservation(Base):
    """The claim of one order on stock. `decided_by` names the last order event that was applied to it.

    `hold` counts the PUTs, so that a release frees only the hold its sender saw.
    """

    __tablename__ = "reservations"

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str]
    hold: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    decided_by: Mapped[str | None]
    is_closed: Mapped[bool]
    touched_at: Mapped[datetime] = mapped_column(server_default=NOW)
    confirmed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint(
            "status IN ('held', 'released', 'committed', 'commit_failed', 'returned', 'expired')", name="status"
        ),
        Index(
            "ix_reservations_unconfirmed",
            "touched_at",
            postgresql_where=text("status = 'held' AND confirmed_at IS NULL"),
        ),
        Index(
            "ix_reservations_confirmed",
            "confirmed_at",
            postgresql_where=text("status = 'held' AND confirmed_at IS NOT NULL"),
        ),
    )


class ReservationItem(Base):
    """What a reservation claims of one variant; it counts as reserved only while the reservation is held."""

    __tablename__ = "reservation_items"

    order_id: Mapped[UUID] = mapped_column(ForeignKey("reservations.order_id"), primary_key=True)
    variant_id: Mapped[UUID] = mapped_column(primary_key=True)
    quantity: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        Index("ix_reservation_items_variant_id", "variant_id"),
    )


class ReservationHistory(Base):
    """Every transition of a reservation, with its cause: a path of the table in `reservations.py`."""

    __tablename__ = "reservation_history"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("reservations.order_id"))
    from_status: Mapped[str | None]
    to_status: Mapped[str]
    cause: Mapped[str]
    hold: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (Index("ix_reservation_history_order_id", "order_id", "number"),)


class SearchWord(Base):
    """The words of all product names, in which a mistyped word finds its neighbours."""

    __tablename__ = "search_words"

    word: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
