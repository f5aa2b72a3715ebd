"""Queues as rows of a database: the memory of the in-process bus.

Everything that is asked for while one commit is under way shares the next one, so a busy bus pays for few commits.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from chassis.events import Message, NotParked, Park, ParkedMessage, PublishFailed, Retry
from chassis.telemetry import get_logger

FETCH = 500
"""Waiting messages read at a time."""

SCHEMA = (
    """
    CREATE TABLE bindings (queue text, type text, PRIMARY KEY (queue, type));
    CREATE TABLE messages (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        queue text NOT NULL,
        id uuid NOT NULL,
        type text NOT NULL,
        body bytea NOT NULL,
        attempt integer NOT NULL DEFAULT 1,
        due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        parked_at timestamptz,
        error text
    ) WITH (autovacuum_vacuum_scale_factor = 0.01);
    CREATE INDEX messages_due ON messages (queue, due_at, position) WHERE parked_at IS NULL;
    CREATE INDEX messages_parked ON messages (queue, position) WHERE parked_at IS NOT NULL;
    """,
)
"""Every version's changes; a database is brought from its own to the last."""

_WRITE = """
WITH handled AS (DELETE FROM messages WHERE position = ANY($1::bigint[])),
put_off AS (
    UPDATE messages SET error = later.error, attempt = attempt + (later.delay IS NOT NULL)::int,
        due_at = clock_timestamp() + make_interval(secs => coalesce(later.delay, 0)),
        parked_at = CASE WHEN later.delay IS NULL THEN clock_timestamp() END
    FROM unnest($2::bigint[], $3::float8[], $4::text[]) AS later (position, delay, error)
    WHERE messages.position = later.position
)
INSERT INTO messages (queue, id, type, body)
SELECT * FROM unnest($5::text[], $6::uuid[], $7::text[], $8::bytea[]) RETURNING position"""

_WAITING = """
SELECT position, body, attempt, extract(epoch FROM due_at - clock_timestamp())::float8 AS delay
FROM messages WHERE queue = $1 AND parked_at IS NULL AND position <> ALL($2::bigint[])
ORDER BY due_at, position LIMIT $3"""


_BIND = "INSERT INTO bindings SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING"
_UNBIND = "DELETE FROM bindings WHERE queue = $1 AND type <> ALL($2::text[])"


