"""Giving money back.

1. Somebody decides: the order, because the money has nothing to pay for (`on_refund_requested`), or staff
   (`ask_for_refund`). Either writes a refund of REQUESTED under the payment's lock.
2. `pursue` sends it, and sends it again with the same key and the same bytes until the provider gives a definite word.
   Before it repeats itself it looks whether the refund is there; one that is, is only asked about.
3. What became of it comes back by webhook or by `pursue` itself: `observe_refund`, in any order, any number of times.
   A refund that nobody here asked for was made in the provider's dashboard, and is recognised as such.
4. FAILED is final. What then still has to go back is a new refund (`balances.return_the_rest`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from chassis import tracing
from chassis.events import NotYet, Reader
from chassis.ids import derive_id
from chassis.money import Money
from chassis.problems import IdempotencyKeyReused
from chassis.telemetry import about, get_logger
from payments.attempts import UnknownProviderOrder
from payments.balances import MINIMUM, left_of, new_refund, return_the_rest, settle_refund
from payments.errors import CurrencyUnsupported, NothingToRefund, RefundTooLarge, RefundTooSmall
from payments.ledger import Ledger, OpenLedger
from payments.models import Attempt, Payment, Refund, RefundKind, RefundStatus
from payments.provider import (
    Provider,
    ProviderError,
    ProviderRefund,
    ProviderRefused,
    ProviderUnreachable,
    RefundWord,
    as_refund,
)

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)

_OPEN = (RefundStatus.REQUESTED, RefundStatus.SUBMITTED)
_RESULT = {
    RefundWord.PENDING: RefundStatus.SUBMITTED,
    RefundWord.PROCESSED: RefundStatus.PROCESSED,
    RefundWord.FAILED: RefundStatus.FAILED,
}


class RefundRequested(Reader):
    """What payments needs of `refund.requested`."""

    attempt_id: UUID
    reason: str


async def on_refund_requested(ledger: Ledger, request: RefundRequested) -> None:
    """The order has no use for this attempt's money: all of it goes back, whatever else went back before."""
    found = await ledger.lock_attempt(request.attempt_id)
    if found is None:
        raise NotYet("The attempt is not known here yet.")
    _, attempt = found
    if attempt.to_return is None:
        await ledger.mark_to_return(attempt, reason=request.reason)
    await return_the_rest(ledger, attempt)


async def ask_for_refund(
    ledger: Ledger, payment: Payment, *, amount: Money | None, reason: str, key: str, staff_id: UUID
) -> Refund:
    """A refund by staff: everything that is left of an attempt, or a part of it.

    The same key of the same person gives the same refund, also when its answer is not kept any more. Raises
    NothingToRefund, RefundTooLarge, RefundTooSmall, CurrencyUnsupported, IdempotencyKeyReused.
    """
    payment = await ledger.lock_payment(payment.id)
    if amount is not None and amount.currency != payment.currency:
        raise CurrencyUnsupported(f"This payment is in {payment.currency}.")
    attempts = await ledger.captured_attempts(payment.id)
    ids = {attempt.id: derive_id(attempt.id, "staff", str(staff_id), key) for attempt in attempts}
    repeated = await ledger.refund_among(ids.values())
    if repeated is not None:
        if repeated.reason != reason or (amount is not None and repeated.amount != amount.amount):
            raise IdempotencyKeyReused("This key has made another refund; choose a new key for a new one.")
        return repeated
    left, attempt = await _with_most_left(ledger, attempts)
    wanted = left if amount is None else amount.amount
    if wanted > left:
        raise RefundTooLarge(f"At most {left} is left to give back.", refundable=left)
    if wanted < MINIMUM or 0 < left - wanted < MINIMUM:
        raise RefundTooSmall(f"Refund at least {MINIMUM}, and leave nothing or at least {MINIMUM}.", refundable=left)
    refund = new_refund(
        attempt, refund_id=ids[attempt.id], kind=RefundKind.STAFF, amount=wanted, reason=reason, by=staff_id
    )
    await ledger.add_refund(refund)
    return refund


