"""What one observation changes: an attempt, and perhaps its payment.

Everything here runs in the caller's transaction, under the payment's row lock, so that handshake, webhook and poll
may report the same thing at the same moment, in any order and any number of times, and the end is the same.
"""

from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import db_now
from payments.balances import return_the_rest
from payments.models import (
    Attempt,
    Observation,
    Payment,
    PaymentStatus,
    ProviderOrder,
    Rank,
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
    payment, now = await _payment_of(session, seen.order_id)
    attempt = await _attempt(session, payment, seen)
    rank = rank_of(seen)
    is_news = rank > attempt.rank
    if is_news:
        _take_over(attempt, seen, now=now)
    is_capture = _took_money(seen) and attempt.captured == 0
    if is_capture:
        attempt.amount = attempt.captured = seen.amount
        attempt.currency, attempt.captured_at = seen.currency, now
    attempt.refunds_seen = max(attempt.refunds_seen, seen.amount_refunded)
    await session.flush()  # first the attempt: what was observed refers to it
    raw = {name: seen.raw[name] for name in _KEPT if name in seen.raw}
    session.add(Observation(attempt_id=attempt.id, source=source, rank=rank, applied=is_news, raw=raw))
    if is_capture:
        await _report_first_capture(session, payment, attempt)
    elif is_news and rank is Rank.FAILED:
        await report_failure(session, payment, attempt)
    else:
        await session.flush()
    return attempt


# One statement object for all: no other is sent as often.
_PAYMENT = (
    select(Payment, db_now())
    .join(ProviderOrder, ProviderOrder.payment_id == Payment.id)
    .where(ProviderOrder.provider_order_id == bindparam("provider_order_id"))
    .with_for_update(of=Payment)
    .execution_options(populate_existing=True)
)


async def _payment_of(session: AsyncSession, provider_order_id: str | None) -> tuple[Payment, datetime]:
    """The payment, locked and as it is now, and the database's time."""
    row = (await session.execute(_PAYMENT, {"provider_order_id": provider_order_id})).one_or_none()
    if row is None:
        raise UnknownProviderOrder(provider_order_id)
    return row[0], row[1]


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
    return attempt


def _take_over(attempt: Attempt, seen: ProviderPayment, *, now: datetime) -> None:
    attempt.rank = rank_of(seen)
    attempt.method = seen.method or attempt.method
    attempt.error_code = seen.error_code
    attempt.error_description = seen.error_description
    attempt.changed_at = now
    if attempt.captured == 0:
        attempt.amount, attempt.currency = seen.amount, seen.currency


def _took_money(seen: ProviderPayment) -> bool:
    """Captured, or captured and refunded since. Refunded alone only says that an authorisation has lapsed."""
    return seen.status == "captured" or (seen.status == "refunded" and seen.captured)


async def _report_first_capture(session: AsyncSession, payment: Payment, attempt: Attempt) -> None:
    """The first captured attempt settles the payment, and the capture of every attempt is reported once."""
    if payment.status is not PaymentStatus.SETTLED:
        await move(session, payment, PaymentStatus.SETTLED, cause=f"captured {attempt.provider_payment_id}")
    await report_capture(session, payment, attempt)
    await return_the_rest(session, attempt)
