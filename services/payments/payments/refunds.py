"""Giving money back.

1. Somebody decides: the order, because the money has nothing to pay for (`on_refund_requested`), or staff
   (`ask_for_refund`). Either writes a refund of REQUESTED under the payment's lock, so that all refunds of an
   attempt that have not failed never add up to more than was captured.
2. `submit` sends it, and sends it again with the same key and the same bytes until the provider gives a definite
   word. Nothing else of ours repeats it.
3. What became of it comes back by webhook or by `submit` itself: `observe_refund`, in any order, any number of times.
   A refund that nobody here asked for was made in the provider's dashboard, and is recognised as such.
4. FAILED is final. What then still has to go back is a new refund (`attempts.return_the_rest`).
"""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database, db_now
from chassis.events import NotYet, Reader
from chassis.ids import derive_id
from chassis.telemetry import get_logger
from payments.attempts import (
    UnknownProviderOrder,
    locked_payment,
    new_refund,
    not_failed,
    return_the_rest,
    settle_refund,
)
from payments.errors import NothingToRefund, PaymentNotFound, RefundTooLarge, RefundTooSmall
from payments.models import Attempt, Payment, Refund, RefundKind, RefundStatus, note_refund
from payments.provider import Provider, ProviderError, ProviderRefund, ProviderRefused, RefundWord, as_refund

MINIMUM = 100
"""Minor units; Razorpay refuses less."""

_RESULT = {
    RefundWord.PENDING: RefundStatus.SUBMITTED,
    RefundWord.PROCESSED: RefundStatus.PROCESSED,
    RefundWord.FAILED: RefundStatus.FAILED,
}


class RefundRequested(Reader):
    """What payments needs of `refund.requested`."""

    order_id: UUID
    attempt_id: UUID
    reason: str


async def on_refund_requested(session: AsyncSession, request: RefundRequested) -> None:
    """The order has no use for this attempt's money: all of it goes back, whatever else went back before."""
    attempt = await session.get(Attempt, request.attempt_id)
    if attempt is None:
        raise NotYet("The attempt is not known here yet.")
    await locked_payment(session, attempt.payment_id)
    await session.refresh(attempt)
    if attempt.to_return is None:
        attempt.to_return = request.reason
    await return_the_rest(session, attempt)
    await session.flush()


async def ask_for_refund(
    session: AsyncSession, payment_id: UUID, *, amount: int | None, reason: str, key: str, staff_id: UUID
) -> Refund:
    """A refund by staff: everything that is left, or a part of it.

    The same key gives the same refund. Raises PaymentNotFound, NothingToRefund, RefundTooLarge, RefundTooSmall.
    """
    if await session.get(Payment, payment_id) is None:
        raise PaymentNotFound("There is no such payment.")
    await locked_payment(session, payment_id)
    captured = select(Attempt).where(Attempt.payment_id == payment_id, Attempt.captured > 0)
    best: tuple[int, Attempt] | None = None
    for attempt in await session.scalars(captured.order_by(Attempt.captured_at)):
        left = attempt.captured - await not_failed(session, attempt)
        if best is None or left > best[0]:
            best = (left, attempt)
    if best is None or best[0] <= 0:
        raise NothingToRefund("Nothing of this payment is left to give back.")
    left, attempt = best
    wanted = left if amount is None else amount
    if wanted > left:
        raise RefundTooLarge(f"At most {left} is left to give back.", refundable=left)
    if wanted < MINIMUM or 0 < left - wanted < MINIMUM:
        raise RefundTooSmall(f"Refund at least {MINIMUM}, and leave nothing or at least {MINIMUM}.", refundable=left)
    refund_id = derive_id(attempt.id, "staff", str(staff_id), key)
    refund = new_refund(attempt, refund_id=refund_id, kind=RefundKind.STAFF, amount=wanted, reason=reason, by=staff_id)
    session.add(refund)
    await note_refund(session, refund, RefundStatus.REQUESTED)
    await session.refresh(refund)
    return refund


async def due(database: Database, *, limit: int = 20) -> list[UUID]:
    """Refunds that must be sent, sent again, or asked about."""
    async with database.transaction() as session:
        open_ones = select(Refund.id).where(Refund.status.in_((RefundStatus.REQUESTED, RefundStatus.SUBMITTED)))
        return list(
            await session.scalars(
                open_ones.where(Refund.next_try_at <= db_now()).order_by(Refund.next_try_at).limit(limit)
            )
        )


