"""What the shop's owner reads off a dashboard: orders and money, counted once each, when they are committed."""

from collections.abc import Callable, Mapping
from typing import Any

from chassis.events import Event
from chassis.telemetry import Metrics
from orders.events import (
    OrderCancelled,
    OrderDelivered,
    OrderExpired,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    RefundReason,
    RefundRequested,
)
from orders.models import CloseReason


def figures(metrics: Metrics) -> Mapping[type[Event], Callable[[Any], None]]:
    """The business counters of orders; amounts are in minor units."""
    placed = metrics.counter("haat_orders_placed_total", "Orders placed.")
    paid = metrics.counter("haat_orders_paid_total", "Orders paid, also those with nothing to pay.")
    expired = metrics.counter("haat_orders_expired_total", "Orders ended unpaid, by silence.")
    cancelled = metrics.counter("haat_orders_cancelled_total", "Orders cancelled.", ("reason", "was_paid"))
    shipped = metrics.counter("haat_orders_shipped_total", "Orders sent.")
    delivered = metrics.counter("haat_orders_delivered_total", "Orders that arrived.")
    returns = metrics.counter("haat_refunds_requested_total", "Captures to be given back, by cause.", ("reason",))
    currency = ("currency",)
    placed_sum = metrics.counter("haat_orders_placed_minor_units_total", "Totals of placed orders.", currency)
    paid_sum = metrics.counter("haat_orders_paid_minor_units_total", "Totals of paid orders.", currency)
    # Shown as 0 from the start: a series that appears with its first case hides that case from a rate.
    for reason in RefundReason:
        returns.labels(reason)
    for why in (CloseReason.CANCELLED, CloseReason.OUT_OF_STOCK):
        for was_paid in ("true", "false"):
            cancelled.labels(why, was_paid)

    def on_placed(order: OrderPlaced) -> None:
        placed.inc()
        placed_sum.labels(order.currency).inc(order.total)

    def on_paid(order: OrderPaid) -> None:
        paid.inc()
        paid_sum.labels(order.currency).inc(order.total)

    return {
        OrderPlaced: on_placed,
        OrderPaid: on_paid,
        OrderExpired: lambda _: expired.inc(),
        OrderCancelled: lambda order: cancelled.labels(order.reason, str(order.was_paid).lower()).inc(),
        OrderShipped: lambda _: shipped.inc(),
        OrderDelivered: lambda _: delivered.inc(),
        RefundRequested: lambda refund: returns.labels(refund.reason).inc(),
    }
