"""Asking the provider about everything that should have come by itself.

Each function is one job's work: it finds what is due by the database's clock, moves the next look ahead before it
asks, so that a crash or a second worker asks no more often than planned, and handles one case after the other.
A case that fails waits for its next turn and does not hold up the others.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlalchemy import func, select

from chassis.clients import UpstreamUnavailable
from chassis.database import Database, db_now
from chassis.jobs import JobOutcome, work_through
from chassis.telemetry import get_logger
from payments.attempts import UnknownProviderOrder, apply_observation, rank_of, took_money
from payments.balances import MINIMUM, return_the_rest
from payments.ledger import Due, Ledger, OpenLedger
from payments.models import Attempt, Observation, PaymentStatus, Rank, RefundStatus, WebhookEvent
from payments.provider import PAGE, Provider, ProviderError, ProviderPayment, ProviderRefund, RefundWord

BATCH = 20
MOST_PAGES, MOST_AFTER_A_REST = 200, 20_000
"""Of a list, newest first: every sweep leaves the older ones to the sweep before, but after a rest there was none."""

CREATION_AGAIN_IN = timedelta(seconds=30)
CLOSING_AGAIN_IN = timedelta(seconds=15)
OPEN_AGAIN_IN = timedelta(minutes=3)
CAPTURE_EXPECTED_WITHIN = timedelta(minutes=2)
SWEPT = timedelta(hours=48)
REST = timedelta(hours=2)
"""Between two sweeps, as a rule much less."""
SILENCE = timedelta(minutes=30)

Ask = Callable[[UUID], Awaitable[None]]
LookUp = Callable[[UUID, str], Awaitable[bool]]
Close = Callable[[UUID], Awaitable[bool]]
Adopt = Callable[[ProviderPayment], Awaitable[bool]]
ApplyRefund = Callable[[Ledger, ProviderRefund], Awaitable[None]]
T = TypeVar("T")


async def _take(
    open_ledger: OpenLedger, status: PaymentStatus, again_in: timedelta, _left_before: int
) -> Sequence[Due]:
    """Payments whose look is due; their next one is set first, so none is found twice."""
    async with open_ledger() as ledger:
        return await ledger.take_due(status, again_in=again_in, limit=BATCH)


async def resolve_creations(open_ledger: OpenLedger, *, look_up: LookUp) -> JobOutcome:
    """CREATING whose lease is over: the answer was lost; our receipt tells whether the order was made."""

    async def resolve(payment: Due) -> bool:
        try:
            return await look_up(payment.payment_id, payment.receipt)
        except ProviderError as error:
            _in_vain("creation", payment.payment_id, error)
            return False

    take = partial(_take, open_ledger, PaymentStatus.CREATING, CREATION_AGAIN_IN)
    return await work_through(take, resolve, batch=BATCH)


async def ask_about_closing(open_ledger: OpenLedger, *, ask: Ask, close: Close) -> JobOutcome:
    """CLOSING: ask, then close if nothing came. Orders is waiting for this word."""

    async def ask_and_close(payment: Due) -> bool:
        try:
            await ask(payment.payment_id)
            return await close(payment.payment_id)
        except ProviderError as error:
            _in_vain("closing", payment.payment_id, error)
            return False

    take = partial(_take, open_ledger, PaymentStatus.CLOSING, CLOSING_AGAIN_IN)
    return await work_through(take, ask_and_close, batch=BATCH)


async def ask_about_open(open_ledger: OpenLedger, *, ask: Ask) -> JobOutcome:
    """OPEN without news for three minutes: a webhook may have been lost. Unresolved: those asked about in vain."""

    async def is_answered(payment: Due) -> bool:
        try:
            await ask(payment.payment_id)
        except ProviderError as error:
            _in_vain("open", payment.payment_id, error)
            return False
        return True

    take = partial(_take, open_ledger, PaymentStatus.OPEN, OPEN_AGAIN_IN)
    asked = await work_through(take, is_answered, batch=BATCH)
    return JobOutcome(found=asked.found, unresolved=asked.unresolved)


async def capture_authorised(open_ledger: OpenLedger, provider: Provider) -> JobOutcome:
    """Authorised for two minutes and not captured: take the money while the payment is OPEN, else let it lapse."""

    async def find(skip: int) -> Sequence[str]:
        async with open_ledger() as ledger:
            return await ledger.capturable(unchanged_for=CAPTURE_EXPECTED_WITHIN, limit=BATCH, skip=skip)

    async def capture(provider_payment_id: str) -> bool:
        try:
            return await _capture(open_ledger, provider, provider_payment_id)
        except (ProviderError, UnknownProviderOrder) as error:
            _in_vain("capture", provider_payment_id, error)
            return False

    return await work_through(find, capture, batch=BATCH)


async def _capture(open_ledger: OpenLedger, provider: Provider, provider_payment_id: str) -> bool:
    """Capture one attempt. Returns whether its case is closed.

    The provider is asked how it stands first: of a capture whose answer was lost, a second one would be refused.
    """
    seen = await provider.payment(provider_payment_id)
    if seen.status == "authorized":
        async with open_ledger() as ledger:
            if not await ledger.can_be_captured(provider_payment_id):
                return True
        seen = await provider.capture(provider_payment_id, amount=seen.amount, currency=seen.currency)
    async with open_ledger() as ledger:
        attempt = await apply_observation(ledger, seen, source="poll")
    return attempt.rank > Rank.AUTHORIZED


async def return_what_is_left(
    open_ledger: OpenLedger, *, check_refunds: Callable[[UUID], Awaitable[None]]
) -> JobOutcome:
    """Attempts to return with a rest, and attempts of which the provider gave back more than we have looked at.

    A rest that the provider would not give back stays unresolved.
    """
    async with open_ledger() as ledger:
        with_rest = await ledger.with_rest_to_return(at_least=MINIMUM, limit=BATCH)
        left_to_people = await ledger.rests_below(MINIMUM)
    for attempt_id in with_rest:
        async with open_ledger() as ledger:
            if (found := await ledger.lock_attempt(attempt_id)) is not None:
                await return_the_rest(ledger, found[1])
    looked_at = await _look_at_refunds(open_ledger, check_refunds)
    cases, failed = len(with_rest) + looked_at.found + left_to_people, left_to_people + looked_at.unresolved
    return JobOutcome(found=cases, repaired=cases - failed, unresolved=failed)


async def _look_at_refunds(open_ledger: OpenLedger, check_refunds: Callable[[UUID], Awaitable[None]]) -> JobOutcome:
    async def find(skip: int) -> Sequence[UUID]:
        async with open_ledger() as ledger:
            return await ledger.with_unseen_refunds(limit=BATCH, skip=skip)

    async def look(attempt_id: UUID) -> bool:
        try:
            await check_refunds(attempt_id)
        except ProviderError as error:
            _in_vain("refunds", attempt_id, error)
            return False
        return True

    return await work_through(find, look, batch=BATCH)


async def sweep(open_ledger: OpenLedger, provider: Provider, *, adopt: Adopt) -> JobOutcome:
    """Everything that the provider knows of the last 48 hours: finds what webhooks and polls left out.

    What was paid at an order that our books have lost is taken in by `adopt`.
    """
    since, most = await _since(open_ledger, "sweep")
    found = repaired = 0
    failures: list[Exception] = []
    try:
        async for seen in _pages(partial(provider.payments_since, since), most=most):
            found += len(seen)
            async with open_ledger() as ledger:
                news, unknown = await _news_among(ledger, seen)
            for payment in news:
                async with open_ledger() as ledger:
                    await apply_observation(ledger, payment, source="poll")
            repaired += len(news)
            for payment in unknown:
                try:
                    repaired += await adopt(payment)
                except (ProviderError, UpstreamUnavailable) as error:
                    _in_vain("unknown order", payment.order_id, error)
                    failures.append(error)
    except ProviderError as error:
        _in_vain("sweep", since, error)
        failures.append(error)
    if failures and most > MOST_PAGES:
        raise failures[0]
    return JobOutcome(found=found, repaired=repaired, unresolved=len(failures))


async def _since(open_ledger: OpenLedger, job: str) -> tuple[int, int]:
    """Where a sweep begins, as a Unix time, and how many pages it reads at most.

    As far before its last success as it usually looks back: books that rested for a week, or come from a backup of
    last week, miss that week. A sweep that is cut short must not succeed then, or the next would begin too late.
    """
    async with open_ledger() as ledger:
        now, last = await ledger.clock(), await ledger.last_success(job)
    begin = min(now, last or now) - SWEPT
    return int(begin.timestamp()), MOST_AFTER_A_REST if now - begin > SWEPT + REST else MOST_PAGES


async def sweep_refunds(open_ledger: OpenLedger, provider: Provider, *, apply: ApplyRefund) -> JobOutcome:
    """Every refund of the last 48 hours, however old its payment: finds those of the dashboard nobody told us of."""
    since, most = await _since(open_ledger, "refund-sweep")
    found = repaired = 0
    try:
        async for seen in _pages(partial(provider.refunds_since, since), most=most):
            found += len(seen)
            for refund in seen:
                async with open_ledger() as ledger:
                    if await _is_news(ledger, refund):
                        await apply(ledger, refund)
                        repaired += 1
    except ProviderError as error:
        if most > MOST_PAGES:
            raise
        _in_vain("refund sweep", since, error)
        return JobOutcome(found=found, repaired=repaired, unresolved=1)
    return JobOutcome(found=found, repaired=repaired)


async def _is_news(ledger: Ledger, refund: ProviderRefund) -> bool:
    """Whether it is of an attempt of ours that took money, and says more than we know."""
    known = await ledger.refund_named(refund.id)
    if known is None:
        attempt = await ledger.find_attempt(Attempt.id_for(refund.payment_id))
        return attempt is not None and attempt.captured > 0
    is_open = known.status in (RefundStatus.REQUESTED, RefundStatus.SUBMITTED)
    return is_open and refund.status is not RefundWord.PENDING


async def _pages(ask: Callable[..., Awaitable[list[T]]], *, most: int) -> AsyncIterator[list[T]]:
    """Page after page of one of the provider's lists."""
    for page in range(most):
        seen = await ask(skip=page * PAGE)
        yield seen
        if len(seen) < PAGE:
            return


async def _news_among(
    ledger: Ledger, seen: Sequence[ProviderPayment]
) -> tuple[list[ProviderPayment], list[ProviderPayment]]:
    """Those at our orders that say more than we know, and those that took money at orders we do not know."""
    orders, attempts = await ledger.known_among(
        provider_order_ids={payment.order_id for payment in seen},
        provider_payment_ids=[payment.id for payment in seen],
    )

    def is_news(payment: ProviderPayment) -> bool:
        rank, refunded = attempts.get(payment.id, (-1, 0))
        return rank_of(payment) > rank or payment.amount_refunded > refunded

    return (
        [payment for payment in seen if payment.order_id in orders and is_news(payment)],
        [payment for payment in seen if payment.order_id not in orders and took_money(payment)],
    )


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
