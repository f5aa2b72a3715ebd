"""What this service tells the others, under literal names. Within a major version an event only gains fields.

Every event is made from the order's row as it is after the move that it announces.
"""

from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel

from chassis.events import Event
from chassis.strict import Id, Time
from orders.models import CloseReason, Order


class RefundReason(StrEnum):
    """Why a captured attempt must be given back."""

    LATE_CAPTURE = "late_capture"
    DUPLICATE_CAPTURE = "duplicate_capture"
    CANCELLED = "cancelled"
    OUT_OF_STOCK = "out_of_stock"
    MISMATCH = "mismatch"


class PlacedItem(BaseModel):
    """A variant, how many, and what was agreed about it."""

    variant_id: Id
    product_id: Id
    sku: str
    name: str
    quantity: int
    price_at_purchase: int


class ItemQuantity(BaseModel):
    """A variant and how many of it."""

    variant_id: Id
    quantity: int


class OrderEvent(Event):
    """Something that happened to an order."""

    order_id: Id
    version: int
    user_id: Id


class OrderPlaced(OrderEvent):
    """An order exists: its stock is to be held, its cart emptied, its payment prepared."""

    type: ClassVar[str] = "order.placed.v1"

    number: str
    cart_id: Id
    cart_version: int
    items: list[PlacedItem]
    currency: str
    total: int
    placed_at: Time
    pay_by: Time


class OrderClosing(OrderEvent):
    """An unpaid order is to end: payments finds out whether money was taken after all."""

    type: ClassVar[str] = "order.closing.v1"

    reason: str


class OrderPaid(OrderEvent):
    """The money is there, or none is needed: the stock is sold."""

    type: ClassVar[str] = "order.paid.v1"

    items: list[ItemQuantity]
    currency: str
    total: int
    payment_id: Id | None
    attempt_id: Id | None
    paid_at: Time


class OrderClosed(OrderEvent):
    """Nothing will be sent: stock is freed or returned, payments stop, an unpaid cart gets its items back."""

    cart_id: Id
    was_paid: bool
    reason: str
    items: list[ItemQuantity]


class OrderCancelled(OrderClosed):
    """Ended by its owner, by staff, or for want of stock."""

    type: ClassVar[str] = "order.cancelled.v1"


class OrderExpired(OrderClosed):
    """Ended unpaid, by silence."""

    type: ClassVar[str] = "order.expired.v1"


class OrderShipped(OrderEvent):
    """The goods are on their way."""

    type: ClassVar[str] = "order.shipped.v1"
    required: ClassVar[bool] = False

    carrier: str
    tracking: str


class OrderDelivered(OrderEvent):
    """The goods have arrived."""

    type: ClassVar[str] = "order.delivered.v1"
    required: ClassVar[bool] = False


class RefundRequested(Event):
    """What is left of a captured attempt must go back. Names the attempt, never an amount: payments knows that."""

    type: ClassVar[str] = "refund.requested.v1"

    order_id: Id
    version: int
    attempt_id: Id
    reason: RefundReason


PUBLISHED: tuple[type[Event], ...] = (
    OrderPlaced, OrderClosing, OrderPaid, OrderCancelled, OrderExpired, OrderShipped, OrderDelivered, RefundRequested,
)  # fmt: skip


def announcement(
    kind: type[Event], order: Order, *, version: int, attempt_id: UUID | None, refund_reason: RefundReason | None
) -> Event:
    """The event of this kind for an order that has just moved. Its `items` must be loaded."""
    if kind is RefundRequested:
        return RefundRequested.model_validate(
            {"order_id": order.id, "version": version, "attempt_id": attempt_id, "reason": refund_reason}
        )
    facts = {"order_id": order.id, "version": version, "user_id": order.user_id, **_FACTS[kind](order)}
    return kind.model_validate(facts)


def _placed(order: Order) -> dict[str, Any]:
    items = [PlacedItem.model_validate(item, from_attributes=True) for item in order.items]
    names = ("number", "cart_id", "cart_version", "currency", "total", "placed_at", "pay_by")
    return {"items": items, **{name: getattr(order, name) for name in names}}


def _closing(order: Order) -> dict[str, Any]:
    expired = order.close_reason is CloseReason.EXPIRED
    return {"reason": CloseReason.EXPIRED if expired else CloseReason.CANCELLED}


def _paid(order: Order) -> dict[str, Any]:
    return {
        "items": _quantities(order),
        "currency": order.currency,
        "total": order.total,
        "payment_id": order.payment_id,
        "attempt_id": order.paying_attempt_id,
        "paid_at": order.paid_at,
    }


def _closed(order: Order) -> dict[str, Any]:
    return {
        "cart_id": order.cart_id,
        "was_paid": order.was_paid,
        "reason": order.close_reason,
        "items": _quantities(order),
    }


def _shipped(order: Order) -> dict[str, Any]:
    return {"carrier": order.carrier, "tracking": order.tracking}


def _delivered(_order: Order) -> dict[str, Any]:
    return {}


def _quantities(order: Order) -> list[ItemQuantity]:
    return [ItemQuantity(variant_id=item.variant_id, quantity=item.quantity) for item in order.items]


_FACTS = {
    OrderPlaced: _placed,
    OrderClosing: _closing,
    OrderPaid: _paid,
    OrderCancelled: _closed,
    OrderExpired: _closed,
    OrderShipped: _shipped,
    OrderDelivered: _delivered,
}
