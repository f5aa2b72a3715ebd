"""What was captured, what went back, what is on its way, and what must still go.

Everything here runs in the caller's transaction, under the payment's row lock: that is why all refunds of an attempt
that have not failed never add up to more than was captured.
"""

import json
from datetime import timedelta
from uuid import UUID

from chassis.ids import derive_id
from chassis.telemetry import get_logger
from payments.ledger import Ledger
from payments.models import Attempt, Payment, Refund, RefundKind, RefundStatus
from payments.reports import report_refund

_FORWARD = {
    RefundStatus.REQUESTED: {RefundStatus.SUBMITTED, RefundStatus.PROCESSED, RefundStatus.FAILED},
    RefundStatus.SUBMITTED: {RefundStatus.PROCESSED, RefundStatus.FAILED},
    RefundStatus.PROCESSED: set[RefundStatus](),
    RefundStatus.FAILED: set[RefundStatus](),
}
MINIMUM = 100
"""Minor units; Razorpay refuses to give back less."""

LONGEST_DELAY = timedelta(days=1)


async def left_of(ledger: Ledger, attempt: Attempt) -> int:
    """Captured minus what went back or is on its way: what can still be refunded."""
    return attempt.captured - await ledger.given_back(attempt.id)


async def return_the_rest(ledger: Ledger, attempt: Attempt) -> None:
    """While an attempt is marked `to_return` and something captured has not gone back, refund exactly that rest.

    The n-th such refund has the same id whoever makes it, so that it is made once. A rest below the provider's minimum
    (somebody gave back all but that by hand) is left to people: the job that returns what is left counts it.
    """
    if attempt.to_return is None:
        return
    rest = await left_of(ledger, attempt)
    if rest < MINIMUM:
        if rest > 0:
            get_logger().error("rest is less than can be refunded", attempt_id=str(attempt.id), rest=rest)
        return
    failed_before = await ledger.returns(attempt.id)
    refund_id = derive_id(attempt.id, "return", str(failed_before + 1))
    refund = new_refund(attempt, refund_id=refund_id, kind=RefundKind.RETURN, amount=rest, reason=attempt.to_return)
    if failed_before:
        # What failed for good is asked for again ever more rarely.
        delay = min(timedelta(minutes=2 ** min(failed_before, 20)), LONGEST_DELAY)
        refund.next_try_at = await ledger.clock() + delay
    await ledger.add_refund(refund)


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


async def settle_refund(
    ledger: Ledger, payment: Payment, attempt: Attempt, refund: Refund, status: RefundStatus
) -> None:
    """Move a refund forward and tell orders; moving back, or out of a final state, is a no-op."""
    if status not in _FORWARD[refund.status]:
        if (refund.status, status) == (RefundStatus.PROCESSED, RefundStatus.FAILED):
            get_logger().error("refund failed after it was made", refund_id=str(refund.id))
        return
    if refund.status is RefundStatus.REQUESTED and status is not RefundStatus.SUBMITTED:
        await ledger.move_refund(refund, RefundStatus.SUBMITTED)
    await ledger.move_refund(refund, status)
    await report_refund(ledger, payment, refund, attempt=attempt, totals=await ledger.totals(payment.id))
    await ledger.keep_version(payment)
    if status is RefundStatus.FAILED:
        get_logger().error("refund failed", refund_id=str(refund.id), order_id=str(payment.order_id))
        await return_the_rest(ledger, attempt)
