"""Plain SQL over either connection, and the check that a caller changes what it has read."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.problems import PreconditionFailed

Fetch = Callable[..., Awaitable[Sequence[Any]]]
"""`asyncpg.Pool.fetch`, or the same on a session's connection."""


def session_fetch(session: AsyncSession) -> Fetch:
    """Reads that see the transaction's own changes."""

    async def fetch(sql: str, *values: Any) -> Sequence[Any]:
        await session.flush()
        connection = await session.connection()
        return (await connection.exec_driver_sql(sql, values)).mappings().all()

    return fetch


def require_version(version: int, expected_tag: str | None) -> None:
    """Raises PreconditionFailed when the caller has read another version than the present one.

    A tag is "<version>.<what else is shown>"; only the version is compared, so a sale in between is no conflict.
    """
    if expected_tag is not None and expected_tag.split(".")[0] != str(version):
        raise PreconditionFailed("Read it again and repeat the change with the new ETag.")
