"""Publishing an event is writing a row, in the transaction that made it true; the relay carries rows to the bus.

A row is marked only after the bus confirmed it, many at a time. When the outcome is unknown, or the process dies in
between, the row is published again under the same id, and the consumers' inboxes see that they had it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
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
from chassis.plain_sql import driver_connection, end_with, row_of_literals
from chassis.transactions import DRIVER_OUTAGES

if TYPE_CHECKING:
    from chassis.database import Database  # the database module builds on this table

BATCH = 100
IN_FLIGHT = 50
KEPT_DAYS = 7
WATCH_EVERY = 15.0
"""Seconds between two looks at how far the relay is behind."""

WITH_COMMIT = 5
"""Events of one transaction that are sent in the round trip of its commit."""

MARK_AFTER = 0.5
"""Seconds after which events that went out are marked, together; after a crash they go out again."""

RECORDED = "recorded"
"""Key in `session.info`: this transaction's rows of the outbox."""

NEWS = "news"
"""Key in `session.info`: the events among them that are counted after the commit, as they were not told before."""


class Recorded(NamedTuple):
    """An event as the outbox keeps it and the relay needs it."""

    id: UUID
    type: str
    subject: str
    sequence: int
    body: bytes
    required: bool
    correlation_id: str


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

_RECORD = "INSERT INTO outbox (id, type, subject, sequence, body, required, correlation_id) VALUES"


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
    recorded = Recorded(
        envelope.id,
        envelope.type,
        envelope.subject,
        sequence,
        envelope.encode(),
        event.required,
        envelope.correlationid,
    )
    session.info.setdefault(RECORDED, []).append(recorded)
    if not event.was_told_before:
        session.info.setdefault(NEWS, []).append(event)
    return envelope.id


async def write_recorded(session: AsyncSession) -> None:
    """Put this transaction's events into the outbox: a few go with the commit, many before it in one round trip."""
    events: Sequence[Recorded] = session.info.get(RECORDED, ())
    if len(events) > WITH_COMMIT:
        connection = await driver_connection(session)
        await connection.executemany(f"{_RECORD} ($1, $2, $3, $4, $5, $6, $7)", events)
    elif events:
        end_with(session, f"{_RECORD} {', '.join(map(row_of_literals, events))}")


async def republish(session: AsyncSession, *, since: datetime, types: Iterable[str] = ()) -> int:
    """Publish everything again that was published since, for a broker that lost its data. Returns how many."""
    again = OUTBOX.update().where(OUTBOX.c.published_at >= since)
    if types := list(types):
        again = again.where(OUTBOX.c.type.in_(types))
    rows = await session.execute(
        again.values(published_at=None, attempts=0, next_try_at=text("clock_timestamp()")).returning(OUTBOX.c.id)
    )
    session.info.setdefault(RECORDED, [])
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
SELECT id, type, subject, sequence, body, required, correlation_id FROM outbox
WHERE published_at IS NULL AND next_try_at <= clock_timestamp()
ORDER BY position LIMIT $1"""

_MARK = "UPDATE outbox SET published_at = clock_timestamp(), last_error = NULL WHERE id = ANY($1::uuid[])"

_POSTPONE = """
UPDATE outbox SET attempts = attempts + 1, last_error = $2,
    next_try_at = clock_timestamp() + make_interval(secs => least(power(2, least(attempts, 10)), 300))
WHERE id = $1"""

_BEHIND = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM outbox WHERE published_at IS NULL"""


