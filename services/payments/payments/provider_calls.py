"""What was asked of the provider and how that ended, kept for whoever follows an order through the shop.

A call is noted in memory and written behind the answer, several together: no request waits for its record, and a
process that dies loses the records of its last half second, never what they tell of.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import text

from chassis import telemetry, tracing
from chassis.database import Database
from chassis.ids import new_id
from chassis.jobs import JobOutcome
from chassis.plain_sql import driver_connection
from payments.provider import (
    OrderLabels,
    OutcomeUnknown,
    Provider,
    ProviderError,
    ProviderPayment,
    ProviderRefund,
    ProviderRefused,
    ProviderUnreachable,
    UnknownToProvider,
)

TOGETHER = 0.5
"""Seconds in which calls gather before they are written."""
LONGEST_PAUSE = 30.0
LAST_TRY = 1.0
"""Seconds that a process which ends gives its last records."""
MOST_WAITING = 2000
"""Records kept while the database is away; older ones are given up."""
KEPT_DAYS = 30

_OUTCOMES = {
    ProviderRefused: "refused",
    UnknownToProvider: "refused",
    ProviderUnreachable: "unreachable",
    OutcomeUnknown: "unknown",
}

_WRITE = """
INSERT INTO provider_calls (id, call, about, outcome, error, seconds, job, request_id, at)
SELECT id, call, about, outcome, error, seconds, job, request_id, clock_timestamp() - make_interval(secs => age)
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::text[], $9::float8[]
) AS made (id, call, about, outcome, error, seconds, job, request_id, age)"""

_FORGET = """
DELETE FROM provider_calls WHERE id IN (
    SELECT id FROM provider_calls WHERE at < clock_timestamp() - make_interval(days => :days) ORDER BY id LIMIT 1000
) RETURNING 1"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Made:
    """One call, as it ended."""

    call: str
    about: str
    outcome: str
    error: str | None
    began: float
    seconds: float
    job: str | None
    request_id: str | None


class RecordedProvider:
    """Implements `Provider` by handing every call on to another one, and keeps what was asked and answered."""

    def __init__(self, provider: Provider, database: Database) -> None:
        self._provider = provider
        self._database = database
        self._made: deque[_Made] = deque(maxlen=MOST_WAITING)
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self.on_call: Callable[[str, str, float], None] = lambda _call, _outcome, _seconds: None
        """Told of each call with its outcome and how long it took."""

    async def create_order(self, *, receipt: str, amount: int, currency: str, notes: dict[str, str]) -> str:
        """About our receipt."""
        asked = self._provider.create_order(receipt=receipt, amount=amount, currency=currency, notes=notes)
        return await self._noted("create_order", receipt, asked)

    async def orders_of(self, receipt: str) -> list[str]:
        """About our receipt."""
        return await self._noted("orders_of", receipt, self._provider.orders_of(receipt))

    async def labels_of(self, order_id: str) -> OrderLabels:
        """About the provider's order."""
        return await self._noted("labels_of", order_id, self._provider.labels_of(order_id))

    async def payments_of(self, order_id: str) -> list[ProviderPayment]:
        """About the provider's order."""
        return await self._noted("payments_of", order_id, self._provider.payments_of(order_id))

    async def payment(self, payment_id: str) -> ProviderPayment:
        """About an attempt."""
        return await self._noted("payment", payment_id, self._provider.payment(payment_id))

    async def payments_since(self, since: int, *, skip: int) -> list[ProviderPayment]:
        """About nobody in particular, so it is not kept."""
        return await self._provider.payments_since(since, skip=skip)

    async def capture(self, payment_id: str, *, amount: int, currency: str) -> ProviderPayment:
        """About an attempt."""
        asked = self._provider.capture(payment_id, amount=amount, currency=currency)
        return await self._noted("capture", payment_id, asked)

    async def refund(self, payment_id: str, *, key: str, body: str) -> ProviderRefund:
        """About an attempt."""
        return await self._noted("refund", payment_id, self._provider.refund(payment_id, key=key, body=body))

    async def refunds_of(self, payment_id: str) -> list[ProviderRefund]:
        """About an attempt."""
        return await self._noted("refunds_of", payment_id, self._provider.refunds_of(payment_id))

    async def refunds_since(self, since: int, *, skip: int) -> list[ProviderRefund]:
        """About nobody in particular, so it is not kept."""
        return await self._provider.refunds_since(since, skip=skip)

    def proves_handshake(self, *, order_id: str, payment_id: str, signature: str) -> bool:
        """Calls nobody."""
        return self._provider.proves_handshake(order_id=order_id, payment_id=payment_id, signature=signature)

    async def close(self) -> None:
        """Write what is not written yet, then let go."""
        await self.settle()
        await self._provider.close()

    async def settle(self) -> None:
        """Write what is not written yet, unless the database is away."""
        self._hurry.set()
        if self._made and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_soon())
        if self._writing is not None:
            _, unfinished = await asyncio.wait({self._writing}, timeout=LAST_TRY)
            for writing in unfinished:
                writing.cancel()

    async def _noted(self, call: str, about: str, asked: Awaitable[T]) -> T:
        began = time.monotonic()
        outcome, error = "answered", None
        try:
            with tracing.start(f"razorpay {call}", "client", server__address="razorpay"):
                return await asked
        except ProviderError as failure:
            outcome, error = _OUTCOMES[type(failure)], str(failure)[:200]
            raise
        except asyncio.CancelledError:
            outcome, error = "unknown", "nobody waited for the answer"
            raise
        finally:
            self.on_call(call, outcome, time.monotonic() - began)
            self._made.append(
                _Made(
                    call,
                    about,
                    outcome,
                    error,
                    began,
                    time.monotonic() - began,
                    telemetry.job_name.get() or None,
                    telemetry.request_id.get() or None,
                )
            )
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write_soon())

    async def _write_soon(self) -> None:
        """Several calls in one statement: this pause gathers them, nothing waits for it."""
        pause = TOGETHER
        while self._made:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            self._hurry.clear()
            pause = TOGETHER if await self._write() else min(2 * pause, LONGEST_PAUSE)

    async def _write(self) -> bool:
        made = list(self._made)
        if not made:
            return True
        self._made.clear()
        now = time.monotonic()
        columns = [
            [new_id() for _ in made],
            [each.call for each in made],
            [each.about for each in made],
            [each.outcome for each in made],
            [each.error for each in made],
            [each.seconds for each in made],
            [each.job for each in made],
            [each.request_id for each in made],
            [now - each.began for each in made],
        ]
        try:
            async with self._database.transaction() as session:
                connection = await driver_connection(session)
                await connection.execute(_WRITE, *columns)
        except Exception as error:  # noqa: BLE001 - a record is never worth a failure; it is tried again with the next
            telemetry.get_logger().warning("provider calls not recorded", waiting=len(made), error=repr(error))
            self._made = deque([*made, *self._made], maxlen=MOST_WAITING)
            return False
        return True


async def forget_old_calls(database: Database) -> JobOutcome:
    """Records older than KEPT_DAYS go, in small batches."""
    deleted = 0
    while True:
        async with database.transaction() as session:
            batch = len((await session.execute(text(_FORGET), {"days": KEPT_DAYS})).all())
        deleted += batch
        if batch < 1000:
            return JobOutcome(found=deleted)
