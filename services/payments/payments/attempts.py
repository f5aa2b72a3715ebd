"""The ledger below a payment: what one observation changes, and what must go back.

Everything here runs in the caller's transaction, under the payment's row lock, so that handshake, webhook and poll
may report the same thing at the same moment, in any order and any number of times, and the end is the same.
"""

import json
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import db_now
from chassis.ids import derive_id
from chassis.outbox import record
from payments.events import PaymentCaptured, PaymentFailed, RefundFailed, RefundProcessed, RefundSubmitted
from payments.models import (
    Attempt,
    Observation,
    Payment,
    PaymentStatus,
    ProviderOrder,
    Rank,
    Refund,
    RefundKind,
    RefundStatus,
    move,
    note_refund,
)
from payments.provider import ProviderPayment

_RANKS = {
    "created": Rank.CREATED,
    "failed": Rank.FAILED,
    "authorized": Rank.AUTHORIZED,
    "captured": Rank.CAPTURED,
    "refunded": Rank.REFUNDED,
}
_REFUND_EVENTS = {
    RefundStatus.SUBMITTED: RefundSubmitted,
    RefundStatus.PROCESSED: RefundProcessed,
    RefundStatus.FAILED: RefundFailed,
}


class UnknownProviderOrder(Exception):
    """An attempt at a provider order that we do not know, or do not know yet."""


async def locked_payment(session: AsyncSession, payment_id: UUID) -> Payment:
    """The payment, locked: everything below one payment happens one after the other."""
    return (await session.scalars(select(Payment).where(Payment.id == payment_id).with_for_update())).one()


async def payment_of_provider_order(session: AsyncSession, provider_order_id: str | None) -> Payment:
    """The payment, locked. Raises UnknownProviderOrder."""
    known = await session.get(ProviderOrder, provider_order_id) if provider_order_id else None
    if known is None:
        raise UnknownProviderOrder(provider_order_id)
    return await locked_payment(session, known.payment_id)


async def apply_observation(session: AsyncSession, seen: ProviderPayment, *, source: str) -> Attempt:
    """Note what somebody says about an attempt, and apply it if it says more than we knew.

    Raises UnknownProviderOrder.
    """
    payment = await payment_of_provider_order(session, seen.order_id)
    attempt = await _attempt(session, payment, seen)
    rank, before = _rank(seen), Rank(attempt.rank)
    is_news = rank > before
    if is_news:
        attempt.rank = rank
        attempt.method = seen.method or attempt.method
        attempt.error_code = seen.error_code
        attempt.error_description = seen.error_description
        attempt.changed_at = db_now()
    attempt.refunds_seen = max(attempt.refunds_seen, seen.amount_refunded)
    observation = Observation(attempt_id=attempt.id, source=source, rank=rank, applied=is_news, raw=_told(seen))
    session.add(observation)
    await session.flush()
    if rank >= Rank.CAPTURED and attempt.captured == 0:
        await _capture(session, payment, attempt)
    elif is_news and rank is Rank.FAILED:
        await _report_failure(session, payment, attempt)
    return attempt


def _rank(seen: ProviderPayment) -> Rank:
    """A refunded attempt that was never captured has lapsed: the money was only ever set aside."""
    rank = _RANKS.get(seen.status, Rank.CREATED)
    if rank is Rank.REFUNDED and not seen.captured:
        return Rank.FAILED
    return rank


def _told(seen: ProviderPayment) -> dict[str, object]:
    """What is kept of an observation: nothing that says who paid."""
    kept = ("id", "order_id", "status", "amount", "currency", "captured", "amount_refunded", "refund_status", "fee",
            "tax", "method", "error_code", "error_reason", "created_at")  # fmt: skip
    return {name: seen.raw.get(name) for name in kept if name in seen.raw}


async def _attempt(session: AsyncSession, payment: Payment, seen: ProviderPayment) -> Attempt:
    attempt = await session.get(Attempt, Attempt.id_for(seen.id))
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


async def _capture(session: AsyncSession, payment: Payment, attempt: Attempt) -> None:
    """The provider took the money: the first capture settles the payment, every one is reported once."""
    attempt.captured = attempt.amount
    attempt.captured_at = await session.scalar(select(db_now()))
    if payment.status is not PaymentStatus.SETTLED:
        await move(session, payment, PaymentStatus.SETTLED, cause=f"captured {attempt.provider_payment_id}")
    await report_capture(session, payment, attempt)
    await return_the_rest(session, attempt)


async def report_capture(session: AsyncSession, payment: Payment, attempt: Attempt) -> None:
    """Tell orders about captured money."""
    assert attempt.captured_at is not None  # noqa: S101 - set with the capture
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
    )
    await _publish(session, payment, event)


async def _report_failure(session: AsyncSession, payment: Payment, attempt: Attempt) -> None:
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
    await _publish(session, payment, event)


