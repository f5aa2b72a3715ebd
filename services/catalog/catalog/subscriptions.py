"""What catalog listens to: the events of orders, each with the fields it relies on."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.reservations import on_order_closed, on_order_paid, on_order_placed
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


def subscriptions(ignored: Ignored) -> tuple[Subscription, ...]:
    """The table of events: what is read of each, and what happens."""

    async def placed(session: AsyncSession, order: OrderWithItems) -> None:
        if not await on_order_placed(session, order_id=order.order_id, items=order.quantities()):
            ignored("order.placed.v1")

    async def paid(session: AsyncSession, order: OrderWithItems) -> None:
        if not await on_order_paid(session, order_id=order.order_id, items=order.quantities()):
            ignored("order.paid.v1")

    def closed(by: Literal["cancelled", "expired"]) -> Callable[[AsyncSession, ClosedOrder], Awaitable[None]]:
        async def apply(session: AsyncSession, order: ClosedOrder) -> None:
            if not await on_order_closed(session, order_id=order.order_id, by=by):
                ignored(f"order.{by}.v1")

        return apply

    return (
        Subscription("order.placed.v1", OrderWithItems, placed),
        Subscription("order.paid.v1", OrderWithItems, paid),
        Subscription("order.cancelled.v1", ClosedOrder, closed("cancelled")),
        Subscription("order.expired.v1", ClosedOrder, closed("expired")),
    )
