"""Carts, their items, what orders took out of them, and cart's own copy of the catalogue.

A cart belongs to a guest (known by the hash of a token) or to a user; a user's cart keeps its row and id for ever.
Whoever changes a cart holds its row lock. Locks are taken in one order everywhere: the guest's cart before the
user's, both before anything else.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    FetchedValue,
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    bindparam,
    column,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.database import db_now, metadata
from chassis.ids import new_id

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

    # The time that the database gives a change is part of the answer, at no further statement.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - declared by SQLAlchemy as what it is

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
    updated_at: Mapped[datetime] = mapped_column(
        Moment, server_default=text("clock_timestamp()"), onupdate=db_now(), server_onupdate=FetchedValue()
    )


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


class Offer(NamedTuple):
    """What the catalogue offers of a variant now, as far as cart knows: a row of the view `offers`."""

    variant_id: UUID
    product_id: UUID
    sku: str
    name: str
    image_url: str | None
    unit_price: int
    available: int
    """0 for what is no longer sold."""
    is_sellable: bool


OFFERS = table("offers", *(column(name) for name in Offer._fields))
"""The view that joins the three copies; the first migration says what makes a variant sellable."""


@dataclass(slots=True)
class LockedCart:
    """A cart whose row is locked, with its items: what is decided about it still holds at the commit."""

    session: AsyncSession
    cart: Cart
    items: dict[UUID, CartItem]
    """By variant."""
    offers: dict[UUID, Offer]
    """What the catalogue offers of the items' variants, by variant."""
    _removed: dict[UUID, CartItem] = field(default_factory=dict)

    def put(self, variant_id: UUID, quantity: int, *, seen_price: int) -> CartItem:
        """Make `quantity` the number of this variant, whether it is in the cart or not."""
        item = self.items.get(variant_id)
        if item is None:
            item = self._removed.pop(variant_id, None) or CartItem(id=new_id(), variant_id=variant_id)
            item.cart_id = self.cart.id
            self.session.add(item)
            self.items[variant_id] = item
        elif (item.quantity, item.seen_price) == (quantity, seen_price):
            return item
        item.quantity = quantity
        item.seen_price = seen_price
        self.mark_changed()
        return item

    def remove(self, item: CartItem) -> None:
        """Take an item out."""
        del self.items[item.variant_id]
        self._removed[item.variant_id] = item
        if item in self.session.new:
            self.session.expunge(item)  # put in by this very transaction: there is no row yet
        else:
            self.session.sync_session.delete(item)
        self.mark_changed()

    def adopt(self, item: CartItem, *, source: "LockedCart") -> None:
        """Move an item, with its id, from another locked cart that holds a variant this one does not."""
        self.offers[item.variant_id] = source.offers[item.variant_id]
        if item.variant_id in self._removed:
            # Until the flush the removed row still stands, and allows no second one of its variant: it comes back.
            source.remove(item)
            self.put(item.variant_id, item.quantity, seen_price=item.seen_price)
            return
        del source.items[item.variant_id]
        source.mark_changed()
        item.cart_id = self.cart.id
        self.items[item.variant_id] = item
        self.mark_changed()

    def mark_changed(self) -> None:
        """Let the version rise: the items are not what they were."""
        self.cart.version += 1


# One statement object each for all: building it and its cache key would cost as much as sending it.
_GUEST_CART = select(Cart).where(Cart.token_hash == bindparam("hash"), Cart.merged_into.is_(None)).with_for_update()
_USER_CART = select(Cart).where(Cart.user_id == bindparam("user_id")).with_for_update()
_ITEMS = (
    select(CartItem, *OFFERS.c)
    .join(OFFERS, OFFERS.c.variant_id == CartItem.variant_id)
    .where(CartItem.cart_id == bindparam("cart_id"))
    .order_by(CartItem.id)
)


async def lock_guest_cart(session: AsyncSession, token_hash: str) -> LockedCart | None:
    """The cart of a live guest token; none when the token is unknown or dead."""
    cart = (await session.execute(_GUEST_CART, {"hash": token_hash})).scalar_one_or_none()
    return None if cart is None else await _with_items(session, cart)


async def lock_user_cart(session: AsyncSession, user_id: UUID) -> LockedCart:
    """The user's one cart, made at the first need of it."""
    cart = (await session.execute(_USER_CART, {"user_id": user_id})).scalar_one_or_none()
    if cart is None:
        newcomer = insert(Cart).values(id=new_id(), user_id=user_id, version=0)
        await session.execute(newcomer.on_conflict_do_nothing(index_elements=[Cart.user_id]))
        cart = (await session.execute(_USER_CART, {"user_id": user_id})).scalar_one()
    return await _with_items(session, cart)


def new_guest_cart(session: AsyncSession, token_hash: str) -> LockedCart:
    """An empty cart for a guest who has none; nobody else can see it before the commit."""
    cart = Cart(id=new_id(), token_hash=token_hash, version=0)
    session.add(cart)
    return LockedCart(session, cart, {}, {})


async def _with_items(session: AsyncSession, cart: Cart) -> LockedCart:
    # A statement of its own: joined to the locking one, it would show the items as they were before the wait.
    found = await session.execute(_ITEMS, {"cart_id": cart.id})
    rows = [(item, Offer(*offer)) for item, *offer in found]
    items = {item.variant_id: item for item, _ in rows}
    return LockedCart(session, cart, items, {offer.variant_id: offer for _, offer in rows})
