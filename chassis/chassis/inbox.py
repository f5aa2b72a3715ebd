"""Applying an event exactly once: its id and its effect are written in one transaction.

The bus delivers at least once; a second delivery finds the id in the inbox and changes nothing.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import ValidationError
from sqlalchemy import Column, DateTime, Index, MetaData, Table, Text, Uuid, text

from chassis import telemetry, tracing
from chassis.events import Bus, Envelope, NotYet, Poison, Reader, Subscription, Unavailable
from chassis.jobs import Job, JobOutcome
from chassis.plain_sql import begin_with, row_of_literals

if TYPE_CHECKING:
    from chassis.database import Database  # the database module builds on this table

AT_ONCE = 4
"""Handlers with a transaction at the same time: fewer than the pool keeps open, so that a burst of events neither
opens connections to close them again nor leaves none for requests."""

KEPT_DAYS = 30
"""Longer than any redelivery or replay."""

_TRIES = 3
"""Transactions per delivery when others change the same rows at the same time, or the connection breaks."""


def inbox_table(metadata: MetaData) -> Table:
    """The events that were applied."""
    if "inbox" in metadata.tables:
        return metadata.tables["inbox"]
    table = Table(
        "inbox",
        metadata,
        Column("event_id", Uuid, primary_key=True),
        Column("consumer", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("received_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
        postgresql_with={"autovacuum_vacuum_scale_factor": "0.01"},
    )
    Index("ix_inbox_received_at", table.c.received_at)
    return table


INBOX = inbox_table(MetaData())

_RECEIVE = "INSERT INTO inbox (event_id, consumer, type) VALUES {} ON CONFLICT DO NOTHING"


class Inbox:
    """What a service does with the events it subscribed to."""

    def __init__(
        self,
        database: "Database",
        subscriptions: Iterable[Subscription],
        *,
        consumer: str,
        metrics: telemetry.Metrics | None = None,
    ) -> None:
        self._database = database
        self._subscriptions = {subscription.type: subscription for subscription in subscriptions}
        self._consumer = consumer
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._log = telemetry.get_logger()
        metrics = metrics or telemetry.Metrics(consumer)
        self._handled = metrics.counter(
            "haat_events_handled_total", "Events by what came of them.", ("type", "outcome")
        )
        self._lag = metrics.histogram("haat_event_lag_seconds", "From an event's time to its commit here.", ("type",))

    @property
    def types(self) -> tuple[str, ...]:
        """What to bind the consumer's queue to."""
        return tuple(self._subscriptions)

    async def handle(self, body: bytes, attempt: int) -> None:
        """Apply one message. Raises Poison, Unavailable, NotYet, or whatever else makes the bus try again."""
        envelope, subscription, reader = self._read(body)
        telemetry.service_name.set(self._consumer)
        telemetry.correlation_id.set(envelope.correlationid)
        telemetry.causation_id.set(str(envelope.id))
        telemetry.traceparent.set(envelope.traceparent or "")
        with tracing.processing(envelope, attempt):
            await self._handle(envelope, subscription, reader, attempt=attempt)

    async def _handle(self, envelope: Envelope, subscription: Subscription, reader: Reader, *, attempt: int) -> None:
        try:
            async with self._turns:
                applied = await self._apply_at_last(envelope, subscription, reader)
        except NotYet:
            self._handled.labels(envelope.type, "not_yet").inc()
            raise
        except Exception as error:
            self._handled.labels(envelope.type, "failed").inc()
            if await self._is_down(error):
                raise Unavailable(f"The database is away: {error!r}") from error
            self._log.warning("event_failed", type=envelope.type, id=str(envelope.id), attempt=attempt, exc_info=error)
            raise
        self._handled.labels(envelope.type, "applied" if applied else "repeated").inc()
        self._lag.labels(envelope.type).observe(max(0.0, time.time() - envelope.time.timestamp()))

    def _read(self, body: bytes) -> tuple[Envelope, Subscription, Reader]:
        envelope = Envelope.decode(body)
        subscription = self._subscriptions.get(envelope.type)
        if subscription is None:
            # During an update a newer release beside this one may have asked for it: it gets the next attempt.
            raise NotYet(f"{self._consumer} knows no event of type {envelope.type[:100]!r}.")
        try:
            return envelope, subscription, subscription.reader.model_validate(envelope.data)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            raise Poison(f"The data is not what {envelope.type} promises: {problems}") from error

    async def _apply_at_last(self, envelope: Envelope, subscription: Subscription, reader: Reader) -> bool:
        from chassis.database import is_contention, is_outage  # it builds on this module

        for remaining in reversed(range(_TRIES)):
            try:
                return await self._apply(envelope, subscription, reader)
            except Exception as error:
                # A connection that broke says nothing about the next one, and the ladder of retries is slow.
                if not (remaining and (is_contention(error) or is_outage(error))):
                    raise
        raise AssertionError("The last try returns or raises.")

    async def _apply(self, envelope: Envelope, subscription: Subscription, reader: Reader) -> bool:
        """Apply the event unless it was; whether it was applied now."""
        async with self._database.transaction() as session:
            received = row_of_literals((envelope.id, self._consumer, envelope.type))
            if await begin_with(session, _RECEIVE.format(received)) == "INSERT 0 0":
                return False
            await subscription.handler(session, reader)
        return True

    async def _is_down(self, error: Exception) -> bool:
        """Whether the database is really away: a handler's own time-out must not stop the queue for ever."""
        from chassis.database import is_outage  # it builds on this module

        return is_outage(error) and not await self._database.is_reachable()


async def delete_received(database: "Database") -> JobOutcome:
    """Forget events received more than KEPT_DAYS ago, in small batches."""
    deleted = 0
    while True:
        async with database.transaction() as session:
            rows = await session.execute(text(_DELETE), {"days": KEPT_DAYS})
            batch = len(rows.all())
        deleted += batch
        if batch < 1000:
            return JobOutcome(found=deleted)


INBOX_CLEANUP = Job(name="inbox-cleanup", every=3600, run=delete_received)

_DELETE = """
DELETE FROM inbox WHERE event_id IN (
    SELECT event_id FROM inbox WHERE received_at < clock_timestamp() - make_interval(days => :days) LIMIT 1000
) RETURNING 1"""


def parked_alarm(bus: Bus, consumer: str) -> Job:
    """A job that finds how many messages wait for the consumer; `unresolved` are those it gave up on."""

    async def count(_database: "Database") -> JobOutcome:
        return JobOutcome(found=await bus.waiting(consumer), unresolved=await bus.parked(consumer).count())

    return Job(name="parked-messages", every=15, run=count)
