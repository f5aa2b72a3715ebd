"""What payments tells orders, each with the payment's next version.

The caller holds the payment's row lock, and keeps the version (`Ledger.move`, `Ledger.keep_version`).
"""

from payments.events import (
    PaymentCaptured,
    PaymentFailed,
    PaymentIntentClosed,
    RefundFailed,
    RefundProcessed,
    RefundSubmitted,
)
from payments.ledger import Ledger, Totals
from payments.models import Attempt, Payment, Refund, RefundStatus

_REFUND_EVENTS = {
    RefundStatus.SUBMITTED: RefundSubmitted,
    RefundStatus.PROCESSED: RefundProcessed,
    RefundStatus.FAILED: RefundFailed,
}


async def report_capture(ledger: Ledger, payment: Payment, attempt: Attempt, *, told_before: bool = False) -> None:
    """The provider took money. Some may have gone back since, of this attempt or another."""
    assert attempt.captured_at is not None  # noqa: S101 - set with the capture
    totals = await ledger.totals(payment.id)
    payment.version += 1
    event = PaymentCaptured(
        order_id=payment.order_id,
        payment_id=payment.id,
        payment_version=payment.version,
        attempt_id=attempt.id,
        provider_payment_id=attempt.provider_payment_id,
        amount=attempt.captured,
        currency=attempt.currency,
        captured_at=attempt.captured_at,
        captured_total=totals.captured,
        refunded_total=totals.refunded,
    )
    await ledger.record(event.again() if told_before else event, payment)


async def report_failure(ledger: Ledger, payment: Payment, attempt: Attempt) -> None:
    """An attempt failed, for now."""
    payment.version += 1
    event = PaymentFailed(
        order_id=payment.order_id,
        payment_id=payment.id,
        payment_version=payment.version,
        attempt_id=attempt.id,
        provider_payment_id=attempt.provider_payment_id,
        error_code=attempt.error_code,
        error_description=attempt.error_description,
    )
    await ledger.record(event, payment)


async def report_intent_closed(ledger: Ledger, payment: Payment) -> None:
    """Nothing was taken, and no checkout will be handed out: orders may let go."""
    payment.version += 1
    event = PaymentIntentClosed(order_id=payment.order_id, payment_id=payment.id, payment_version=payment.version)
    await ledger.record(event, payment)


async def report_refund(ledger: Ledger, payment: Payment, refund: Refund, *, attempt: Attempt, totals: Totals) -> None:
    """Where a refund is now, with what was captured, went back and is on its way over all attempts."""
    payment.version += 1
    event = _REFUND_EVENTS[refund.status](
        order_id=payment.order_id,
        payment_id=payment.id,
        payment_version=payment.version,
        attempt_id=attempt.id,
        refund_id=refund.id,
        amount=refund.amount,
        currency=attempt.currency,
        reason=refund.reason,
        captured_total=totals.captured,
        refunded_total=totals.refunded,
        pending_total=totals.pending,
    )
    await ledger.record(event, payment)
