"""What orders took from a cart, and gave back.

One row per order makes every order take its items once and give them back at most once, whichever comes first: the
event of its placing, of its closing, or the checkout call that names it.

    (no row) ── placed ──► taken     exactly what was really in the cart leaves it
    taken ──── closed unpaid ──► returned     exactly that comes back, on top of what is there now
    (no row) ── closed unpaid ──► returned    nothing left the cart; a later placing changes nothing

An order that was paid keeps what it took, also when it is cancelled later: its close is one more way to hear of its
placing. What comes back is capped by 99 and 50 items but not by stock, since the event that frees the order's own
stock may come later; until then the items are marked `insufficient_stock`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cart.events import OrderClosed, OrderPlaced
from cart.locked_cart import Item, LockedCart, lock_user_cart
from cart.models import MAX_ITEMS, MAX_QUANTITY, OrderState
from chassis.plain_sql import driver_connection

_FIND = "SELECT state, items::text FROM cart_orders WHERE order_id = $1"
_ADD = """
    INSERT INTO cart_orders (order_id, cart_id, state, items, cart_version) VALUES ($1, $2, $3, $4::jsonb, $5)
    ON CONFLICT (order_id) DO NOTHING RETURNING true
"""
_RETURN = """
    UPDATE cart_orders SET state = 'returned', cart_version = NULL, updated_at = clock_timestamp() WHERE order_id = $1
"""
_EMPTIED_BY = "SELECT order_id FROM cart_orders WHERE cart_id = $1 AND cart_version = $2"


class Ordered(Protocol):
    """A variant and how many of it were ordered."""

    @property
    def variant_id(self) -> UUID: ...
    @property
    def quantity(self) -> int: ...


class NamedOrder(Protocol):
    """An order of the user as the checkout call tells of it."""

    @property
    def order_id(self) -> UUID: ...
    @property
    def items(self) -> Sequence[Ordered]: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def was_paid(self) -> bool: ...


async def on_order_placed(session: AsyncSession, event: OrderPlaced) -> None:
    """What was ordered leaves the cart."""
    cart = await lock_user_cart(session, event.user_id)
    await _placed(session, cart, event.order_id, event.items)
    cart.save_with_commit()


async def on_order_closed(session: AsyncSession, event: OrderClosed) -> None:
    """What was not paid for comes back into the cart."""
    cart = await lock_user_cart(session, event.user_id)
    if event.was_paid:
        await _placed(session, cart, event.order_id, event.items)
    else:
        await _closed_unpaid(session, cart, event.order_id)
    cart.save_with_commit()


async def apply(session: AsyncSession, cart: LockedCart, orders: Iterable[NamedOrder]) -> list[UUID]:
    """Catch up with orders whose events may still be under way.

    Returns those that can do nothing more to a cart, because they are closed or paid, and need not be named again.
    """
    acknowledged = []
    for order in {order.order_id: order for order in orders}.values():
        if order.is_closed and not order.was_paid:
            await _closed_unpaid(session, cart, order.order_id)
        else:
            await _placed(session, cart, order.order_id, order.items)
        if order.is_closed or order.was_paid:
            acknowledged.append(order.order_id)
    return acknowledged


async def taken_by(session: AsyncSession, cart: LockedCart) -> UUID | None:
    """The order because of which the cart is empty; none when it is not, or for another reason."""
    if cart.items:
        return None
    connection = await driver_connection(session)
    order_id: UUID | None = await connection.fetchval(_EMPTIED_BY, cart.id, cart.version)
    return order_id


async def _placed(session: AsyncSession, cart: LockedCart, order_id: UUID, items: Iterable[Ordered]) -> None:
    wanted: dict[UUID, int] = {}
    for ordered in items:
        wanted[ordered.variant_id] = wanted.get(ordered.variant_id, 0) + ordered.quantity
    taken = [Part(item, min(item.quantity, wanted[key])) for key in wanted if (item := cart.items.get(key)) is not None]
    row = (order_id, cart.id, OrderState.TAKEN.value, msgspec.json.encode([part.document() for part in taken]).decode())
    connection = await driver_connection(session)
    # The version that the cart has once every part has left it.
    if await connection.fetchval(_ADD, *row, cart.version + len(taken) if taken else None):
        for part in taken:
            _take(cart, part)


@dataclass(frozen=True, slots=True)
class Part:
    """What an order takes of one item."""

    item: Item
    quantity: int

    def document(self) -> dict[str, Any]:
        """As it is stored, for the day it comes back."""
        item = self.item
        return {"variant_id": str(item.variant_id), "quantity": self.quantity, "seen_price": item.seen_price}


def _take(cart: LockedCart, part: Part) -> None:
    item = part.item
    if part.quantity == item.quantity:
        cart.remove(item)
    else:
        cart.put(item.variant_id, item.quantity - part.quantity, seen_price=item.seen_price)


async def _closed_unpaid(session: AsyncSession, cart: LockedCart, order_id: UUID) -> None:
    connection = await driver_connection(session)
    order = await connection.fetchrow(_FIND, order_id)
    if order is None:
        await connection.execute(_ADD, order_id, cart.id, OrderState.RETURNED.value, "[]", None)
    elif order["state"] == OrderState.TAKEN:
        for part in msgspec.json.decode(order["items"]):
            _give_back(cart, UUID(part["variant_id"]), part["quantity"], seen_price=part["seen_price"])
        await connection.execute(_RETURN, order_id)


def _give_back(cart: LockedCart, variant_id: UUID, quantity: int, *, seen_price: int) -> None:
    present = cart.items.get(variant_id)
    if present is not None:
        cart.put(variant_id, min(present.quantity + quantity, MAX_QUANTITY), seen_price=present.seen_price)
    elif len(cart.items) < MAX_ITEMS:
        cart.put(variant_id, quantity, seen_price=seen_price)
