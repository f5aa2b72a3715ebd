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
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from cart.events import OrderClosed, OrderPlaced
from cart.locked_cart import LockedCart, lock_user_cart
from cart.models import MAX_ITEMS, MAX_QUANTITY, OrderState
from chassis.plain_sql import driver_connection

_FIND = "SELECT state, items::text FROM cart_orders WHERE order_id = $1"
_ADD = """
    INSERT INTO cart_orders (order_id, cart_id, state, items, cart_version) VALUES ($1, $2, $3, $4::jsonb, $5)
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
    await cart.save()


async def on_order_closed(session: AsyncSession, event: OrderClosed) -> None:
    """What was not paid for comes back into the cart."""
    cart = await lock_user_cart(session, event.user_id)
    if event.was_paid:
        await _placed(session, cart, event.order_id, event.items)
    else:
        await _closed_unpaid(session, cart, event.order_id)
    await cart.save()


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
    connection = await driver_connection(session)
    if await connection.fetchrow(_FIND, order_id) is not None:
        return
    taken = [part for ordered in items if (part := _take(cart, ordered)) is not None]
    row = (order_id, cart.id, OrderState.TAKEN.value, msgspec.json.encode(taken).decode())
    await connection.execute(_ADD, *row, cart.version if taken else None)


def _take(cart: LockedCart, ordered: Ordered) -> dict[str, Any] | None:
    item = cart.items.get(ordered.variant_id)
    if item is None:
        return None
    quantity = min(item.quantity, ordered.quantity)
    taken = {"variant_id": str(item.variant_id), "quantity": quantity, "seen_price": item.seen_price}
    if quantity == item.quantity:
        cart.remove(item)
    else:
        cart.put(item.variant_id, item.quantity - quantity, seen_price=item.seen_price)
    return taken


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
