"""Ending a payment, because its order ends.

1. `on_order_closing` stops it: no new checkout from then on. What nobody was asked to pay is closed at once (P3); else
   a job asks the provider (P4). What is paid already is reported again (P7).
2. `close_if_nothing_came` gives the last word after the provider was asked: `payment.intent_closed`.
3. `on_order_closed` ends it without asking, when the order could not wait any longer (P3, P6).

The provider cannot cancel its orders, so they stay watched: what is captured later still counts (P5).
"""

from uuid import UUID

from chassis.events import Reader
from payments.ledger import Ledger
from payments.models import Payment, PaymentStatus
from payments.reports import report_capture, report_intent_closed


class OrderClosing(Reader):
    """What payments needs of `order.closing`, `order.cancelled` and `order.expired`."""

    order_id: UUID


async def on_order_closing(ledger: Ledger, order: OrderClosing) -> None:
    """P3, P4, P7: no checkout from now on; the provider's last word is asked for by a job at once."""
    payment = await ledger.lock_payment_or_tombstone(order.order_id)
    match payment.status:
        case PaymentStatus.NEW:
            await _close(ledger, payment, cause="order closing")
        case PaymentStatus.CREATING | PaymentStatus.OPEN:
            await ledger.begin_closing(payment)
            if payment.status is PaymentStatus.OPEN:
                await ledger.move(payment, PaymentStatus.CLOSING, cause="order closing")
        case PaymentStatus.SETTLED:
            for attempt in await ledger.captured_attempts(payment.id):
                await report_capture(ledger, payment, attempt, told_before=True)
            await ledger.keep_version(payment)


async def on_order_closed(ledger: Ledger, order: OrderClosing) -> None:
    """P3, P6: `order.cancelled` and `order.expired`."""
    payment = await ledger.lock_payment_or_tombstone(order.order_id)
    match payment.status:
        case PaymentStatus.NEW:
            await _close(ledger, payment, cause="order closed")
        case PaymentStatus.CREATING | PaymentStatus.OPEN | PaymentStatus.CLOSING:
            await ledger.move(payment, PaymentStatus.CLOSED, cause="order closed")


async def close_if_nothing_came(ledger: Ledger, payment_id: UUID, *, patience: float) -> bool:
    """P4, after the provider was asked: close unless an attempt may still succeed; whether it closed.

    An authorisation older than the patience cannot be captured without us any more, and counts as nothing.
    """
    payment = await ledger.lock_payment(payment_id)
    if payment.status is not PaymentStatus.CLOSING or await ledger.has_undecided(payment_id, within=patience):
        return False
    await _close(ledger, payment, cause="nothing at the provider")
    return True


async def _close(ledger: Ledger, payment: Payment, *, cause: str) -> None:
    await report_intent_closed(ledger, payment)
    await ledger.move(payment, PaymentStatus.CLOSED, cause=cause)
