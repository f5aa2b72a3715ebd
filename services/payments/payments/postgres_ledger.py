"""The books of payments in PostgreSQL, one statement after the other on the driver's connection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database
from chassis.events import Event
from chassis.outbox import record
from payments.attempt_rows import AttemptRows
from payments.ledger import Ledger, OpenLedger
from payments.models import Payment
from payments.payment_rows import PaymentRows
from payments.refund_rows import RefundRows

_LAST_SUCCESS = "SELECT succeeded_at FROM job_runs WHERE job = $1"


class PostgresLedger(PaymentRows, AttemptRows, RefundRows):
    """Implements `Ledger` in a session's transaction."""

    async def clock(self) -> datetime:
        """The database's clock at this moment, not at the transaction's start."""
        now: datetime = await (await self.connection()).fetchval("SELECT clock_timestamp()")
        return now

    async def last_success(self, job: str) -> datetime | None:
        """By its key."""
        found: datetime | None = await (await self.connection()).fetchval(_LAST_SUCCESS, job)
        return found

    async def record(self, event: Event, payment: Payment) -> None:
        """A row of the outbox."""
        await record(self.session, event, subject=payment.id, sequence=payment.version, correlation_id=payment.order_id)


def ledger_of(database: Database) -> OpenLedger:
    """Opens a transaction of the database."""

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Ledger]:
        async with database.transaction() as session:
            yield PostgresLedger(session)

    return transaction


def one_step_of(database: Database) -> OpenLedger:
    """Opens a transaction that is one statement, which needs no round trips to begin and to commit it."""

    @asynccontextmanager
    async def statement() -> AsyncIterator[Ledger]:
        async with database.one_statement() as session:
            yield PostgresLedger(session)

    return statement


def in_ledger(process: Callable[[Ledger, Any], Awaitable[None]]) -> Callable[[AsyncSession, Any], Awaitable[None]]:
    """A process as inbox and webhooks call it: with the session whose transaction they have opened."""

    async def run(session: AsyncSession, told: Any) -> None:
        await process(PostgresLedger(session), told)

    return run
