"""A cart under lock: found with its items in one statement, changed in memory, written back in another.

Whoever changes a cart holds its row lock. Locks are taken in one order everywhere: the guest's cart before the
user's, both before anything else. Every purchase passes here three times, so the statements go to the driver.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.ids import new_id
from chassis.plain_sql import driver_connection, end_with


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


@dataclass(slots=True)
class Item:
    """One variant in a cart, how many of it, and the price the shopper saw when adding it."""

    id: UUID
    variant_id: UUID
    quantity: int
    seen_price: int
    is_written: bool
    """The row says the same."""


@dataclass(slots=True)
class LockedCart:
    """A cart whose row is locked, with its items: what is decided about it still holds at the commit.

    Nothing is written before `save` or `save_with_commit`.
    """

    session: AsyncSession
    id: UUID
    version: int
    updated_at: datetime
    items: dict[UUID, Item] = field(default_factory=dict)
    """By variant."""
    offers: dict[UUID, Offer] = field(default_factory=dict)
    """What the catalogue offers of the items' variants, by variant."""
    new_token_hash: str | None = None
    """Of the guest whose cart this is, as long as it has no row."""
    merged_into: UUID | None = None
    capped: list[dict[str, Any]] = field(default_factory=list)
    _removed: dict[UUID, Item] = field(default_factory=dict)
    _is_changed: bool = False

    def put(self, variant_id: UUID, quantity: int, *, seen_price: int) -> Item:
        """Make `quantity` the number of this variant, whether it is in the cart or not."""
        item = self.items.get(variant_id)
        if item is None:
            item = self._removed.pop(variant_id, None) or Item(new_id(), variant_id, 0, 0, is_written=False)
            self.items[variant_id] = item
        elif (item.quantity, item.seen_price) == (quantity, seen_price):
            return item
        item.quantity, item.seen_price, item.is_written = quantity, seen_price, False
        self.mark_changed()
        return item

    def remove(self, item: Item) -> None:
        """Take an item out."""
        del self.items[item.variant_id]
        self._removed[item.variant_id] = item
        self.mark_changed()

    def adopt(self, item: Item, *, source: "LockedCart") -> None:
        """Move an item, with its id, from another locked cart that holds a variant this one does not."""
        self.offers[item.variant_id] = source.offers[item.variant_id]
        if item.variant_id in self._removed:
            # The removed row still stands, and allows no second one of its variant: it comes back.
            source.remove(item)
            self.put(item.variant_id, item.quantity, seen_price=item.seen_price)
            return
        del source.items[item.variant_id]
        source.mark_changed()
        item.is_written = False
        self.items[item.variant_id] = item
        self.mark_changed()

    def end(self, *, merged_into: UUID, capped: list[dict[str, Any]]) -> None:
        """Make the guest's token dead: the user's cart took over."""
        self.merged_into, self.capped, self._is_changed = merged_into, capped, True

    def mark_changed(self) -> None:
        """Let the version rise: the items are not what they were."""
        self.version += 1
        self._is_changed = True

    async def save(self) -> None:
        """Write what was changed, if anything was, and learn when that was."""
        if self._is_changed:
            connection = await driver_connection(self.session)
            self.updated_at = await connection.fetchval(*self._written())

    def save_with_commit(self) -> None:
        """Write it with the commit, where nobody needs to know when that was."""
        if self._is_changed:
            end_with(self.session, *self._written())

    def _written(self) -> tuple[Any, ...]:
        """The statement and its values; from now on they count as sent."""
        put = [item for item in self.items.values() if not item.is_written]
        columns = (
            [item.id for item in put],
            [item.variant_id for item in put],
            [item.quantity for item in put],
            [item.seen_price for item in put],
        )
        written: tuple[Any, ...]
        if self.new_token_hash is not None:
            written = (_MAKE, self.id, self.new_token_hash, self.version, *columns)
            self.new_token_hash = None
        else:
            removed = [item.id for item in self._removed.values()]
            ending = (self.merged_into, msgspec.json.encode(self.capped).decode())
            written = (_SAVE, self.id, self.version, *ending, removed, *columns)
        for item in put:
            item.is_written = True
        self._removed.clear()
        self._is_changed = False
        return written


