"""What one observation changes: an attempt, and perhaps its payment.

Everything here runs in the caller's transaction, under the payment's row lock, so that handshake, webhook and poll
may report the same thing at the same moment, in any order and any number of times, and the end is the same.
"""

from datetime import datetime

from chassis import tracing
from chassis.telemetry import about
from payments.balances import return_the_rest
from payments.ledger import Ledger
from payments.models import Attempt, Payment, PaymentStatus, Rank
from payments.provider import ProviderPayment
from payments.reports import report_capture, report_failure

_RANKS = {
    "created": Rank.CREATED,
    "failed": Rank.FAILED,
    "authorized": Rank.AUTHORIZED,
    "captured": Rank.CAPTURED,
    "refunded": Rank.REFUNDED,
}
_KEPT = (
    "id",
    "order_id",
    "status",
    "amount",
    "currency",
    "captured",
    "amount_refunded",
    "refund_status",
    "fee",
    "tax",
    "method",
    "error_code",
    "error_reason",
    "created_at",
)
"""What is kept of an observation: nothing that says who paid."""


class UnknownProviderOrder(Exception):
    """An attempt at a provider order that we do not know, or do not know yet."""


def rank_of(seen: ProviderPayment) -> Rank:
    """How far the provider says an attempt has come; a status of tomorrow says nothing."""
    return _RANKS.get(seen.status, Rank.CREATED)


async def apply_observation(ledger: Ledger, seen: ProviderPayment, *, source: str) -> Attempt:
    """Note what somebody says about an attempt, and apply it if it says more than we knew.

    Raises UnknownProviderOrder. The attempt is a copy.
    """
    locked = await ledger.lock_payment_at(seen.order_id)
    if locked is None:
        raise UnknownProviderOrder(seen.order_id)
    payment, now = locked
    with about(payment.order_id), tracing.resumed(f"observed by {source}", payment.traceparent) as span:
        span.note(haat__correlation_id=str(payment.order_id))
        return await _apply(ledger, payment, seen, source=source, now=now)


async def _apply(ledger: Ledger, payment: Payment, seen: ProviderPayment, *, source: str, now: datetime) -> Attempt:
    attempt = await ledger.find_attempt(Attempt.id_for(seen.id)) or _first_seen(payment, seen, now=now)
    rank = rank_of(seen)
    is_news = rank > attempt.rank
    if is_news:
        _take_over(attempt, seen, now=now)
    is_capture = took_money(seen) and attempt.captured == 0
    if is_capture:
        attempt.amount = attempt.captured = seen.amount
        attempt.currency, attempt.captured_at = seen.currency, now
    attempt.refunds_seen = max(attempt.refunds_seen, seen.amount_refunded)
    raw = {name: seen.raw[name] for name in _KEPT if name in seen.raw}
    await ledger.keep(attempt, source=source, rank=rank, applied=is_news, raw=raw)
    if is_capture:
        await _report_first_capture(ledger, payment, attempt)
    elif is_news and rank is Rank.FAILED:
        await report_failure(ledger, payment, attempt)
        await ledger.keep_version(payment)
    return attempt


def _first_seen(payment: Payment, seen: ProviderPayment, *, now: datetime) -> Attempt:
    return Attempt(
        id=Attempt.id_for(seen.id),
        payment_id=payment.id,
        provider_order_id=seen.order_id,
        provider_payment_id=seen.id,
        rank=Rank.CREATED,
        method=seen.method,
        amount=seen.amount,
        currency=seen.currency,
        captured=0,
        refunds_seen=0,
        changed_at=now,
    )


def _take_over(attempt: Attempt, seen: ProviderPayment, *, now: datetime) -> None:
    attempt.rank = rank_of(seen)
    attempt.method = seen.method or attempt.method
    attempt.error_code = seen.error_code
    attempt.error_description = seen.error_description
    attempt.changed_at = now
    if attempt.captured == 0:
        attempt.amount, attempt.currency = seen.amount, seen.currency


def took_money(seen: ProviderPayment) -> bool:
    """Captured, or captured and refunded since. Refunded alone only says that an authorisation has lapsed."""
    return seen.status == "captured" or (seen.status == "refunded" and seen.captured)


async def _report_first_capture(ledger: Ledger, payment: Payment, attempt: Attempt) -> None:
    """The first captured attempt settles the payment, and the capture of every attempt is reported once."""
    await report_capture(ledger, payment, attempt)
    if payment.status is PaymentStatus.SETTLED:
        await ledger.keep_version(payment)
    else:
        await ledger.move(payment, PaymentStatus.SETTLED, cause=f"captured {attempt.provider_payment_id}")
    await return_the_rest(ledger, attempt)