class Delivery:
    """A message on its way to a handler, with its row's position, or handed over before it has one.

    Without a row, publisher and consumer agree here whether it needs one: not when it was handled before the publisher
    stopped waiting.
    """

    __slots__ = ("attempt", "body", "decided", "needs_row", "row")

    def __init__(self, body: bytes, *, attempt: int = 1, position: int | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.body = body
        self.attempt = attempt
        self.needs_row = position is not None
        self.decided: asyncio.Future[bool] = loop.create_future()
        """Whether the handler took it."""
        self.row: asyncio.Future[int | None] = loop.create_future()
        """The position; None when there will be none."""
        if position is not None:
            self.row.set_result(position)

    def stop_waiting(self) -> bool:
        """The publisher waits for the handler no longer. Returns whether it must write a row."""
        self.needs_row = not (self.decided.done() and self.decided.result())
        return self.needs_row

    async def end(self, *, is_handled: bool) -> int | None:
        """The handler has returned. The answer is the position of the row to settle, if there is one."""
        if not self.decided.done():
            self.decided.set_result(is_handled)
        return await self.row if self.needs_row or not is_handled else None


@dataclass(slots=True, eq=False)
class _Publish:
    queues: Sequence[str]
    message: Message
    committed: asyncio.Future[Sequence[int]]


@dataclass(slots=True, eq=False)
class _Settle:
    position: int
    later: Retry | Park | None
    committed: asyncio.Future[None]


class QueueStore:
    """Writes and reads messages; tells `on_doubt` when some may be there that nobody was told of."""

    def __init__(
        self,
        url: str,
        *,
        pause: float,
        on_doubt: Callable[[], None],
    ) -> None:
        self._url = url
        self._pause = pause
        self._on_doubt = on_doubt
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._publishes: list[_Publish] = []
        self._settles: list[_Settle] = []
        self._asked = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        """The database."""
        if self._pool is None:
            raise PublishFailed("The bus has not started.")
        return self._pool

    def is_running(self) -> bool:
        """Whether writes are taken."""
        return self._writer is not None and not self._writer.done()

    async def start(self) -> None:
        """Open the database and bring its tables to the present version."""
        self._pool = await asyncpg.create_pool(
            self._url, min_size=0, max_size=4, timeout=3, command_timeout=5, reset=_keep_session_state
        )
        async with self.pool.acquire() as connection, connection.transaction():
            await _migrate(connection)
        self._writer = asyncio.create_task(self._write_for_ever(), name="bus writer")

    async def stop(self) -> None:
        """Take no more writes; those not committed have failed."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        for publish in self._publishes:
            _fail(publish, "The bus has stopped.")
        if self._pool is not None:
            await self._pool.close()

    async def bindings(self) -> list[tuple[str, str]]:
        """Every queue with each type that it gets."""
        return [(row[0], row[1]) for row in await self.pool.fetch("SELECT queue, type FROM bindings")]

    async def bind(self, queue: str, types: Sequence[str]) -> None:
        """The queue gets exactly these types from now on."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(_UNBIND, queue, types)
            await connection.execute(_BIND, queue, types)

    async def waiting(self, queue: str, *, besides: Sequence[int]) -> list[tuple[float, Delivery]]:
        """Up to FETCH messages by the time they are due, each with the seconds until then."""
        rows = await self.pool.fetch(_WAITING, queue, besides, FETCH)
        return [(row["delay"], Delivery(row["body"], attempt=row["attempt"], position=row["position"])) for row in rows]

    async def count_waiting(self, queue: str) -> int:
        """How many messages it has, parked ones aside."""
        query = "SELECT count(*) FROM messages WHERE queue = $1 AND parked_at IS NULL"
        return int(await self.pool.fetchval(query, queue))

    async def publish(self, message: Message, queues: Sequence[str]) -> Sequence[int]:
        """Returns when the message is committed to each queue: the positions of its rows. Raises PublishFailed."""
        if not self.is_running():
            raise PublishFailed("The bus is not running.")
        committed: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()
        self._publishes.append(_Publish(queues, message, committed))
        self._asked.set()
        return await committed

    async def settle(self, position: int, later: Retry | Park | None) -> None:
        """Returns when the fate of a delivery is committed (None: handled); a database that is away delays it."""
        committed = asyncio.get_running_loop().create_future()
        self._settles.append(_Settle(position, later, committed))
        self._asked.set()
        await committed

    async def _write_for_ever(self) -> None:
        """Group commit: whatever is asked for during one commit shares the next."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            publishes, self._publishes = self._publishes, []
            settles, self._settles = self._settles, []
            try:
                await self._write(publishes, settles)
            except Exception as error:  # noqa: BLE001 - a database that is away must not end the writer
                get_logger().warning("bus_write_failed", error=repr(error))
                for publish in publishes:
                    _fail(publish, f"Not confirmed: {error!r}")
                self._settles = settles + self._settles
                self._asked.set()
                await asyncio.sleep(self._pause)
                self._on_doubt()

    async def _write(self, publishes: list[_Publish], settles: list[_Settle]) -> None:
        handled = [settle.position for settle in settles if settle.later is None]
        later = [(settle.position, settle.later) for settle in settles if settle.later is not None]
        rows = [(queue, publish.message) for publish in publishes for queue in publish.queues]
        inserted = await self.pool.fetch(
            _WRITE,
            handled,
            [position for position, _ in later],
            [fate.delay if isinstance(fate, Retry) else None for _, fate in later],
            [fate.error for _, fate in later],
            [queue for queue, _ in rows],
            [message.id for _, message in rows],
            [message.type for _, message in rows],
            [message.body for _, message in rows],
        )
        # Identity values are given in the order of the rows.
        positions = iter(sorted(row[0] for row in inserted))
        for publish in publishes:
            _succeed(publish.committed, [next(positions) for _ in publish.queues])
        for settle in settles:
            _succeed(settle.committed, None)


class ParkedRows:
    """Implements `Parked`."""

    def __init__(self, store: QueueStore, consumer: str, *, on_replay: Callable[[str], None]) -> None:
        self._store = store
        self._consumer = consumer
        self._on_replay = on_replay

    async def count(self) -> int:
        """How many."""
        query = "SELECT count(*) FROM messages WHERE queue = $1 AND parked_at IS NOT NULL"
        return int(await self._store.pool.fetchval(query, self._consumer))

    async def list(self, limit: int = 100) -> Sequence[ParkedMessage]:
        """The oldest ones."""
        query = "SELECT * FROM messages WHERE queue = $1 AND parked_at IS NOT NULL ORDER BY position LIMIT $2"
        return [_parked_message(row) for row in await self._store.pool.fetch(query, self._consumer, limit)]

    async def show(self, id: UUID) -> ParkedMessage:
        """One of them."""
        return _parked_message(await self._one("SELECT * FROM messages", id))

    async def replay(self, id: UUID) -> None:
        """Deliver it again."""
        change = "UPDATE messages SET parked_at = NULL, attempt = 1, due_at = clock_timestamp()"
        await self._one(change, id)
        self._on_replay(self._consumer)

    async def drop(self, id: UUID) -> None:
        """Give it up for good."""
        await self._one("DELETE FROM messages", id)

    async def _one(self, what: str, id: UUID) -> asyncpg.Record:
        which = "queue = $1 AND id = $2 AND parked_at IS NOT NULL"
        returning = "" if what.startswith("SELECT") else " RETURNING *"
        rows = await self._store.pool.fetch(f"{what} WHERE {which}{returning}", self._consumer, id)
        if not rows:
            raise NotParked(f"{self._consumer} has no parked message {id}.")
        return rows[0]


def _parked_message(row: asyncpg.Record) -> ParkedMessage:
    return ParkedMessage(
        id=row["id"],
        type=row["type"],
        attempts=row["attempt"],
        error=row["error"],
        parked_at=row["parked_at"],
        body=row["body"],
    )


async def _migrate(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
    """Under a lock, so that two processes started at once do not both create the tables."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('bus schema'))")
    await connection.execute("CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY)")
    done = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_versions")
    for version, changes in enumerate(SCHEMA[done:], start=done + 1):
        await connection.execute(changes)
        await connection.execute("INSERT INTO schema_versions VALUES ($1)", version)


def _succeed(committed: asyncio.Future[Any], result: Any) -> None:
    if not committed.done():
        committed.set_result(result)


def _fail(publish: _Publish, reason: str) -> None:
    if not publish.committed.done():
        publish.committed.set_exception(PublishFailed(reason))


async def _keep_session_state(_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Replaces asyncpg's reset, a round trip per statement: no statement here changes its session."""
