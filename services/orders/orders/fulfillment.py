"""Sending what was bought.

`ship_order` sends a paid order whose stock is taken out and whose money was not given back (`order.shipped`);
`deliver_order` notes that it has arrived (`order.delivered`). The same again answers the order as it is.
"""

from uuid import UUID

from orders.errors import (
    OrderAlreadyShipped,
    OrderNotDeliverable,
    OrderNotFound,
    OrderNotReady,
    OrderNotShippable,
)
from orders.models import Order, PaymentStatus, Status
from orders.order_book import OrderBook, advance
from orders.order_states import Actor, Provided, Step, Trigger, move_for, state_of
from orders.schemas import Tracking


async def ship_order(book: OrderBook, actor: Actor, *, order_id: UUID, tracking: Tracking) -> Order:
    """T10. Raises OrderNotFound, OrderNotReady, OrderNotShippable, OrderAlreadyShipped."""
    order, _ = await advance(book, order_id, lambda order: decide_shipping(order, actor, tracking))
    if order is None:
        raise OrderNotFound
    return order


def decide_shipping(order: Order, actor: Actor, tracking: Tracking) -> Step | None:
    """The step of sending; none when it was sent so before."""
    if order.status is Status.SHIPPED:
        if (order.carrier, order.tracking) == (tracking.carrier, tracking.number):
            return None
        raise OrderAlreadyShipped(
            "Look at how it was sent.", tracking={"carrier": order.carrier, "number": order.tracking}
        )
    move = move_for(state_of(order), Trigger.SHIPPED)
    if move is None:
        raise OrderNotShippable("Only a paid order can be sent.")
    if order.payment_status is PaymentStatus.REFUNDED:
        raise OrderNotReady("Its money was given back in full: cancel it, or settle it with the customer.")
    if order.stock_committed_at is None:
        raise OrderNotReady("Its stock is not taken out yet; repeat in a moment.")
    return Step(
        move=move,
        actor=actor,
        changes={"carrier": tracking.carrier, "tracking": tracking.number},
        provided=Provided.READY_TO_SEND,
    )


async def deliver_order(book: OrderBook, actor: Actor, *, order_id: UUID) -> Order:
    """T10. Raises OrderNotFound, OrderNotDeliverable."""
    order, _ = await advance(book, order_id, lambda order: decide_delivery(order, actor))
    if order is None:
        raise OrderNotFound
    return order


def decide_delivery(order: Order, actor: Actor) -> Step | None:
    """The step of arriving; none when it has arrived before."""
    if order.status is Status.DELIVERED:
        return None
    move = move_for(state_of(order), Trigger.DELIVERED)
    if move is None:
        raise OrderNotDeliverable("Only an order that was sent can arrive.")
    return Step(move=move, actor=actor)
