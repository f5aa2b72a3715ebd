"""Publishing an event is writing a row, in the transaction that made it true; the relay carries rows to the bus.

A row is marked only after the bus confirmed it. When the outcome is unknown, or the process dies in between, the row
is published again under the same id, and the consumers' inboxes see that they had it.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import telemetry, tracing
from chassis.crash_points import crash_point
from chassis.events import Bus, Envelope, Event, Message, PublishFailed, Unroutable
from chassis.ids import new_id
from chassis.jobs import Job, JobOutcome
from chassis.locks import LockConnection
from chassis.plain_sql import driver_connection

if TYPE_CHECKING:
    from chassis.database import Database  # the database module builds on this table

BATCH = 100
IN_FLIGHT = 50
KEPT_DAYS = 7
WATCH_EVERY = 15.0
"""Seconds between two looks at how far the relay is behind."""

EVENTS_RECORDED = "events_recorded"
"""Key in `session.info`: the events that are counted, and the relay woken for, after this transaction's commit."""


def outbox_table(metadata: MetaData) -> Table:
    """Events in the order they were written; unpublished ones are found by a partial index."""
    if "outbox" in metadata.tables:
        return metadata.tables["outbox"]
    now = text("clock_timestamp()")
    table = Table(
        "outbox",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("position", BigInteger, Identity(always=True), nullable=False),
        Column("type", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("required", Boolean, nullable=False),
        Column("correlation_id", Text, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=now),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("next_try_at", DateTime(timezone=True), nullable=False, server_default=now),
        Column("published_at", DateTime(timezone=True)),
        Column("last_error", Text),
        # Small tables with much turnover: the default share of dead rows comes too late for the relay's query.
        postgresql_with={"autovacuum_vacuum_scale_factor": "0.01"},
    )
    Index("ix_outbox_correlation_id", table.c.correlation_id)
    Index("ix_outbox_unpublished", table.c.position, postgresql_where=table.c.published_at.is_(None))
    Index("ix_outbox_published_at", table.c.published_at, postgresql_where=table.c.published_at.is_not(None))
    return table


OUTBOX = outbox_table(MetaData())

_RECORD = """
INSERT INTO outbox (id, type, subject, sequence, body, required, correlation_id) VALUES ($1, $2, $3, $4, $5, $6, $7)"""


async def record(
    session: AsyncSession,
    event: Event,
    *,
    subject: UUID | str,
    sequence: int,
    correlation_id: UUID | str | None = None,
) -> UUID:
    """Publish an event, if and when this transaction commits; the event's id.

    `subject` is the aggregate, `sequence` its version. The correlation is that of the request or message under way.
    """
    envelope = Envelope(
        id=new_id(),
        source=f"/services/{telemetry.service_name.get() or 'unnamed'}",
        type=event.type,
        subject=str(subject),
        time=datetime.now(UTC),
        sequence=sequence,
        data=event.model_dump(mode="json"),
        correlationid=str(correlation_id or telemetry.correlation_id.get() or subject),
        causationid=telemetry.causation_id.get() or None,
        traceparent=telemetry.traceparent.get() or None,
    )
    connection = await driver_connection(session)
    await connection.execute(
        _RECORD,
        envelope.id,
        envelope.type,
        envelope.subject,
        sequence,
        envelope.encode(),
        event.required,
        envelope.correlationid,
    )
    recorded: list[Event] = session.info.setdefault(EVENTS_RECORDED, [])
    if not event.was_told_before:
        recorded.append(event)
    return envelope.id


async def republish(session: AsyncSession, *, since: datetime, types: Iterable[str] = ()) -> int:
    """Publish everything again that was published since, for a broker that lost its data; how many events."""
    again = OUTBOX.update().where(OUTBOX.c.published_at >= since)
    if types := list(types):
        again = again.where(OUTBOX.c.type.in_(types))
    rows = await session.execute(
        again.values(published_at=None, attempts=0, next_try_at=text("clock_timestamp()")).returning(OUTBOX.c.id)
    )
    session.info.setdefault(EVENTS_RECORDED, [])
    return len(rows.all())


async def delete_published(database: "Database") -> JobOutcome:
    """Forget events published more than KEPT_DAYS ago, in small batches that hold no lock for long."""
    deleted = 0
    while True:
        async with database.transaction() as session:
            rows = await session.execute(text(_DELETE), {"days": KEPT_DAYS})
            batch = len(rows.all())
        deleted += batch
        if batch < 1000:
            return JobOutcome(found=deleted)


OUTBOX_CLEANUP = Job(name="outbox-cleanup", every=3600, run=delete_published)

_DELETE = """
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE published_at < clock_timestamp() - make_interval(days => :days) LIMIT 1000
) RETURNING 1"""

_NEXT = """
SELECT id, type, subject, body, required, correlation_id FROM outbox
WHERE published_at IS NULL AND next_try_at <= clock_timestamp()
ORDER BY position LIMIT $1"""

_MARK = "UPDATE outbox SET published_at = clock_timestamp(), last_error = NULL WHERE id = ANY($1::uuid[])"

_POSTPONE = """
UPDATE outbox SET attempts = attempts + 1, last_error = refused.error,
    next_try_at = clock_timestamp() + make_interval(secs => least(power(2, least(attempts, 10)), 300))
FROM unnest($1::uuid[], $2::text[]) AS refused (id, error) WHERE outbox.id = refused.id"""

_BEHIND = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM outbox WHERE published_at IS NULL"""


@dataclass(slots=True)
class _Results:
    """What became of one batch."""

    published: list[UUID] = field(default_factory=list)
    refused: dict[UUID, str] = field(default_factory=dict)
    unknown: str | None = None


class Relay:
    """Carries one service's outbox to the bus; of several processes, the one with the lock does.

    Woken after each commit in its own process; `poll` is the floor for events recorded in others.
    """

    def __init__(
        self,
        locks: LockConnection,
        bus: Bus,
        *,
        poll: float = 0.2,
        metrics: telemetry.Metrics | None = None,
        types: Iterable[str] = (),
    ) -> None:
        self._locks = locks
        self._bus = bus
        self._poll = poll
        self._awake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._log = telemetry.get_logger()
        metrics = metrics or telemetry.Metrics("relay")
        self._published = metrics.counter("haat_outbox_published_total", "Events the bus confirmed.")
        self._refused = metrics.counter("haat_outbox_refused_total", "Required events nobody was bound to.", ("type",))
        for type_ in types:
            self._refused.labels(type_)
        self._waiting = metrics.gauge("haat_outbox_unpublished_events", "Events waiting for the relay.")
        self._oldest = metrics.gauge("haat_outbox_oldest_age_seconds", "Age of the oldest unpublished event.")

    def wake(self) -> None:
        """Look now: events were committed."""
        self._awake.set()

    async def start(self) -> None:
        """Begin to carry events."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self) -> None:
        """Finish the batch under way."""
        self._stopping = True
        self.wake()
        if self._task is not None:
            await self._task
            self._task = None

    async def publish_batch(self) -> int:
        """Publish what is due, once; how many events that were. Raises PublishFailed if any outcome is unknown."""
        rows = await self._locks.fetch(_NEXT, BATCH)
        if not rows:
            return 0
        results = _Results()
        by_subject = groupby(sorted(rows, key=lambda row: str(row["subject"])), key=lambda row: str(row["subject"]))
        await asyncio.gather(*(self._publish_subject(list(group), results) for _, group in by_subject))
        if results.published:
            await self._locks.fetch(_MARK, results.published)
            crash_point("publish.marked")
            self._published.inc(len(results.published))
        if results.refused:
            await self._locks.fetch(_POSTPONE, list(results.refused), list(results.refused.values()))
        if results.unknown is not None:
            raise PublishFailed(results.unknown)
        return len(rows)

    async def _publish_subject(self, rows: list[asyncpg.Record], results: _Results) -> None:
        """One aggregate's events, in their order; after a failure the later ones wait for the next batch."""
        for row in rows:
            headers = {"subject": row["subject"], "correlationid": row["correlation_id"]}
            message = Message(row["type"], row["id"], row["body"], required=row["required"], headers=headers)
            try:
                async with self._slots:
                    crash_point("publish.before")
                    with tracing.publishing(message):
                        await self._bus.publish(message)
                    crash_point("publish.after")
            except Unroutable as refusal:
                self._refused.labels(row["type"]).inc()
                self._log.error("event_unroutable", type=row["type"], id=str(row["id"]), error=str(refusal))
                results.refused[row["id"]] = str(refusal)
                return
            except PublishFailed as failure:
                results.unknown = str(failure)
                return
            results.published.append(row["id"])

    async def _run(self) -> None:
        failures, next_look = 0, 0.0
        clock = asyncio.get_running_loop().time
        while not self._stopping:
            self._awake.clear()
            pause = self._poll
            try:
                is_mine = await self._locks.hold("relay")
                if clock() >= next_look:
                    await self._look_behind(is_mine=is_mine)
                    next_look = clock() + WATCH_EVERY
                if is_mine and await self.publish_batch() == BATCH:
                    self.wake()
                failures = 0
            except Exception as error:  # noqa: BLE001 - neither database nor broker may end the relay for good
                failures += 1
                pause = min(5.0, 0.1 * 2 ** min(failures, 6))
                self._log.warning("relay_failed", error=repr(error), again_in=pause)
            await self._sleep(pause, wakeable=failures == 0)

    async def _sleep(self, pause: float, *, wakeable: bool) -> None:
        """Wait for work; while database or broker are down, new events do not shorten the wait."""
        deadline = asyncio.get_running_loop().time() + pause
        while not self._stopping:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._awake.wait()
            except TimeoutError:
                return
            if wakeable:
                return
            self._awake.clear()

    async def _look_behind(self, *, is_mine: bool) -> None:
        """Tell how much waits; a process whose relay rests says nothing, also when it once did."""
        waiting, oldest = (await self._locks.fetch(_BEHIND))[0] if is_mine else (0, 0.0)
        self._waiting.set(waiting)
        self._oldest.set(oldest)