async def _publish(session: AsyncSession, payment: Payment, event: PaymentCaptured | PaymentFailed) -> None:
    await session.flush()
    await record(session, event, subject=payment.id, sequence=payment.version, correlation_id=payment.order_id)


async def not_failed(session: AsyncSession, attempt: Attempt) -> int:
    """What went back or is on its way: the sum of the attempt's refunds that have not failed."""
    total = select(func.coalesce(func.sum(Refund.amount), 0)).where(
        Refund.attempt_id == attempt.id, Refund.status != RefundStatus.FAILED
    )
    return int(await session.scalar(total) or 0)


async def return_the_rest(session: AsyncSession, attempt: Attempt) -> Refund | None:
    """While an attempt is marked `to_return` and something captured has not gone back, refund exactly that rest.

    The n-th such refund has the same id whoever makes it, so that it is made once. The caller holds the payment's lock.
    """
    if attempt.to_return is None:
        return None
    rest = attempt.captured - await not_failed(session, attempt)
    if rest <= 0:
        return None
    count = select(func.count()).where(Refund.attempt_id == attempt.id, Refund.kind == RefundKind.RETURN)
    number = int(await session.scalar(count) or 0) + 1
    refund_id = derive_id(attempt.id, "return", str(number))
    refund = new_refund(attempt, refund_id=refund_id, kind=RefundKind.RETURN, amount=rest, reason=attempt.to_return)
    if number > 1:
        # An earlier one failed for good; each repetition waits longer, at most a day.
        refund.next_try_at = db_now() + func.make_interval(0, 0, 0, 0, 0, min(2 ** (number - 1), 1440))
    session.add(refund)
    await note_refund(session, refund, RefundStatus.REQUESTED)
    return refund


def new_refund(
    attempt: Attempt, *, refund_id: UUID, kind: RefundKind, amount: int, reason: str, by: UUID | None = None
) -> Refund:
    """A refund with the request that will be sent for it, however often."""
    notes = {"reason": reason}
    body = json.dumps({"amount": amount, "speed": "normal", "notes": notes, "receipt": refund_id.hex})
    return Refund(
        id=refund_id,
        attempt_id=attempt.id,
        kind=kind,
        amount=amount,
        reason=reason,
        status=RefundStatus.REQUESTED,
        body=body,
        requested_by=by,
    )


async def settle_refund(session: AsyncSession, payment: Payment, refund: Refund, status: RefundStatus) -> None:
    """Move a refund forward and tell orders; moving back, or out of a final state, is a no-op."""
    path = [RefundStatus.REQUESTED, RefundStatus.SUBMITTED, RefundStatus.PROCESSED]
    is_final = refund.status in (RefundStatus.PROCESSED, RefundStatus.FAILED)
    if is_final or status is refund.status or (status in path and path.index(status) < path.index(refund.status)):
        return
    if refund.status is RefundStatus.REQUESTED and status is not RefundStatus.SUBMITTED:
        await note_refund(session, refund, RefundStatus.SUBMITTED)
    await note_refund(session, refund, status)
    attempt = (await session.scalars(select(Attempt).where(Attempt.id == refund.attempt_id))).one()
    await _report_refund(session, payment, attempt, refund)
    if status is RefundStatus.FAILED:
        await return_the_rest(session, attempt)


async def _report_refund(session: AsyncSession, payment: Payment, attempt: Attempt, refund: Refund) -> None:
    payment.version += 1
    sums = await totals(session, payment)
    event = _REFUND_EVENTS[refund.status](
        order_id=payment.order_id,
        payment_id=payment.id,
        payment_version=payment.version,
        attempt_id=attempt.id,
        refund_id=refund.id,
        amount=refund.amount,
        currency=attempt.currency,
        reason=refund.reason,
        captured_total=sums[0],
        refunded_total=sums[1],
        pending_total=sums[2],
    )
    await session.flush()
    await record(session, event, subject=payment.id, sequence=payment.version, correlation_id=payment.order_id)


async def totals(session: AsyncSession, payment: Payment) -> tuple[int, int, int]:
    """Captured, refunded, and on its way back, over all attempts of a payment."""
    captured = select(func.coalesce(func.sum(Attempt.captured), 0)).where(Attempt.payment_id == payment.id)
    refunds = (
        select(
            func.coalesce(func.sum(Refund.amount).filter(Refund.status == RefundStatus.PROCESSED), 0),
            func.coalesce(
                func.sum(Refund.amount).filter(Refund.status.in_((RefundStatus.REQUESTED, RefundStatus.SUBMITTED))), 0
            ),
        )
        .join(Attempt, Attempt.id == Refund.attempt_id)
        .where(Attempt.payment_id == payment.id)
    )
    processed, pending = (await session.execute(refunds)).one()
    return int(await session.scalar(captured) or 0), int(processed), int(pending)