async def _with_most_left(ledger: Ledger, attempts: Sequence[Attempt]) -> tuple[int, Attempt]:
    """The provider refunds attempts, not payments, and as a rule only one of them was captured."""
    rests = [(await left_of(ledger, attempt), attempt) for attempt in attempts]
    left, attempt = max(rests, key=lambda rest: rest[0], default=(0, None))
    if attempt is None or left <= 0:
        raise NothingToRefund("Nothing of this payment is left to give back.")
    return left, attempt


async def due(open_ledger: OpenLedger, *, limit: int = 20) -> Sequence[UUID]:
    """Refunds that must be sent, sent again, or asked about."""
    async with open_ledger() as ledger:
        return await ledger.due_refunds(limit=limit)


@dataclass(frozen=True, slots=True)
class _Errand:
    """One turn at a refund."""

    refund_id: UUID
    provider_payment_id: str
    body: str
    is_repeated: bool
    """It may be at the provider already."""
    is_there: bool
    """It is: ours has its id, an external one was found there."""
    order_id: UUID
    traceparent: str | None


async def pursue(open_ledger: OpenLedger, provider: Provider, refund_id: UUID) -> bool:
    """Bring a refund nearer to its end; whether the provider gave a word on it.

    The next turn is written down before the call, so that neither a crash nor a second worker sends it in a hurry.
    """
    errand = await _take(open_ledger, refund_id)
    if errand is None:
        return False
    with about(errand.order_id), tracing.resumed("pursue refund", errand.traceparent):
        return await _send(open_ledger, provider, errand)


async def _send(open_ledger: OpenLedger, provider: Provider, errand: _Errand) -> bool:
    try:
        if errand.is_repeated and (await _look(open_ledger, provider, errand) or errand.is_there):
            return True
        answer = await provider.refund(errand.provider_payment_id, key=errand.refund_id.hex, body=errand.body)
    except ProviderRefused as refusal:
        return await _refused(open_ledger, provider, errand, refusal)
    except ProviderError as error:
        return await _not_answered(open_ledger, errand, error)
    async with open_ledger() as ledger:
        # What answers our request is our refund, whether or not it repeats our receipt.
        await apply_refund(ledger, replace(answer, receipt=errand.refund_id.hex))
    return True


async def _take(open_ledger: OpenLedger, refund_id: UUID) -> _Errand | None:
    """None when it is final, or not due: somebody else has taken this turn."""
    async with open_ledger() as ledger:
        payment, attempt, refund = await ledger.lock_refund(refund_id)
        now = await ledger.clock()
        if refund.status not in _OPEN or refund.next_try_at > now:
            return None
        is_there = refund.kind is RefundKind.EXTERNAL or refund.provider_refund_id is not None
        errand = _Errand(
            refund_id,
            attempt.provider_payment_id,
            refund.body,
            is_repeated=is_there or refund.tries > 0,
            is_there=is_there,
            order_id=payment.order_id,
            traceparent=payment.traceparent,
        )
        refund.next_try_at = now + min(FIRST_PAUSE * 2 ** min(refund.tries, 10), LONGEST_PAUSE)
        refund.tries += 1
        await ledger.keep_turn(refund)
    return errand


async def _look(open_ledger: OpenLedger, provider: Provider, errand: _Errand) -> bool:
    """Apply every refund of the attempt that the provider knows; whether ours is among them. Raises ProviderError."""
    known = await provider.refunds_of(errand.provider_payment_id)
    for found in known:
        async with open_ledger() as ledger:
            await apply_refund(ledger, found)
    return any(found.receipt == errand.refund_id.hex for found in known)


async def _refused(open_ledger: OpenLedger, provider: Provider, errand: _Errand, refusal: ProviderRefused) -> bool:
    """A definite no counts only if no refund of ours is there: an earlier try may have been carried out."""
    try:
        is_there = await _look(open_ledger, provider, errand)
    except ProviderError as error:
        return await _not_answered(open_ledger, errand, error)
    if not is_there:
        async with open_ledger() as ledger:
            payment, attempt, refund = await ledger.lock_refund(errand.refund_id)
            await ledger.keep_error(refund, str(refusal)[:300])
            await settle_refund(ledger, payment, attempt, refund, RefundStatus.FAILED)
    return True


