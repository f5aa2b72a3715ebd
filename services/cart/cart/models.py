"""Carts, their items, what orders took out of them, and cart's own copy of the catalogue.

A cart belongs to a guest (known by the hash of a token) or to a user; a user's cart keeps its row and id for ever.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.database import metadata

MAX_ITEMS = 50
MAX_QUANTITY = 99

Moment = TIMESTAMP(timezone=True)


class Base(DeclarativeBase):
    """The tables of cart."""

    metadata = metadata()


class Cart(Base):
    """One shopper's changeable list."""

    __tablename__ = "carts"
    __table_args__ = (
        UniqueConstraint("user_id"),
        UniqueConstraint("token_hash"),
        CheckConstraint("(user_id IS NULL) <> (token_hash IS NULL)", name="one_owner"),
        CheckConstraint("merged_into IS NULL OR user_id IS NULL", name="only_guests_merge"),
        Index("ix_carts_guest_updated_at", "updated_at", postgresql_where=text("user_id IS NULL")),
        Index("ix_carts_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None]
    token_hash: Mapped[str | None]
    """SHA-256 of a guest's token; the token itself is stored nowhere."""
    version: Mapped[int] = mapped_column(BigInteger)
    """Rises with every change of the items and with nothing else."""
    merged_into: Mapped[UUID | None] = mapped_column(ForeignKey("carts.id"))
    """The user's cart that took over; from then on the guest's token is dead."""
    capped: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    """What that merge could not take over whole, for whoever asks with the dead token."""
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=text("clock_timestamp()"))
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=text("clock_timestamp()"))


class CartItem(Base):
    """One variant in a cart, how many of it, and the price the shopper saw when adding it."""

    __tablename__ = "cart_items"
    __table_args__ = (
        UniqueConstraint("cart_id", "variant_id"),
        CheckConstraint(f"quantity BETWEEN 1 AND {MAX_QUANTITY}", name="quantity"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    cart_id: Mapped[UUID] = mapped_column(ForeignKey("carts.id", ondelete="CASCADE"))
    variant_id: Mapped[UUID] = mapped_column(ForeignKey("variant_copies.variant_id"))
    quantity: Mapped[int] = mapped_column(SmallInteger)
    seen_price: Mapped[int] = mapped_column(BigInteger)


class OrderState(StrEnum):
    """What an order did to the cart it was made from."""

    TAKEN = "taken"
    """Its items left the cart."""
    RETURNED = "returned"
    """They came back, or never left, because the order closed unpaid."""


class CartOrder(Base):
    """One row per order, so that each order takes its items once and gives them back at most once."""

    __tablename__ = "cart_orders"
    __table_args__ = (
        UniqueConstraint("cart_id", "cart_version"),
        CheckConstraint("state IN ('taken', 'returned')", name="state"),
    )

    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    cart_id: Mapped[UUID] = mapped_column(ForeignKey("carts.id"))
    state: Mapped[str]
    items: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """Exactly what was removed: variant_id, quantity, seen_price."""
    cart_version: Mapped[int | None] = mapped_column(BigInteger)
    """The version that the taking produced; none when it removed nothing or was undone."""
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=text("clock_timestamp()"))


class ProductCopy(Base):
    """The newest version of a product that catalog has announced."""

    __tablename__ = "product_copies"

    product_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    is_withdrawn: Mapped[bool]


class VariantCopy(Base):
    """A variant as its product described it at `product_version`."""

    __tablename__ = "variant_copies"

    variant_id: Mapped[UUID] = mapped_column(primary_key=True)
    product_id: Mapped[UUID]
    product_version: Mapped[int] = mapped_column(BigInteger)
    sku: Mapped[str]
    name: Mapped[str]
    image_url: Mapped[str | None]
    unit_price: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    is_active: Mapped[bool]


class StockCopy(Base):
    """How many of a variant can be had, as catalog last said."""

    __tablename__ = "stock_copies"

    variant_id: Mapped[UUID] = mapped_column(primary_key=True)
    available: Mapped[int] = mapped_column(BigInteger)
    stock_version: Mapped[int] = mapped_column(BigInteger)
