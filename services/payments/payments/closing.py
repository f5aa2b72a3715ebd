"""Ending a payment, because its order ends.

1. `on_order_closing` stops it: no new checkout from then on. What nobody was asked to pay is closed at once (P3); else
   a job asks the provider (P4). What is paid already is reported again (P7).
2. `close_if_nothing_came` gives the last word after the provider was asked: `payment.intent_closed`.
3. `on_order_closed` ends it without asking, when the order could not wait any longer (P3, P6).

The provider cannot cancel its orders, so they stay watched: what is captured later still counts (P5).
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import db_now
from chassis.events import Reader
from chassis.ids import new_id
from payments.models import Attempt, Payment, PaymentStatus, Rank, clock, locked_payment, move
from payments.reports import report_capture, report_intent_closed

NO_CURRENCY = "XXX"
"""ISO 4217 for a transaction without one: a tombstone does not know what was to be paid."""


class OrderClosing(Reader):
    """What payments needs of `order.closing`, `order.cancelled` and `order.expired`."""

    order_id: UUID


async def on_order_closing(session: AsyncSession, order: OrderClosing) -> None:
    """P3, P4, P7: no checkout from now on; the provider's last word is asked for by a job at once."""
    payment = await _locked_or_tombstone(session, order.order_id)
    match payment.status:
        case PaymentStatus.NEW:
            await _close(session, payment, cause="order closing")
        case PaymentStatus.CREATING | PaymentStatus.OPEN:
            payment.closing_at = payment.next_ask_at = await clock(session)
            if payment.status is PaymentStatus.OPEN:
                await move(session, payment, PaymentStatus.CLOSING, cause="order closing")
            await session.flush()
        case PaymentStatus.SETTLED:
            captured = select(Attempt).where(Attempt.payment_id == payment.id, Attempt.captured > 0)
            for attempt in await session.scalars(captured.order_by(Attempt.captured_at)):
                await report_capture(session, payment, attempt)


async def on_order_closed(session: AsyncSession, order: OrderClosing) -> None:
    """P3, P6: `order.cancelled` and `order.expired`."""
    payment = await _locked_or_tombstone(session, order.order_id)
    match payment.status:
        case PaymentStatus.NEW:
            await _close(session, payment, cause="order closed")
        case PaymentStatus.CREATING | PaymentStatus.OPEN | PaymentStatus.CLOSING:
            await move(session, payment, PaymentStatus.CLOSED, cause="order closed")


async def close_if_nothing_came(session: AsyncSession, payment_id: UUID, *, patience: float) -> bool:
    """P4, after the provider was asked: close unless an attempt may still succeed; whether it closed.

    An authorisation older than the patience cannot be captured without us any more, and counts as nothing.
    """
    payment = await locked_payment(session, payment_id)
    if payment.status is not PaymentStatus.CLOSING:
        return False
    age = db_now() - Attempt.first_seen_at
    undecided = select(Attempt.id).where(
        Attempt.payment_id == payment_id,
        Attempt.rank.in_((Rank.CREATED, Rank.AUTHORIZED)),
        age < timedelta(seconds=patience),
    )
    if (await session.scalars(undecided.limit(1))).first() is not None:
        return False
    await _close(session, payment, cause="nothing at the provider")
    return True


async def _close(session: AsyncSession, payment: Payment, *, cause: str) -> None:
    await move(session, payment, PaymentStatus.CLOSED, cause=cause)
    await report_intent_closed(session, payment)


async def _locked_or_tombstone(session: AsyncSession, order_id: UUID) -> Payment:
    """The payment, locked; made now when the order closes before payments heard that it was placed."""
    by_order = select(Payment).where(Payment.order_id == order_id).with_for_update()
    payment = await session.scalar(by_order)
    if payment is None:
        payment_id = new_id()
        tombstone = insert(Payment).values(
            id=payment_id,
            order_id=order_id,
            status=PaymentStatus.NEW,
            amount=0,
            currency=NO_CURRENCY,
            receipt=Payment.receipt_for(payment_id),
            version=0,
        )
        # Should `order.placed` be committed at this very moment, its payment is the one.
        await session.execute(tombstone.on_conflict_do_nothing(index_elements=["order_id"]))
        payment = (await session.scalars(by_order)).one()
    return payment
