"""What payments listens to: event → what payments reads of it → what happens."""

from collections.abc import Awaitable, Callable
from typing import Any

from chassis.events import Reader, Subscription
from payments import closing, collection, refunds
from payments.ledger import Ledger
from payments.postgres_ledger import in_ledger

LISTENS_TO: tuple[tuple[str, type[Reader], Callable[[Ledger, Any], Awaitable[None]]], ...] = (
    ("order.placed.v1", collection.OrderPlaced, collection.on_order_placed),
    ("order.closing.v1", closing.OrderClosing, closing.on_order_closing),
    ("order.cancelled.v1", closing.OrderClosing, closing.on_order_closed),
    ("order.expired.v1", closing.OrderClosing, closing.on_order_closed),
    ("refund.requested.v1", refunds.RefundRequested, refunds.on_refund_requested),
)

SUBSCRIPTIONS = tuple(Subscription(event, reader, in_ledger(process)) for event, reader, process in LISTENS_TO)