class Relay:
    """Carries one service's outbox to the bus; of several processes, the one with the lock does.

    What this process commits is handed over in memory and goes out at once; the outbox is read for what others
    committed, for what failed, and after a start. `poll` is how often, in seconds.
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
        self._fresh: list[Recorded] = []
        self._seen: set[UUID] = set()
        """Events found by the last look, which may be handed over once more."""
        self._must_look = True
        self._unmarked: list[UUID] = []
        self._mark_at = 0.0
        self._log = telemetry.get_logger()
        metrics = metrics or telemetry.Metrics("relay")
        self._published = metrics.counter("haat_outbox_published_total", "Events the bus confirmed.")
        self._refused = metrics.counter("haat_outbox_refused_total", "Required events nobody was bound to.", ("type",))
        for type_ in types:
            self._refused.labels(type_)
        self._waiting = metrics.gauge("haat_outbox_unpublished_events", "Events waiting for the relay.")
        self._oldest = metrics.gauge("haat_outbox_oldest_age_seconds", "Age of the oldest unpublished event.")

    def wake(self, fresh: Sequence[Recorded] = ()) -> None:
        """Carry these events, which were just committed; when none are handed over, look for them in the table."""
        if self._task is not None:
            self._fresh += fresh
        self._must_look = self._must_look or not fresh
        self._awake.set()

    async def start(self) -> None:
        """Begin to carry events."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self) -> None:
        """Finish the batch under way."""
        self._stopping = True
        self._awake.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def publish_batch(self) -> int:
        """Publish what is due, once. Returns how many events. Raises PublishFailed if any outcome is unknown."""
        await self._mark()
        # What was handed over is committed, so the look finds it.
        self._fresh.clear()
        rows = [Recorded(*row) for row in await self._locks.fetch(_NEXT, BATCH)]
        self._seen = {row.id for row in rows}
        try:
            await self._publish(rows)
        finally:
            await self._mark()
        return len(rows)

    async def _publish_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        await self._publish([event for event in fresh if event.id not in self._seen])

    async def _publish(self, events: Sequence[Recorded]) -> None:
        """Publish each aggregate's events in their order, different aggregates at the same time."""
        groups: dict[str, list[Recorded]] = {}
        for event in events:
            groups.setdefault(event.subject, []).append(event)
        failures = await asyncio.gather(*(self._publish_group(group) for group in groups.values()))
        for failure in failures:
            if failure is not None:
                raise failure

    async def _publish_group(self, events: Sequence[Recorded]) -> PublishFailed | None:
        """One aggregate's events; after a failure the later ones wait for the next look."""
        for event in events:
            headers = {"subject": event.subject, "correlationid": event.correlation_id}
            message = Message(event.type, event.id, event.body, required=event.required, headers=headers)
            try:
                async with self._slots:
                    crash_point("publish.before")
                    with tracing.publishing(message):
                        await self._bus.publish(message)
                    crash_point("publish.after")
            except Unroutable as refusal:
                self._refused.labels(event.type).inc()
                self._log.error("event_unroutable", type=event.type, id=str(event.id), error=str(refusal))
                await self._locks.fetch(_POSTPONE, event.id, str(refusal))
                return None
            except PublishFailed as failure:
                return failure
            self._published.inc()
            if not self._unmarked:
                self._mark_at = asyncio.get_running_loop().time() + MARK_AFTER
            self._unmarked.append(event.id)
        return None

    async def _mark(self) -> None:
        if self._unmarked:
            published, self._unmarked = self._unmarked, []
            await self._locks.fetch(_MARK, published)
            crash_point("publish.marked")

    async def _run(self) -> None:
        failures, next_look, next_watch = 0, 0.0, 0.0
        clock = asyncio.get_running_loop().time
        while not self._stopping:
            self._awake.clear()
            try:
                is_mine = await self._locks.hold("relay")
                if clock() >= next_watch:
                    await self._look_behind(is_mine=is_mine)
                    next_watch = clock() + WATCH_EVERY
                if not is_mine:
                    # Whoever holds it finds in the outbox what was handed over here.
                    self._fresh.clear()
                    self._must_look, next_look = True, clock() + self._poll
                elif self._must_look or clock() >= next_look:
                    self._must_look, next_look = False, clock() + self._poll
                    if await self.publish_batch() == BATCH:
                        self.wake()
                else:
                    await self._publish_fresh()
                    if clock() >= self._mark_at:
                        await self._mark()
                failures = 0
            except Exception as error:  # noqa: BLE001 - neither database nor broker may end the relay for good
                failures += 1
                self._must_look, next_look = True, clock() + min(5.0, 0.1 * 2 ** min(failures, 6))
                self._log.warning("relay_failed", error=repr(error), again_in=next_look - clock())
            await self._sleep(min(next_look, self._mark_at if self._unmarked else next_look), wakeable=failures == 0)
        with suppress(asyncpg.PostgresError, *DRIVER_OUTAGES):
            await self._mark()

    async def _sleep(self, deadline: float, *, wakeable: bool) -> None:
        """Wait for work; while database or broker are down, new events do not shorten the wait."""
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
        """Show how many events wait, and how long. While another process has the relay's lock, this one shows none."""
        waiting, oldest = (await self._locks.fetch(_BEHIND))[0] if is_mine else (0, 0.0)
        self._waiting.set(waiting)
        self._oldest.set(oldest)
