"""One PostgreSQL database per service: transactions for changes, a read-only pool for hot reads.

A request or a message is one transaction, and only the edge (route class, inbox, job) opens and commits it.
Deadlines are compared with the database's clock, never with a process's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.pool import PoolAcquireContext
from sqlalchemy import MetaData, event, func, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.functions import Function

from chassis.cancellation import is_stray
from chassis.crash_points import crash_point
from chassis.events import Event
from chassis.idempotency import idempotency_table
from chassis.inbox import inbox_table
from chassis.job_runs import job_runs_table
from chassis.outbox import NEWS, RECORDED, Recorded, outbox_table, write_recorded
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from chassis.transactions import DRIVER_OUTAGES, Transaction

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

CONNECT_TIMEOUT = 3.0
POOL_TIMEOUT = 3.0
"""Seconds a request waits for a connection before it is told 503."""


def metadata() -> MetaData:
    """The tables of a service start from here: naming convention, outbox, inbox, idempotency keys, job runs."""
    tables = MetaData(naming_convention=NAMING)
    outbox_table(tables)
    inbox_table(tables)
    idempotency_table(tables)
    job_runs_table(tables)
    return tables


def db_now() -> Function[Any]:
    """The database's clock at this statement (not at the transaction's start)."""
    return func.clock_timestamp()


def plain_url(url: str) -> str:
    """The URL as asyncpg takes it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def engine_url(url: str) -> str:
    """The URL as SQLAlchemy takes it."""
    return make_url(plain_url(url)).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def is_outage(error: BaseException) -> bool:
    """Whether an error says that the database is away or overloaded, not that the statement was wrong."""
    is_broken = getattr(error, "connection_invalidated", False)
    if is_broken or isinstance(error, (PoolTimeout, InterfaceError, *DRIVER_OUTAGES)):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", "") or "")
    return state[:2] in ("08", "53", "57")


def is_contention(error: BaseException) -> bool:
    """Whether an error says that somebody else was changing the same rows: deadlock, serialisation, lock time-out."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) in ("40001", "40P01", "55P03")


async def _keep_session_state(_connection: asyncpg.Connection) -> None:
    """Replaces asyncpg's reset, a round trip per request: no read changes the state of its session."""