async def submit(database: Database, provider: Provider, refund_id: UUID) -> bool:
    """Send a refund to the provider; whether it gave a definite word.

    The next try is written down before the call, so that neither a crash nor a second worker sends it in a hurry.
    """
    async with database.transaction() as session:
        refund = await session.get(Refund, refund_id, with_for_update=True)
        if refund is None or refund.status not in (RefundStatus.REQUESTED, RefundStatus.SUBMITTED):
            return True
        refund.tries += 1
        refund.next_try_at = db_now() + func.make_interval(0, 0, 0, 0, 0, 0, min(30.0 * 2**refund.tries, 3600.0))
        attempt = (await session.scalars(select(Attempt).where(Attempt.id == refund.attempt_id))).one()
        provider_payment_id, body = attempt.provider_payment_id, refund.body
    try:
        answer = await provider.refund(provider_payment_id, key=refund_id.hex, body=body)
    except ProviderRefused as refusal:
        return await _refused(database, provider, refund_id, provider_payment_id, refusal)
    except ProviderError as error:
        await _in_doubt(database, refund_id, error)
        return False
    async with database.transaction() as session:
        await _apply(session, answer)
    return True


async def _refused(
    database: Database, provider: Provider, refund_id: UUID, provider_payment_id: str, refusal: ProviderRefused
) -> bool:
    """A definite no counts only if no refund of ours is there already: an earlier try may have been carried out."""
    try:
        known = await provider.refunds_of(provider_payment_id)
    except ProviderError as error:
        await _in_doubt(database, refund_id, error)
        return False
    for found in known:
        async with database.transaction() as session:
            await _apply(session, found)
    if not any(found.receipt == refund_id.hex for found in known):
        get_logger().error("refund refused", refund_id=str(refund_id), error=str(refusal))
        async with database.transaction() as session:
            refund, payment = await _locked(session, refund_id)
            refund.last_error = str(refusal)
            await settle_refund(session, payment, refund, RefundStatus.FAILED)
    return True


async def _in_doubt(database: Database, refund_id: UUID, error: ProviderError) -> None:
    """It may have been done: SUBMITTED, and the same key and bytes again later."""
    async with database.transaction() as session:
        refund, payment = await _locked(session, refund_id)
        refund.last_error = str(error)[:300]
        await settle_refund(session, payment, refund, RefundStatus.SUBMITTED)


async def _locked(session: AsyncSession, refund_id: UUID) -> tuple[Refund, Payment]:
    """A refund and its payment, the payment locked first as everywhere."""
    payment_id = (
        await session.scalars(
            select(Attempt.payment_id).join(Refund, Refund.attempt_id == Attempt.id).where(Refund.id == refund_id)
        )
    ).one()
    payment = await locked_payment(session, payment_id)
    refund = (await session.scalars(select(Refund).where(Refund.id == refund_id))).one()
    return refund, payment


async def observe_refund(session: AsyncSession, entity: dict[str, Any]) -> None:
    """Apply the refund inside a webhook. Raises UnknownProviderOrder when its payment is not known here yet."""
    await _apply(session, as_refund(entity))


async def check_refunds(database: Database, provider: Provider, attempt_id: UUID) -> None:
    """The provider gave more back than we know of: look through its refunds. Raises ProviderError."""
    async with database.transaction() as session:
        attempt = (await session.scalars(select(Attempt).where(Attempt.id == attempt_id))).one()
        seen = attempt.refunds_seen
    for found in await provider.refunds_of(attempt.provider_payment_id):
        async with database.transaction() as session:
            await _apply(session, found)
    async with database.transaction() as session:
        attempt = (await session.scalars(select(Attempt).where(Attempt.id == attempt_id))).one()
        attempt.refunds_checked = max(attempt.refunds_checked, seen)


async def _apply(session: AsyncSession, seen: ProviderRefund) -> None:
    """One refund of the provider is one of ours by its receipt, or an external one."""
    attempt = await session.get(Attempt, Attempt.id_for(seen.payment_id))
    if attempt is None:
        raise UnknownProviderOrder(seen.payment_id)
    payment = await locked_payment(session, attempt.payment_id)
    refund = await _matching(session, attempt, seen)
    if refund is None:
        refund = await _external(session, attempt, seen)
    if refund.provider_refund_id is None:
        refund.provider_refund_id = seen.id
        await session.flush()
    await settle_refund(session, payment, refund, _RESULT[seen.status])
    await return_the_rest(session, attempt)


async def _matching(session: AsyncSession, attempt: Attempt, seen: ProviderRefund) -> Refund | None:
    known = await session.scalar(select(Refund).where(Refund.provider_refund_id == seen.id))
    if known is not None:
        return known
    ours = select(Refund).where(Refund.attempt_id == attempt.id, Refund.provider_refund_id.is_(None))
    for refund in await session.scalars(ours):
        if refund.id.hex == seen.receipt:
            return refund
    return None


async def _external(session: AsyncSession, attempt: Attempt, seen: ProviderRefund) -> Refund:
    refund = Refund(
        id=derive_id(attempt.id, "external", seen.id),
        attempt_id=attempt.id,
        kind=RefundKind.EXTERNAL,
        amount=seen.amount,
        reason="made at the provider",
        status=RefundStatus.SUBMITTED,
        provider_refund_id=seen.id,
        body="{}",
    )
    session.add(refund)
    await note_refund(session, refund, RefundStatus.REQUESTED)
    await note_refund(session, refund, RefundStatus.SUBMITTED)
    get_logger().warning("external refund", refund_id=str(refund.id), provider_refund_id=seen.id)
    return refund
