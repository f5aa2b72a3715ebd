"""What catalog listens to: the events of orders, each with the fields it relies on."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.postgres_stockroom import PostgresStockroom
from catalog.reservations import on_order_closed, on_order_paid, on_order_placed
from catalog.stockroom import Stockroom
from chassis.events import Reader, Subscription

Ignored = Callable[[str], None]
"""Counts an event that, as the table in `reservations.py` stands, changed nothing."""


class OrderedItem(Reader):
    """A variant and how many of it the order has."""

    variant_id: UUID
    quantity: Annotated[int, Field(ge=1, le=99)]


class OrderWithItems(Reader):
    """`order.placed` and `order.paid`: the items are the truth that the reservation is made equal to."""

    order_id: UUID
    items: Annotated[list[OrderedItem], Field(min_length=1)]

    def quantities(self) -> dict[UUID, int]:
        """Quantities by variant; items of the same variant add up."""
        wanted: dict[UUID, int] = {}
        for item in self.items:
            wanted[item.variant_id] = wanted.get(item.variant_id, 0) + item.quantity
        return wanted


class ClosedOrder(Reader):
    """`order.cancelled` and `order.expired`."""

    order_id: UUID


Process = Callable[[Stockroom, Any], Awaitable[bool]]
"""Applies an event; whether it changed anything."""


async def _placed(room: Stockroom, order: OrderWithItems) -> bool:
    return await on_order_placed(room, order_id=order.order_id, items=order.quantities())


async def _paid(room: Stockroom, order: OrderWithItems) -> bool:
    return await on_order_paid(room, order_id=order.order_id, items=order.quantities())


async def _cancelled(room: Stockroom, order: ClosedOrder) -> bool:
    return await on_order_closed(room, order_id=order.order_id, by="cancelled")


async def _expired(room: Stockroom, order: ClosedOrder) -> bool:
    return await on_order_closed(room, order_id=order.order_id, by="expired")


LISTENS_TO: tuple[tuple[str, type[Reader], Process], ...] = (
    ("order.placed.v1", OrderWithItems, _placed),
    ("order.paid.v1", OrderWithItems, _paid),
    ("order.cancelled.v1", ClosedOrder, _cancelled),
    ("order.expired.v1", ClosedOrder, _expired),
)


def subscriptions(ignored: Ignored) -> tuple[Subscription, ...]:
    """The table for the inbox."""
    return tuple(
        Subscription(event, reader, _counting(event, process, ignored)) for event, reader, process in LISTENS_TO
    )


def _counting(event: str, process: Process, ignored: Ignored) -> Callable[[AsyncSession, Any], Awaitable[None]]:
    async def handle(session: AsyncSession, read: Any) -> None:
        if not await process(PostgresStockroom(session), read):
            ignored(event)

    return handle