def _refuse_closed(connection: DBAPIConnection, _record: Any, _proxy: Any) -> None:
    """The pool replaces a connection that the server has closed, so that a restart of PostgreSQL fails no request."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class _ReadPool(asyncpg.Pool):
    """Refuses after POOL_TIMEOUT where asyncpg would let requests wait without end."""

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        # A time-out costs a task of its own, so it is set only when somebody has to wait.
        if timeout is None and self.get_size() == self.get_max_size() and not self.get_idle_size():
            timeout = POOL_TIMEOUT
        return super().acquire(timeout=timeout)


class Database:
    """The connections of one service."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._url = settings.database_url.get_secret_value()
        read = settings.read_database_url
        self._read_url = read.get_secret_value() if read else self._url
        self._engine: AsyncEngine | None = None
        self._reads: asyncpg.Pool | None = None
        self._primary_reads: asyncpg.Pool | None = None
        self.wake_relay: Callable[[Sequence[Recorded]], None] = lambda _events: None
        """Told of the events of each transaction that recorded some, once it is committed."""
        self.count_events: Callable[[Sequence[Event]], None] = lambda _events: None
        """Told of what was recorded, once it is committed."""

    @property
    def url(self) -> str:
        """The primary, for a connection of one's own (relay and job locks)."""
        return plain_url(self._url)

    async def start(self) -> None:
        """Make the pools. Connections are opened at first use, so a database that is away does not stop a start."""
        settings = self._settings
        self._engine = create_async_engine(
            engine_url(self._url),
            isolation_level="AUTOCOMMIT",  # `Transaction` begins and commits
            pool_size=settings.db_pool_size,
            max_overflow=settings.db_max_overflow,
            pool_timeout=POOL_TIMEOUT,
            hide_parameters=True,
            connect_args={
                "timeout": CONNECT_TIMEOUT,
                "command_timeout": settings.statement_timeout + 5,
                "server_settings": self._server_settings(),
            },
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        self._reads = await self._read_pool(self._read_url)
        self._primary_reads = self._reads if self._read_url == self._url else await self._read_pool(self._url)

    async def stop(self) -> None:
        """Close every connection."""
        for pool in {pool for pool in (self._reads, self._primary_reads) if pool is not None}:
            try:
                async with asyncio.timeout(3):
                    await pool.close()
            except TimeoutError:
                pool.terminate()
        if self._engine is not None:
            await self._engine.dispose()

    def _server_settings(self) -> dict[str, str]:
        milliseconds = round(self._settings.statement_timeout * 1000)
        return {
            "application_name": self._settings.service,
            "statement_timeout": str(milliseconds),
            "lock_timeout": str(round(self._settings.lock_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(milliseconds),
            "timezone": "UTC",
            "jit": "off",
        }

    async def _read_pool(self, url: str) -> asyncpg.Pool:
        return await _ReadPool(
            plain_url(url),
            min_size=0,
            max_size=self._settings.read_pool_max,
            max_queries=1_000_000,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            timeout=CONNECT_TIMEOUT,
            command_timeout=self._settings.statement_timeout + 5,
            max_inactive_connection_lifetime=300,
            reset=_keep_session_state,
            server_settings={**self._server_settings(), "default_transaction_read_only": "on"},
        )

    @property
    def reads(self) -> asyncpg.Pool:
        """For hot reads that may be a moment old: possibly a replica, always read-only."""
        assert self._reads is not None, "the database is not started"  # noqa: S101 - a programming mistake
        return self._reads

    @property
    def primary_reads(self) -> asyncpg.Pool:
        """For hot reads that must see the caller's own last write; always read-only."""
        assert self._primary_reads is not None, "the database is not started"  # noqa: S101 - a programming mistake
        return self._primary_reads

    @property
    def engine(self) -> AsyncEngine:
        """For migrations checks and metrics."""
        assert self._engine is not None, "the database is not started"  # noqa: S101 - a programming mistake
        return self._engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        transaction = Transaction(self.engine)
        async with _ending(transaction):
            yield transaction.session
            await write_recorded(transaction.session)
        if (recorded := transaction.session.info.get(RECORDED)) is not None:
            self.wake_relay(recorded)
            self.count_events(transaction.session.info.get(NEWS, ()))

    @asynccontextmanager
    async def one_statement(self) -> AsyncIterator[AsyncSession]:
        """A transaction of one statement, which the driver sends: no round trips to begin and to commit it."""
        transaction = Transaction(self.engine, alone=True)
        async with _ending(transaction):
            yield transaction.session
        if RECORDED in transaction.session.info:
            raise RuntimeError("An event is a second statement; it needs a transaction.")

    def show_pools(self, metrics: Metrics) -> None:
        """Let the metrics tell how many connections each pool has; asked when they are read, never in between."""
        connections = metrics.gauge("haat_database_connections", "Open connections.", ("pool", "state"))
        limit = metrics.gauge("haat_database_connections_max", "Connections that a pool may open.", ("pool",))

        def show(pool: str, now: Callable[[], tuple[int, int]]) -> None:
            connections.labels(pool, "in_use").set_function(lambda: now()[0])
            connections.labels(pool, "idle").set_function(lambda: now()[1])

        show("write", self._write_pool)
        show("read", self._read_pool_now)
        limit.labels("write").set(self._settings.db_pool_size + self._settings.db_max_overflow)
        limit.labels("read").set(self._settings.read_pool_max)

    def _write_pool(self) -> tuple[int, int]:
        """Connections in use, and idle ones."""
        pool = self._engine.pool if self._engine is not None else None
        return (pool.checkedout(), pool.checkedin()) if isinstance(pool, QueuePool) else (0, 0)

    def _read_pool_now(self) -> tuple[int, int]:
        pool = self._reads
        return (pool.get_size() - pool.get_idle_size(), pool.get_idle_size()) if pool is not None else (0, 0)

    async def is_reachable(self) -> bool:
        """Whether one statement succeeds within two seconds."""
        try:
            async with asyncio.timeout(2), self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (DBAPIError, PoolTimeout, asyncpg.PostgresError, *DRIVER_OUTAGES):
            return False
        return True


@asynccontextmanager
async def _ending(transaction: Transaction) -> AsyncIterator[None]:
    try:
        yield
        crash_point("commit.before")
        await transaction.commit()
        crash_point("commit.after")
    except BaseException as error:
        # Also a cancelled request hands its connection back, in a task that nobody cancels.
        await asyncio.gather(asyncio.shield(asyncio.create_task(transaction.roll_back())), return_exceptions=True)
        if is_stray(error):
            raise ConnectionError("The driver gave the connection up.") from error
        raise


def count_statements(database: Database) -> list[str]:
    """A list that grows by every statement sent through sessions, for tests that hold a process to a number."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    return seen