async def _not_answered(open_ledger: OpenLedger, errand: _Errand, error: ProviderError) -> bool:
    """Unless nothing was sent it may have been done: SUBMITTED, and the same key and bytes again later."""
    get_logger().warning("refund in doubt", refund_id=str(errand.refund_id), error=str(error))
    async with open_ledger() as ledger:
        payment, attempt, refund = await ledger.lock_refund(errand.refund_id)
        await ledger.keep_error(refund, str(error)[:300])
        if not isinstance(error, ProviderUnreachable):
            await settle_refund(ledger, payment, attempt, refund, RefundStatus.SUBMITTED)
    return False


async def observe_refund(ledger: Ledger, entity: dict[str, Any]) -> None:
    """Apply the refund inside a webhook.

    Raises UnknownProviderOrder when its payment is not known here yet, OutcomeUnknown when it is no refund.
    """
    await apply_refund(ledger, as_refund(entity))


async def check_refunds(open_ledger: OpenLedger, provider: Provider, attempt_id: UUID) -> None:
    """The provider gave more back than we have looked at: look through its refunds. Raises ProviderError."""
    async with open_ledger() as ledger:
        attempt = await ledger.find_attempt(attempt_id)
    if attempt is None:
        return
    for found in await provider.refunds_of(attempt.provider_payment_id):
        async with open_ledger() as ledger:
            await apply_refund(ledger, found)
    async with open_ledger() as ledger:
        await ledger.refunds_looked_at(attempt_id, up_to=attempt.refunds_seen)


async def apply_refund(ledger: Ledger, seen: ProviderRefund) -> None:
    """One refund of the provider is one of ours by its receipt, or an external one.

    An authorisation that nobody captured goes back by itself, with a refund that differs in nothing from others: what
    took no money gives none back. Where only the capture is not known yet, a sweep finds its refund after it.
    """
    found = await ledger.lock_attempt(Attempt.id_for(seen.payment_id))
    if found is None:
        raise UnknownProviderOrder(seen.payment_id)
    payment, attempt = found
    if attempt.captured == 0:
        return
    with about(payment.order_id), tracing.resumed("refund observed", payment.traceparent):
        await _take_over(ledger, payment, attempt, seen)


async def _take_over(ledger: Ledger, payment: Payment, attempt: Attempt, seen: ProviderRefund) -> None:
    refund = await _matching(ledger, attempt, seen) or await _external(ledger, attempt, seen)
    if refund.provider_refund_id is None:
        await ledger.name_refund(refund, seen.id)
    await settle_refund(ledger, payment, attempt, refund, _RESULT[seen.status])
    await return_the_rest(ledger, attempt)


async def _matching(ledger: Ledger, attempt: Attempt, seen: ProviderRefund) -> Refund | None:
    """Ours that has this id at the provider, or carries this receipt and has none yet.

    One that was given up as refused and is there after all counts as external: FAILED is final, and its money is gone.
    """
    known = await ledger.refund_named(seen.id)
    if known is not None:
        return known
    ours = await ledger.unnamed_refunds(attempt.id)
    return next((refund for refund in ours if refund.id.hex == seen.receipt), None)


async def _external(ledger: Ledger, attempt: Attempt, seen: ProviderRefund) -> Refund:
    get_logger().warning("external refund", attempt_id=str(attempt.id), provider_refund_id=seen.id)
    refund = Refund(
        id=derive_id(attempt.id, "external", seen.id),
        attempt_id=attempt.id,
        kind=RefundKind.EXTERNAL,
        amount=seen.amount,
        reason="made at the provider",
        status=RefundStatus.REQUESTED,
        provider_refund_id=seen.id,
        body="",
        next_try_at=await ledger.clock() + FIRST_PAUSE,
    )
    await ledger.add_refund(refund)
    return refund
