"""One connection per process that holds the advisory locks of its relay and its jobs.

A lock belongs to the database session, so it is lost exactly when the connection is, and another process takes over
without any lease to wait for. Needs a direct connection, not a pooler in transaction mode.
"""

import asyncio
from typing import Any

import asyncpg

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"


class LockConnection:
    """Connects at first use and again after each loss; statements wait for each other."""

    def __init__(self, url: str, *, name: str = "haat-locks", timeout: float = 10.0) -> None:
        self._url = url
        self._name = name
        self._timeout = timeout
        self._turn = asyncio.Lock()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._held: set[str] = set()

    async def hold(self, key: str) -> bool:
        """Whether this process has the lock, taking it when it is free."""
        async with self._turn:
            if key in self._held and self._connection is not None and not self._connection.is_closed():
                return True
            if (await self._run(_LOCK, key))[0][0]:
                self._held.add(key)
            return key in self._held

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one statement on the connection that holds the locks, so that losing them also stops the work."""
        async with self._turn:
            return await self._run(query, *arguments)

    async def stop(self) -> None:
        """Close, which frees every lock."""
        async with self._turn:
            self._drop()

    async def _run(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            if self._connection is None or self._connection.is_closed():
                self._drop()
                self._connection = await self._connect()
            return await self._connection.fetch(query, *arguments)
        except asyncpg.PostgresError:
            raise  # the statement was refused; a lost connection shows at the next use
        except BaseException:
            # Time-out, broken socket or cancelled half-way: what the session holds is no longer known.
            self._drop()
            raise

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            self._url,
            timeout=3,
            command_timeout=self._timeout,
            server_settings={
                "application_name": self._name,
                "timezone": "UTC",
                # What the relay notes here is that an event is out; forgotten in a crash, the event goes out again.
                "synchronous_commit": "off",
                # A process that vanished without closing must not keep its locks for hours.
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
            },
        )

    def _drop(self) -> None:
        self._held.clear()
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
