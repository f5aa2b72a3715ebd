"""What one observation changes: an attempt, and perhaps its payment.

Everything here runs in the caller's transaction, under the payment's row lock, so that handshake, webhook and poll
may report the same thing at the same moment, in any order and any number of times, and the end is the same.
"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from payments.balances import return_the_rest
from payments.models import (
    Attempt,
    Observation,
    Payment,
    PaymentStatus,
    ProviderOrder,
    Rank,
    clock,
    locked_payment,
    move,
)
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


async def apply_observation(session: AsyncSession, seen: ProviderPayment, *, source: str) -> Attempt:
    """Note what somebody says about an attempt, and apply it if it says more than we knew.

    Raises UnknownProviderOrder.
    """
    payment = await _payment_of(session, seen.order_id)
    attempt = await _attempt(session, payment, seen)
    rank = rank_of(seen)
    is_news = rank > attempt.rank
    if is_news:
        await _take_over(session, attempt, seen)
    attempt.refunds_seen = max(attempt.refunds_seen, seen.amount_refunded)
    raw = {name: seen.raw[name] for name in _KEPT if name in seen.raw}
    session.add(Observation(attempt_id=attempt.id, source=source, rank=rank, applied=is_news, raw=raw))
    await session.flush()
    if _took_money(seen) and attempt.captured == 0:
        await _capture(session, payment, attempt, seen)
    elif is_news and rank is Rank.FAILED:
        await report_failure(session, payment, attempt)
    return attempt


async def _payment_of(session: AsyncSession, provider_order_id: str | None) -> Payment:
    owner = select(ProviderOrder.payment_id).where(ProviderOrder.provider_order_id == provider_order_id)
    payment_id = await session.scalar(owner)
    if payment_id is None:
        raise UnknownProviderOrder(provider_order_id)
    return await locked_payment(session, payment_id)


async def _attempt(session: AsyncSession, payment: Payment, seen: ProviderPayment) -> Attempt:
    attempt = await session.get(Attempt, Attempt.id_for(seen.id), populate_existing=True)
    if attempt is None:
        attempt = Attempt(
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
            refunds_checked=0,
        )
        session.add(attempt)
        await session.flush()
    return attempt


async def _take_over(session: AsyncSession, attempt: Attempt, seen: ProviderPayment) -> None:
    attempt.rank = rank_of(seen)
    attempt.method = seen.method or attempt.method
    attempt.error_code = seen.error_code
    attempt.error_description = seen.error_description
    attempt.changed_at = await clock(session)
    if attempt.captured == 0:
        attempt.amount, attempt.currency = seen.amount, seen.currency


def _took_money(seen: ProviderPayment) -> bool:
    """Captured, or captured and refunded since. Refunded alone only says that an authorisation has lapsed."""
    return seen.status == "captured" or (seen.status == "refunded" and seen.captured)


async def _capture(session: AsyncSession, payment: Payment, attempt: Attempt, seen: ProviderPayment) -> None:
    """The first capture settles the payment, and every one is reported once."""
    attempt.amount = attempt.captured = seen.amount
    attempt.currency = seen.currency
    attempt.captured_at = await clock(session)
    if payment.status is not PaymentStatus.SETTLED:
        await move(session, payment, PaymentStatus.SETTLED, cause=f"captured {attempt.provider_payment_id}")
    await report_capture(session, payment, attempt)
    await return_the_rest(session, attempt)
