"""Statements that run for every request and every message, sent by the driver itself.

SQLAlchemy's asynchronous way to send a statement costs some 100 µs of Python more than asyncpg's. Here is the
driver's connection inside the session's own transaction: what is sent through it commits and rolls back with the rest.
"""

from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

_KEY = "driver_connection"


async def driver_connection(session: AsyncSession) -> asyncpg.Connection:
    """Asyncpg's connection, in the transaction of this session. Not to be kept beyond it."""
    known: asyncpg.Connection | None = session.info.get(_KEY)
    if known is None:
        adapted = await session.run_sync(_adapted)
        # SQLAlchemy sends BEGIN with its first statement; this may be the first one.
        if adapted._transaction is None:  # noqa: SLF001 - no public way to begin without a statement; a test holds it
            await adapted._start_transaction()  # noqa: SLF001 - as above
        known = session.info[_KEY] = adapted.driver_connection
    return known


def _adapted(session: Session) -> Any:
    return session.connection().connection.dbapi_connection
