"""What payments listens to."""

from chassis.events import Subscription
from payments import closing, collection, refunds

SUBSCRIPTIONS = (
    Subscription("order.placed.v1", collection.OrderPlaced, collection.on_order_placed),
    Subscription("order.closing.v1", closing.OrderClosing, closing.on_order_closing),
    Subscription("order.cancelled.v1", closing.OrderClosing, closing.on_order_closed),
    Subscription("order.expired.v1", closing.OrderClosing, closing.on_order_closed),
    Subscription("refund.requested.v1", refunds.RefundRequested, refunds.on_refund_requested),
)
