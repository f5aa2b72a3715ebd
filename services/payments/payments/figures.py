"""What the shop's owner reads off a dashboard: money that came and went, counted once, when it is committed."""

from collections.abc import Callable, Mapping
from typing import Any

from chassis.events import Event
from chassis.telemetry import Metrics
from payments.events import PaymentCaptured, PaymentFailed, RefundFailed, RefundProcessed


def figures(metrics: Metrics) -> Mapping[type[Event], Callable[[Any], None]]:
    """The business counters of payments; amounts are in minor units."""
    captured = metrics.counter("haat_payments_captured_total", "Attempts whose money the provider took.")
    failed = metrics.counter("haat_payments_failed_total", "Attempts that failed.")
    refunded = metrics.counter("haat_refunds_processed_total", "Refunds that the provider made.")
    unrefunded = metrics.counter("haat_refunds_failed_total", "Refunds that the provider will not make.")
    currency = ("currency",)
    captured_sum = metrics.counter("haat_payments_captured_minor_units_total", "Money taken.", currency)
    refunded_sum = metrics.counter("haat_refunds_processed_minor_units_total", "Money given back.", currency)

    def on_captured(payment: PaymentCaptured) -> None:
        captured.inc()
        captured_sum.labels(payment.currency).inc(payment.amount)

    def on_refunded(refund: RefundProcessed) -> None:
        refunded.inc()
        refunded_sum.labels(refund.currency).inc(refund.amount)

    return {
        PaymentCaptured: on_captured,
        PaymentFailed: lambda _: failed.inc(),
        RefundProcessed: on_refunded,
        RefundFailed: lambda _: unrefunded.inc(),
    }


def counted_calls(metrics: Metrics) -> Callable[[str, str, float], None]:
    """Counts calls of the provider: which, how it ended, and seconds."""
    calls = metrics.counter("haat_provider_calls_total", "Calls of the payment provider.", ("call", "outcome"))
    seconds = metrics.histogram("haat_provider_call_duration_seconds", "How long the provider took.", ("call",))

    def on_call(call: str, outcome: str, took: float) -> None:
        calls.labels(call, outcome).inc()
        seconds.labels(call).observe(took)

    return on_call