_SAVE = """
    WITH removed AS (
        DELETE FROM cart_items WHERE cart_id = $1 AND id = ANY ($5::uuid[])
    ), put AS (
        INSERT INTO cart_items (id, cart_id, variant_id, quantity, seen_price)
        SELECT item.id, $1, item.variant_id, item.quantity, item.seen_price
        FROM unnest($6::uuid[], $7::uuid[], $8::int[], $9::bigint[]) AS item (id, variant_id, quantity, seen_price)
        ON CONFLICT (id) DO UPDATE
        SET cart_id = excluded.cart_id, quantity = excluded.quantity, seen_price = excluded.seen_price
    )
    UPDATE carts SET version = $2, merged_into = $3, capped = $4::jsonb, updated_at = clock_timestamp()
    WHERE id = $1 RETURNING updated_at
"""
_MAKE = """
    WITH cart AS (
        INSERT INTO carts (id, token_hash, version, updated_at) VALUES ($1, $2, $3, clock_timestamp())
        RETURNING updated_at
    ), put AS (
        INSERT INTO cart_items (id, cart_id, variant_id, quantity, seen_price)
        SELECT item.id, $1, item.variant_id, item.quantity, item.seen_price
        FROM unnest($4::uuid[], $5::uuid[], $6::int[], $7::bigint[]) AS item (id, variant_id, quantity, seen_price)
    )
    SELECT updated_at FROM cart
"""
_ITEMS = """
    SELECT item.id, item.quantity, item.seen_price, offers.*
    FROM cart_items AS item JOIN offers ON offers.variant_id = item.variant_id
    WHERE item.cart_id = $1 ORDER BY item.id
"""
# What a statement waits for a lock to see, it sees anew only in the locked row: the items are those of before the wait,
# as the version seen beside them tells.
_LOCK = """
    WITH cart AS (SELECT id, version, updated_at FROM carts WHERE {owner} FOR UPDATE)
    SELECT cart.id, cart.version, cart.updated_at, seen.version, item.id, item.quantity, item.seen_price, offers.*
    FROM cart
    LEFT JOIN carts AS seen ON seen.id = cart.id
    LEFT JOIN (cart_items AS item JOIN offers ON offers.variant_id = item.variant_id) ON item.cart_id = cart.id
    ORDER BY item.id
"""
_LOCK_GUEST = _LOCK.format(owner="token_hash = $1 AND merged_into IS NULL")
_LOCK_USER = _LOCK.format(owner="user_id = $1")
_NEW_USER = "INSERT INTO carts (id, user_id, version) VALUES ($1, $2, 0) ON CONFLICT (user_id) DO NOTHING"


async def lock_guest_cart(session: AsyncSession, token_hash: str) -> LockedCart | None:
    """The cart of a live guest token; none when the token is unknown or dead."""
    return await _lock(session, _LOCK_GUEST, token_hash)


async def lock_user_cart(session: AsyncSession, user_id: UUID) -> LockedCart:
    """The user's one cart, made at the first need of it."""
    cart = await _lock(session, _LOCK_USER, user_id)
    while cart is None:
        connection = await driver_connection(session)
        await connection.execute(_NEW_USER, new_id(), user_id)
        cart = await _lock(session, _LOCK_USER, user_id)
    return cart


def new_guest_cart(session: AsyncSession, token_hash: str) -> LockedCart:
    """An empty cart for a guest who has none. It is made with what is put into it."""
    return LockedCart(session, new_id(), 0, datetime.now(UTC), new_token_hash=token_hash)


async def _lock(session: AsyncSession, statement: str, owner: UUID | str) -> LockedCart | None:
    connection = await driver_connection(session)
    rows = await connection.fetch(statement, owner)
    if not rows:
        return None
    cart_id, version, updated_at, version_of_items, first_item, *_ = rows[0]
    cart = LockedCart(session, cart_id, version, updated_at)
    if version_of_items != version:
        found = [tuple(row) for row in await connection.fetch(_ITEMS, cart_id)]
    else:
        found = [tuple(row)[4:] for row in rows] if first_item is not None else []
    for item_id, quantity, seen_price, *columns in found:
        offer = Offer(*columns)
        cart.items[offer.variant_id] = Item(item_id, offer.variant_id, quantity, seen_price, is_written=True)
        cart.offers[offer.variant_id] = offer
    return cart
