"""One transaction on one connection, in which the driver's statements and SQLAlchemy's session take part alike.

SQLAlchemy itself begins and commits nothing, as its engine is in AUTOCOMMIT. Whoever needs the connection first, driver
or session, has this module take it from the engine's pool and send BEGIN; the end of the transaction sends COMMIT or
ROLLBACK. A transaction in which no session is used pays nothing for SQLAlchemy but its pool.
"""

from typing import Any, cast

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import await_only, greenlet_spawn

TRANSACTION = "transaction"
"""Key in `session.info`."""

END_TIMEOUT = 3.0
"""Seconds for a ROLLBACK; a connection that takes longer is given up."""

DRIVER_OUTAGES = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver raises when a connection broke, or was ended and does not look closed yet; time-outs are OSErrors."""


class JoiningSession(Session):
    """SQLAlchemy's session: with its first statement it joins the transaction that it was made for."""

    def get_bind(self, *_arguments: Any, **_options: Any) -> Connection:
        """The connection of the transaction."""
        transaction: Transaction = self.info[TRANSACTION]
        return await_only(transaction.for_sqlalchemy())


class Transaction:
    """Takes its connection and begins when it is first used. With `alone` it is one statement, which needs neither."""

    def __init__(self, engine: AsyncEngine, *, alone: bool = False) -> None:
        self.session = AsyncSession(
            engine,
            sync_session_class=JoiningSession,
            expire_on_commit=False,
            autoflush=False,
            info={TRANSACTION: self},
        )
        self.last_statements: list[str] = []
        """Without parameters: they go with the COMMIT, in one round trip."""
        self._engine = engine
        self._alone = alone
        self._pooled: PoolProxiedConnection | None = None
        self._driver: asyncpg.Connection | None = None
        self._connection: Connection | None = None

    async def driver(self) -> asyncpg.Connection:
        """Asyncpg's connection."""
        if self._driver is None:
            driver = await self._take()
            if self._alone:
                driver = cast("asyncpg.Connection", _OneStatement(driver))
            else:
                await driver.execute("BEGIN")
            self._driver = driver
        return self._driver

    async def begin_with(self, statement: str) -> str:
        """Begin with a statement that has no parameters, in one round trip; what it did, such as "INSERT 0 1"."""
        driver = await self._take()
        done: str = await driver.execute(f"BEGIN; {statement}")
        self._driver = driver
        return done

    async def _take(self) -> asyncpg.Connection:
        self._pooled = await self._engine.raw_connection()
        return cast("asyncpg.Connection", self._pooled.driver_connection)

    async def for_sqlalchemy(self) -> Connection:
        """The same connection as SQLAlchemy wants it."""
        if self._connection is None:
            if self._alone:
                raise RuntimeError("One statement goes to the driver; a session needs a transaction.")
            await self.driver()
            self._connection = Connection(self._engine.sync_engine, self._pooled)
        return self._connection

    async def commit(self) -> None:
        """Send what the session still has, commit, and hand the connection back.

        Raises RuntimeError when a statement had failed and somebody passed over it: PostgreSQL then answers a COMMIT
        with ROLLBACK, and no error.
        """
        if self.session.in_transaction():
            await self.session.run_sync(_flush_and_close)
        if self.last_statements or (self._driver is not None and not self._alone):
            driver = await self.driver()
            if await driver.execute("; ".join([*self.last_statements, "COMMIT"])) != "COMMIT":
                raise RuntimeError("A statement of this transaction had failed, so nothing of it was committed.")
        await self._hand_back()

    async def roll_back(self) -> None:
        """Leave nothing, and hand the connection back, or give it up when it does not answer."""
        await self.session.close()
        if self._pooled is None:
            return
        driver = cast("asyncpg.Connection", self._pooled.driver_connection)
        try:
            if not driver.is_closed():
                # A statement alone leaves nothing to take back, but its connection must still answer somebody else.
                await driver.execute("" if self._alone else "ROLLBACK", timeout=END_TIMEOUT)
        except Exception:  # noqa: BLE001 - whatever it is, closing the connection rolls back
            driver.terminate()
        if driver.is_closed():
            await greenlet_spawn(self._pooled.invalidate)
        await self._hand_back()

    async def _hand_back(self) -> None:
        pooled, self._pooled, self._driver = self._pooled, None, None
        if pooled is not None:
            await greenlet_spawn(pooled.close)


class _OneStatement:
    """The driver's connection for a statement that is a transaction by itself; a second one would be another."""

    def __init__(self, driver: asyncpg.Connection) -> None:
        self._driver: asyncpg.Connection | None = driver

    def __getattr__(self, name: str) -> Any:
        if self._driver is None:
            raise RuntimeError("This was to be one statement; two need a transaction.")
        driver, self._driver = self._driver, None
        return getattr(driver, name)


def _flush_and_close(session: Session) -> None:
    """In one step, since each step of an asynchronous session costs a switch of stacks."""
    session.commit()
    session.close()
