"""The five databases of a shop and the provider's ledger, as the checker of invariants and the tests read them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.patience import NeverHappened, eventually

Row = Mapping[str, Any]
Ledger = dict[str, Any]

UNDER_WAY = {
    "accounts": "SELECT count(*) FROM outbox WHERE published_at IS NULL AND required",
    "catalog": """
        SELECT (SELECT count(*) FROM outbox WHERE published_at IS NULL AND required)
            + (SELECT count(*) FROM reservations WHERE status = 'held' AND confirmed_at IS NULL)
    """,
    "cart": "SELECT count(*) FROM outbox WHERE published_at IS NULL AND required",
    "orders": """
        SELECT (SELECT count(*) FROM outbox WHERE published_at IS NULL AND required)
            + (SELECT count(*) FROM orders WHERE status = 'closing')
    """,
    "payments": """
        SELECT (SELECT count(*) FROM outbox WHERE published_at IS NULL AND required)
            + (SELECT count(*) FROM payments WHERE status = 'closing' OR status = 'creating'
                AND (lease_until > clock_timestamp() - interval '10 seconds' OR closing_at IS NOT NULL))
            + (SELECT count(*) FROM webhook_events WHERE processed_at IS NULL)
            + (SELECT count(*) FROM refunds WHERE status IN ('requested', 'submitted'))
    """,
}
"""What a database still has to do by itself; 0 when it waits for people."""


@dataclass(frozen=True, slots=True)
class Books:
    """One connection to each database, each in a transaction that sees one committed state."""

    connections: Mapping[str, asyncpg.Connection]
    ledger: Callable[[], Awaitable[Ledger]]

    async def rows(self, database: str, sql: str, *values: Any) -> list[Row]:
        """Rows of one database."""
        return [dict(row) for row in await self.connections[database].fetch(sql, *values)]

    async def value(self, database: str, sql: str, *values: Any) -> Any:
        """One value of one database."""
        return await self.connections[database].fetchval(sql, *values)

    async def under_way(self) -> dict[str, int]:
        """How much each database still has to do."""
        return {name: await self.value(name, sql) for name, sql in UNDER_WAY.items()}


@asynccontextmanager
async def opened_books(urls: Mapping[str, str], *, ledger: Callable[[], Awaitable[Ledger]]) -> AsyncIterator[Books]:
    """The books as they are now. Whatever a test writes into them is undone at the end."""
    async with AsyncExitStack() as stack:
        connections = {}
        for name, url in urls.items():
            connection = await asyncpg.connect(url)
            stack.push_async_callback(connection.close)
            transaction = connection.transaction(isolation="repeatable_read")
            await transaction.start()
            stack.push_async_callback(transaction.rollback)
            connections[name] = connection
        yield Books(connections, ledger)


async def quiet(
    urls: Mapping[str, str],
    *,
    waiting: Callable[[], Awaitable[int]],
    ledger: Callable[[], Awaitable[Ledger]],
    within: float = 60.0,
) -> None:
    """Wait until nothing is under way any more: in the services, on the bus (messages `waiting`), at the provider."""
    busy: dict[str, int] = {}

    async def look() -> bool:
        async with opened_books(urls, ledger=ledger) as books:
            found = await books.under_way()
        found["bus"] = await waiting()
        found["provider"] = (await ledger())["totals"]["deliveries_pending"]
        busy.clear()
        busy.update({name: count for name, count in found.items() if count})
        return not busy

    try:
        await eventually(look, what="Quiet in all five databases", within=within)
    except NeverHappened as never:
        raise NeverHappened(f"{never}; still under way: {busy}") from None
