"""What was captured, what went back, what is on its way, and what must still go.

Everything here runs in the caller's transaction, under the payment's row lock: that is why all refunds of an attempt
that have not failed never add up to more than was captured.
"""

import json
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.ids import derive_id
from chassis.telemetry import get_logger
from payments.models import Attempt, Payment, Refund, RefundKind, RefundStatus, clock, note_refund
from payments.reports import report_refund

_FORWARD = {
    RefundStatus.REQUESTED: {RefundStatus.SUBMITTED, RefundStatus.PROCESSED, RefundStatus.FAILED},
    RefundStatus.SUBMITTED: {RefundStatus.PROCESSED, RefundStatus.FAILED},
    RefundStatus.PROCESSED: set[RefundStatus](),
    RefundStatus.FAILED: set[RefundStatus](),
}
LONGEST_DELAY = timedelta(days=1)


async def left_of(session: AsyncSession, attempt: Attempt) -> int:
    """Captured minus what went back or is on its way: what can still be refunded."""
    total = select(func.coalesce(func.sum(Refund.amount), 0)).where(
        Refund.attempt_id == attempt.id, Refund.status != RefundStatus.FAILED
    )
    return attempt.captured - int((await session.scalars(total)).one())


async def return_the_rest(session: AsyncSession, attempt: Attempt) -> None:
    """While an attempt is marked `to_return` and something captured has not gone back, refund exactly that rest.

    The n-th such refund has the same id whoever makes it, so that it is made once.
    """
    if attempt.to_return is None:
        return
    rest = await left_of(session, attempt)
    if rest <= 0:
        return
    count = select(func.count()).where(Refund.attempt_id == attempt.id, Refund.kind == RefundKind.RETURN)
    failed_before = (await session.scalars(count)).one()
    refund_id = derive_id(attempt.id, "return", str(failed_before + 1))
    refund = new_refund(attempt, refund_id=refund_id, kind=RefundKind.RETURN, amount=rest, reason=attempt.to_return)
    if failed_before:
        # What failed for good is asked for again ever more rarely.
        delay = min(timedelta(minutes=2 ** min(failed_before, 20)), LONGEST_DELAY)
        refund.next_try_at = await clock(session) + delay
    session.add(refund)
    await note_refund(session, refund, RefundStatus.REQUESTED)


def new_refund(
    attempt: Attempt, *, refund_id: UUID, kind: RefundKind, amount: int, reason: str, by: UUID | None = None
) -> Refund:
    """A refund with the request that will be sent for it, however often."""
    body = {"amount": amount, "speed": "normal", "notes": {"reason": reason}, "receipt": refund_id.hex}
    return Refund(
        id=refund_id,
        attempt_id=attempt.id,
        kind=kind,
        amount=amount,
        reason=reason,
        status=RefundStatus.REQUESTED,
        body=json.dumps(body),
        requested_by=by,
    )


async def settle_refund(session: AsyncSession, payment: Payment, refund: Refund, status: RefundStatus) -> None:
    """Move a refund forward and tell orders; moving back, or out of a final state, is a no-op."""
    if status not in _FORWARD[refund.status]:
        return
    if refund.status is RefundStatus.REQUESTED and status is not RefundStatus.SUBMITTED:
        await note_refund(session, refund, RefundStatus.SUBMITTED)
    await note_refund(session, refund, status)
    attempt = await session.get_one(Attempt, refund.attempt_id)
    await report_refund(session, payment, refund, attempt=attempt, totals=await totals(session, payment))
    if status is RefundStatus.FAILED:
        get_logger().error("refund failed", refund_id=str(refund.id), order_id=str(payment.order_id))
        await return_the_rest(session, attempt)


async def totals(session: AsyncSession, payment: Payment) -> tuple[int, int, int]:
    """Captured, refunded, and on its way back, over all attempts of a payment."""
    captured = select(func.coalesce(func.sum(Attempt.captured), 0)).where(Attempt.payment_id == payment.id)
    is_under_way = Refund.status.in_((RefundStatus.REQUESTED, RefundStatus.SUBMITTED))
    refunds = (
        select(
            captured.correlate(None).scalar_subquery(),
            func.coalesce(func.sum(Refund.amount).filter(Refund.status == RefundStatus.PROCESSED), 0),
            func.coalesce(func.sum(Refund.amount).filter(is_under_way), 0),
        )
        .join(Attempt, Attempt.id == Refund.attempt_id)
        .where(Attempt.payment_id == payment.id)
    )
    taken, processed, pending = (await session.execute(refunds)).one()
    return int(taken), int(processed), int(pending)
