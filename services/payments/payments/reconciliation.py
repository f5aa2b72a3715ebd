"""Asking the provider about everything that should have come by itself.

Each function is one job's work: it finds what is due by the database's clock, moves the next look ahead before it
asks, so that a crash or a second worker asks no more often than planned, and handles one case after the other.
A case that fails waits for its next turn and does not hold up the others.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from chassis.database import Database, db_now
from chassis.jobs import JobOutcome
from chassis.telemetry import get_logger
from payments.attempts import apply_observation, rank_of
from payments.balances import return_the_rest
from payments.models import (
    Attempt,
    Observation,
    Payment,
    PaymentStatus,
    ProviderOrder,
    Rank,
    Refund,
    RefundStatus,
    WebhookEvent,
    clock,
    locked_attempt,
)
from payments.provider import PAGE, Provider, ProviderError, ProviderPayment

BATCH = 20
MOST_PAGES = 200

CREATION_AGAIN_IN = timedelta(seconds=30)
CLOSING_AGAIN_IN = timedelta(seconds=15)
OPEN_AGAIN_IN = timedelta(minutes=3)
CAPTURE_EXPECTED_WITHIN = timedelta(minutes=2)
SWEPT = timedelta(hours=48)
SILENCE = timedelta(minutes=30)

Ask = Callable[[UUID], Awaitable[None]]
LookUp = Callable[[UUID, str], Awaitable[bool]]
Close = Callable[[UUID], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Due:
    payment_id: UUID
    receipt: str


async def _take(database: Database, condition: ColumnElement[bool], *, again_in: timedelta) -> Sequence[_Due]:
    """Payments whose look is due; their next one is set first."""
    chosen = (
        select(Payment.id)
        .where(condition, Payment.next_ask_at <= db_now())
        .order_by(Payment.next_ask_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    async with database.transaction() as session:
        taken = await session.execute(
            update(Payment)
            .where(Payment.id.in_(chosen))
            .values(next_ask_at=db_now() + again_in)
            .returning(Payment.id, Payment.receipt)
            .execution_options(synchronize_session=False)
        )
        return [_Due(*row) for row in taken]


async def resolve_creations(database: Database, *, look_up: LookUp) -> JobOutcome:
    """CREATING whose lease is over: the answer was lost; our receipt tells whether the order was made."""
    condition = (Payment.status == PaymentStatus.CREATING) & (Payment.lease_until <= db_now())
    found = await _take(database, condition, again_in=CREATION_AGAIN_IN)
    repaired = 0
    for payment in found:
        try:
            repaired += await look_up(payment.payment_id, payment.receipt)
        except ProviderError as error:
            _in_vain("creation", payment.payment_id, error)
    return JobOutcome(found=len(found), repaired=repaired, unresolved=len(found) - repaired)


async def ask_about_closing(database: Database, *, ask: Ask, close: Close) -> JobOutcome:
    """CLOSING: ask, then close if nothing came. Orders is waiting for this word."""
    found = await _take(database, Payment.status == PaymentStatus.CLOSING, again_in=CLOSING_AGAIN_IN)
    repaired = 0
    for payment in found:
        try:
            await ask(payment.payment_id)
            repaired += await close(payment.payment_id)
        except ProviderError as error:
            _in_vain("closing", payment.payment_id, error)
    return JobOutcome(found=len(found), repaired=repaired, unresolved=len(found) - repaired)


async def ask_about_open(database: Database, *, ask: Ask) -> JobOutcome:
    """OPEN without news for three minutes: a webhook may have been lost."""
    found = await _take(database, Payment.status == PaymentStatus.OPEN, again_in=OPEN_AGAIN_IN)
    for payment in found:
        try:
            await ask(payment.payment_id)
        except ProviderError as error:
            _in_vain("open", payment.payment_id, error)
    return JobOutcome(found=len(found))


async def capture_authorised(database: Database, provider: Provider) -> JobOutcome:
    """Authorised for two minutes and not captured: take the money while the payment is OPEN, else let it lapse."""
    waiting_for_us = _can_be_captured().where(Attempt.changed_at < db_now() - CAPTURE_EXPECTED_WITHIN)
    async with database.transaction() as session:
        waiting = list(await session.scalars(waiting_for_us.order_by(Attempt.changed_at).limit(BATCH)))
    repaired = 0
    for provider_payment_id in waiting:
        try:
            repaired += await _capture(database, provider, provider_payment_id)
        except ProviderError as error:
            _in_vain("capture", provider_payment_id, error)
    return JobOutcome(found=len(waiting), repaired=repaired, unresolved=len(waiting) - repaired)


async def _capture(database: Database, provider: Provider, provider_payment_id: str) -> bool:
    """Asked first, so that an answer lost the last time is not taken for a refusal now."""
    seen = await provider.payment(provider_payment_id)
    if seen.status == "authorized":
        async with database.transaction() as session:
            still = _can_be_captured().where(Attempt.provider_payment_id == provider_payment_id)
            if await session.scalar(still) is None:
                return False
        seen = await provider.capture(provider_payment_id, amount=seen.amount, currency=seen.currency)
    async with database.transaction() as session:
        attempt = await apply_observation(session, seen, source="poll")
    return attempt.captured > 0


def _can_be_captured() -> Select[str]:
    return (
        select(Attempt.provider_payment_id)
        .join(Payment, Payment.id == Attempt.payment_id)
        .where(Payment.status == PaymentStatus.OPEN, Attempt.rank == Rank.AUTHORIZED)
    )


async def return_what_is_left(database: Database, *, check_refunds: Callable[[UUID], Awaitable[None]]) -> JobOutcome:
    """Attempts to return with a rest, and attempts of which the provider gave back more than we have looked at."""
    refunded = (
        select(func.coalesce(func.sum(Refund.amount), 0))
        .where(Refund.attempt_id == Attempt.id, Refund.status != RefundStatus.FAILED)
        .scalar_subquery()
    )
    rest = select(Attempt.id).where(Attempt.to_return.is_not(None), Attempt.captured > refunded)
    unseen = select(Attempt.id).where(Attempt.refunds_seen > Attempt.refunds_checked, Attempt.captured > 0)
    async with database.transaction() as session:
        with_rest = list(await session.scalars(rest.limit(BATCH)))
        with_unseen = list(await session.scalars(unseen.limit(BATCH)))
    for attempt_id in with_rest:
        async with database.transaction() as session:
            if (found := await locked_attempt(session, attempt_id)) is not None:
                await return_the_rest(session, found[1])
    failed = 0
    for attempt_id in with_unseen:
        try:
            await check_refunds(attempt_id)
        except ProviderError as error:
            failed += 1
            _in_vain("refunds", attempt_id, error)
    cases = len(with_rest) + len(with_unseen)
    return JobOutcome(found=cases, repaired=cases - failed, unresolved=failed)


async def sweep(database: Database, provider: Provider) -> JobOutcome:
    """Everything that the provider knows of the last 48 hours: finds what webhooks and polls left out."""
    async with database.transaction() as session:
        since = int((await clock(session) - SWEPT).timestamp())
    found = repaired = 0
    try:
        for page in range(MOST_PAGES):
            seen = await provider.payments_since(since, skip=page * PAGE)
            found += len(seen)
            async with database.transaction() as session:
                news = await _news_among(session, seen)
            for payment in news:
                async with database.transaction() as session:
                    await apply_observation(session, payment, source="poll")
            repaired += len(news)
            if len(seen) < PAGE:
                break
    except ProviderError as error:
        _in_vain("sweep", since, error)
        return JobOutcome(found=found, repaired=repaired, unresolved=1)
    return JobOutcome(found=found, repaired=repaired)


async def _news_among(session: AsyncSession, seen: Sequence[ProviderPayment]) -> list[ProviderPayment]:
    """Those at our orders that say more than we know."""
    ours = select(ProviderOrder.provider_order_id).where(
        ProviderOrder.provider_order_id.in_([payment.order_id for payment in seen])
    )
    orders = set(await session.scalars(ours))
    known = select(Attempt.provider_payment_id, Attempt.rank, Attempt.refunds_seen).where(
        Attempt.provider_payment_id.in_([payment.id for payment in seen])
    )
    attempts = {name: (rank, refunded) for name, rank, refunded in await session.execute(known)}

    def is_news(payment: ProviderPayment) -> bool:
        rank, refunded = attempts.get(payment.id, (-1, 0))
        return rank_of(payment) > rank or payment.amount_refunded > refunded

    return [payment for payment in seen if payment.order_id in orders and is_news(payment)]


async def notice_silent_webhook(database: Database) -> JobOutcome:
    """An alarm: money moved that only our own questions found, and not one webhook came meanwhile."""
    since = db_now() - SILENCE
    asked_for = select(func.count()).where(
        Observation.source == "poll", Observation.applied, Observation.rank >= Rank.CAPTURED, Observation.at > since
    )
    heard = select(WebhookEvent.id).where(WebhookEvent.received_at > since).limit(1)
    async with database.transaction() as session:
        found = (await session.scalars(asked_for)).one()
        if not found or await session.scalar(heard) is not None:
            return JobOutcome(found=found)
    get_logger().error("no webhooks: is the address disabled at the provider?", found_by_asking=found)
    return JobOutcome(found=found, unresolved=found)


def _in_vain(what: str, subject: object, error: Exception) -> None:
    get_logger().warning("provider asked in vain", about=what, subject=str(subject), error=str(error))
