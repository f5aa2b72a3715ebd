"""How an order and its history become answers."""

from typing import Any

from chassis.caching import encode
from orders.models import Order, OrderItem, OrderMove
from orders.order_states import Trigger
from orders.schemas import (
    AddressView,
    AdminEvent,
    AdminOrderView,
    AdminTimeline,
    Event,
    InternalOrder,
    OrderItemView,
    OrderView,
    Timeline,
)


def order_view(order: Order) -> OrderView:
    """The order for its owner. Its `items` must be loaded."""
    return OrderView.model_validate(_owner_fields(order))


def encoded_order(order: Order) -> bytes:
    """The same, ready to send: most orders are read by a shopper who waits for them to be paid."""
    facts = _owner_fields(order)
    return encode({name: facts[name] for name in OrderView.model_fields})


def encoded_for_services(order: Order) -> bytes:
    """The order as payments and catalog need it, ready to send."""
    return encode({name: getattr(order, name) for name in InternalOrder.model_fields})


def admin_order_view(order: Order) -> AdminOrderView:
    """The order for staff. Its `items` must be loaded."""
    names = ("user_id", "version", "close_reason", "needs_review", "stock_committed_at")
    return AdminOrderView.model_validate(
        {**_owner_fields(order), **{name: getattr(order, name) for name in names}},
    )


def _owner_fields(order: Order) -> dict[str, Any]:
    names = (
        "id", "number", "status", "payment_status", "currency", "note",
        "placed_at", "pay_by", "paid_at", "shipped_at", "delivered_at", "closed_at",
    )  # fmt: skip
    amounts = ("subtotal", "discount", "shipping", "tax", "total")
    is_sent = order.carrier and order.tracking
    return {
        **{name: getattr(order, name) for name in names},
        "items": [_item_fields(item, order.currency) for item in order.items],
        "totals": {name: _money(getattr(order, name), order.currency) for name in amounts},
        "shipping_address": _address(order.shipping_address),
        "billing_address": _address(order.billing_address) if order.billing_address else None,
        "tracking": {"carrier": order.carrier, "number": order.tracking} if is_sent else None,
    }


def item_view(item: OrderItem, currency: str) -> OrderItemView:
    """A row of an order."""
    return OrderItemView.model_validate(_item_fields(item, currency))


def _item_fields(item: OrderItem, currency: str) -> dict[str, Any]:
    names = ("id", "variant_id", "product_id", "sku", "name", "image_url", "quantity")
    return {
        **{name: getattr(item, name) for name in names},
        "price_at_purchase": _money(item.price_at_purchase, currency),
        "line_total": _money(item.line_total, currency),
    }


def _money(amount: int, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


def _address(address: dict[str, Any]) -> dict[str, Any]:
    return {name: address.get(name) for name in AddressView.model_fields}


def timeline(moves: list[OrderMove]) -> Timeline:
    """The history for the owner: who did it is told by kind only, and what only staff need to know is not told."""
    told = (move for move in moves if move.cause not in (Trigger.REVIEW_NEEDED, Trigger.REVIEWED))
    return Timeline(items=[Event.model_validate(_event_fields(move)) for move in told])


def admin_timeline(moves: list[OrderMove]) -> AdminTimeline:
    """The history for staff."""
    names = ("move", "version", "actor_id", "attempt_id")
    return AdminTimeline(
        items=[
            AdminEvent.model_validate({**_event_fields(move), **{name: getattr(move, name) for name in names}})
            for move in moves
        ]
    )


def _event_fields(move: OrderMove) -> dict[str, Any]:
    names = ("at", "from_status", "to_status", "cause", "note")
    return {**{name: getattr(move, name) for name in names}, "actor": move.actor_kind}
