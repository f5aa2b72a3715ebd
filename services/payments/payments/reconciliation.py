"""Asking the provider about everything that should have come by itself.

Each function is one job's work: it finds what is due by the database's clock, moves the next look ahead before it
asks, so that a crash or a second worker asks no more often than planned, and handles one case after the other.
A case that fails waits for its next turn and does not hold up the others.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from sqlalchemy import Row, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from chassis.clients import UpstreamUnavailable
from chassis.database import Database, db_now
from chassis.jobs import JobOutcome
from chassis.telemetry import get_logger
from payments.attempts import apply_observation, locked_payment, return_the_rest
from payments.models import Attempt, Payment, PaymentStatus, Rank, Refund, RefundStatus
from payments.provider import Provider, ProviderError

BATCH = 20

Ask = Callable[[UUID], Awaitable[int]]
LookUp = Callable[[UUID, str], Awaitable[bool]]
Close = Callable[[UUID], Awaitable[bool]]


def _seconds(seconds: float) -> ColumnElement[object]:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


async def _take(
    database: Database, condition: ColumnElement[bool], *, again_in: float
) -> Sequence[Row[UUID, str, PaymentStatus]]:
    """Payments whose look is due; their next one is set first."""
    async with database.transaction() as session:
        chosen = (
            select(Payment.id)
            .where(condition, Payment.next_ask_at <= db_now())
            .order_by(Payment.next_ask_at)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        taken = await session.execute(
            update(Payment)
            .where(Payment.id.in_(chosen))
            .values(next_ask_at=db_now() + _seconds(again_in))
            .returning(Payment.id, Payment.receipt, Payment.status)
            .execution_options(synchronize_session=False)
        )
        return taken.all()


async def resolve_creations(database: Database, *, look_up: LookUp) -> JobOutcome:
    """CREATING whose lease is over: the answer was lost; our receipt tells whether the order was made."""
    condition = (Payment.status == PaymentStatus.CREATING) & (Payment.lease_until < db_now())
    found = await _take(database, condition, again_in=30)
    repaired = 0
    for payment_id, receipt, _status in found:
        try:
            repaired += await look_up(payment_id, receipt)
        except ProviderError as error:
            _later("creation", payment_id, error)
    return JobOutcome(found=len(found), repaired=repaired, unresolved=len(found) - repaired)


async def ask_about_closing(database: Database, *, ask: Ask, close: Close) -> JobOutcome:
    """CLOSING: ask, then close if nothing came. Orders is waiting for this word."""
    found = await _take(database, Payment.status == PaymentStatus.CLOSING, again_in=15)
    repaired = 0
    for payment_id, _receipt, _status in found:
        try:
            await ask(payment_id)
            repaired += await close(payment_id)
        except (ProviderError, UpstreamUnavailable) as error:
            _later("closing", payment_id, error)
    return JobOutcome(found=len(found), repaired=repaired, unresolved=len(found) - repaired)


async def ask_about_open(database: Database, *, ask: Ask) -> JobOutcome:
    """OPEN without news for three minutes: a webhook may have been lost."""
    found = await _take(database, Payment.status == PaymentStatus.OPEN, again_in=180)
    for payment_id, _receipt, _status in found:
        try:
            await ask(payment_id)
        except ProviderError as error:
            _later("open", payment_id, error)
    return JobOutcome(found=len(found))


async def capture_authorised(database: Database, provider: Provider) -> JobOutcome:
    """Authorised for two minutes and not captured: take the money while the payment is OPEN, else let it lapse."""
    async with database.transaction() as session:
        rows = await session.execute(
            select(Attempt.provider_payment_id, Attempt.amount, Attempt.currency)
            .join(Payment, Payment.id == Attempt.payment_id)
            .where(
                Payment.status == PaymentStatus.OPEN,
                Attempt.rank == Rank.AUTHORIZED,
                Attempt.changed_at < db_now() - _seconds(120),
            )
            .limit(BATCH)
        )
        waiting = rows.all()
    repaired = 0
    for provider_payment_id, amount, currency in waiting:
        try:
            seen = await provider.payment(provider_payment_id)
            if seen.status == "authorized":
                seen = await provider.capture(provider_payment_id, amount=amount, currency=currency)
            async with database.transaction() as session:
                await apply_observation(session, seen, source="poll")
            repaired += 1
        except ProviderError as error:
            _later("capture", provider_payment_id, error)
    return JobOutcome(found=len(waiting), repaired=repaired, unresolved=len(waiting) - repaired)


async def return_what_is_left(database: Database, *, check_refunds: Callable[[UUID], Awaitable[None]]) -> JobOutcome:
    """Attempts to return with a rest, and attempts of which the provider gave back more than we know of."""
    async with database.transaction() as session:
        refunded = (
            select(func.coalesce(func.sum(Refund.amount), 0))
            .where(Refund.attempt_id == Attempt.id, Refund.status != RefundStatus.FAILED)
            .scalar_subquery()
        )
        rest = select(Attempt.id, Attempt.payment_id).where(Attempt.to_return.is_not(None), Attempt.captured > refunded)
        unknown = select(Attempt.id).where(Attempt.captured > 0, Attempt.refunds_seen > Attempt.refunds_checked)
        with_rest = (await session.execute(rest.limit(BATCH))).all()
        with_unknown = list(await session.scalars(unknown.limit(BATCH)))
    for attempt_id, payment_id in with_rest:
        async with database.transaction() as session:
            await locked_payment(session, payment_id)
            attempt = (await session.scalars(select(Attempt).where(Attempt.id == attempt_id))).one()
            await return_the_rest(session, attempt)
    failed = 0
    for attempt_id in with_unknown:
        try:
            await check_refunds(attempt_id)
        except ProviderError as error:
            failed += 1
            _later("refunds", attempt_id, error)
    found = len(with_rest) + len(with_unknown)
    return JobOutcome(found=found, repaired=found - failed, unresolved=failed)


def _later(what: str, subject: object, error: Exception) -> None:
    get_logger().warning("provider asked in vain", about=what, subject=str(subject), error=str(error))
