"""The next release of cart: it also reads `order.placed.v2`, and does with it what it does with v1.

Both versions of an event tell one fact, so what is done about it is done once, by the order's id.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

import cart.app
from cart.events import OrderPlaced
from cart.ordered_items import on_order_placed
from cart.settings import CartSettings
from chassis.clients import Upstreams
from chassis.command_line import main
from chassis.events import Bus, Reader, Subscription
from chassis.inbox import Inbox
from chassis.service import Service


class OrderedItem(Reader):
    """A variant and how many of it."""

    variant_id: UUID
    quantity: int


class OrderedCart(Reader):
    """What was ordered."""

    items: list[OrderedItem]


class OrderPlacedAnew(Reader):
    """`order.placed.v2`."""

    order_id: UUID
    user_id: UUID
    cart: OrderedCart


async def on_order_placed_anew(session: AsyncSession, event: OrderPlacedAnew) -> None:
    """What was ordered leaves the cart, unless v1 of this event has said so already."""
    items = [item.model_dump() for item in event.cart.items]
    old = OrderPlaced.model_validate({"order_id": event.order_id, "user_id": event.user_id, "items": items})
    await on_order_placed(session, old)


def build(settings: CartSettings, bus: Bus, upstreams: Upstreams) -> Service:
    """Cart, with one subscription more."""
    service = cart.app.build(settings, bus, upstreams)
    anew = Subscription("order.placed.v2", OrderPlacedAnew, on_order_placed_anew)
    service.subscriptions = (*service.subscriptions, anew)
    service.inbox = Inbox(service.database, service.subscriptions, consumer=service.name)
    return service


if __name__ == "__main__":
    main(CartSettings, build)
