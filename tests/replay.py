"""Projections built anew beside the shop's own: every event, in any order, must lead to what the shop shows (I14).

cart's copies of products and stock and orders' `payment_status` are what the events of others made of nothing. Here
the bodies of the outboxes go, shuffled, through the services' own subscriptions and inboxes into empty databases.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
from yarl import URL

from cart.settings import CartSettings
from cart.subscriptions import SUBSCRIPTIONS as CART
from chassis.database import Database
from chassis.events import Subscription
from chassis.inbox import Inbox
from chassis.migrations import migrate
from chassis.settings import ServiceSettings
from orders.settings import OrdersSettings
from orders.subscriptions import subscriptions
from tests.books import Books, Row

AT_ONCE = 4
SHUFFLES = 3


async def _nothing(_books: Books, _scratch: asyncpg.Connection, _events: Sequence[Row]) -> None:
    """A projection that begins with nothing."""


async def _unpaid_orders(books: Books, scratch: asyncpg.Connection, events: Sequence[Row]) -> None:
    """The orders that these events tell of, as they are but for what payments said of them."""
    told = {json.loads(event["body"])["data"]["order_id"] for event in events}
    for table, key in (("orders", "id"), ("order_items", "order_id")):
        rows = await books.value(
            "orders",
            f"SELECT coalesce(jsonb_agg(row), '[]')::text FROM {table} AS row WHERE {key} = ANY($1::uuid[])",
            list(told),
        )
        await scratch.execute(
            f"INSERT INTO {table} OVERRIDING SYSTEM VALUE "
            f"SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)",
            rows,
        )
    await scratch.execute("UPDATE orders SET payment_status = 'unpaid', payment_version = 0 WHERE total > 0")


@dataclass(frozen=True, slots=True)
class Projection:
    """What one service knows by events alone."""

    service: str
    settings: type[ServiceSettings]
    listens: tuple[Subscription, ...]
    producer: str
    types: tuple[str, ...]
    shown: dict[str, str]
    """What is compared → query, whose first column tells which row it is."""
    emptied: str
    begin: Callable[[Books, asyncpg.Connection, Sequence[Row]], Awaitable[None]] = _nothing


PROJECTIONS = (
    Projection(
        "cart",
        CartSettings,
        CART,
        producer="catalog",
        types=("product.changed.v1", "product.withdrawn.v1", "stock.changed.v1"),
        shown={
            "product": "SELECT product_id, version, is_withdrawn FROM product_copies",
            "stock of variant": "SELECT variant_id, available, stock_version FROM stock_copies",
            # Not `is_active`: a lookup stores what is for sale, an event what is active; the offer is the same.
            "variant": """
                SELECT variant_id, product_id, product_version, sku, name, image_url, unit_price, currency
                FROM variant_copies
            """,
            "offer of variant": "SELECT variant_id, is_sellable FROM offers",
        },
        emptied="product_copies, stock_copies, variant_copies, cart_items, inbox",
    ),
    Projection(
        "orders",
        OrdersSettings,
        subscriptions(lambda _type: None),
        producer="payments",
        types=("payment.captured.v1", "refund.submitted.v1", "refund.processed.v1", "refund.failed.v1"),
        shown={"payment of order": "SELECT id, payment_status, payment_version FROM orders WHERE total > 0"},
        emptied="orders, order_items, order_moves, outbox, inbox",
        begin=_unpaid_orders,
    ),
)

_EVENTS = """
SELECT type, subject, body FROM outbox WHERE type = ANY($1::text[]) AND ($2::timestamptz IS NULL OR subject IN (
    SELECT subject FROM outbox WHERE type = ANY($1::text[]) AND created_at > $2
)) ORDER BY position"""


@dataclass
class Replay:
    """Empty databases for the projections."""

    urls: dict[str, str] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)

    async def differences(
        self, books: Books, *, shuffles: int = SHUFFLES, seed: int = 0, since: datetime | None = None
    ) -> list[str]:
        """What the shop shows and its events do not lead to, as sentences. `since`: only what had news since then."""
        found: dict[str, None] = {}
        for projection in PROJECTIONS:
            events = await books.rows(projection.producer, _EVENTS, list(projection.types), since)
            for number in range(shuffles):
                dice = random.Random(f"{seed} {number}")
                shuffled = dice.sample(events, len(events))
                async with _connected(self.urls[projection.service]) as scratch:
                    await scratch.execute(f"TRUNCATE {projection.emptied} CASCADE")
                    await projection.begin(books, scratch, shuffled)
                    await self._play(projection, shuffled)
                    found |= dict.fromkeys([s async for s in _compared(projection, books, scratch)])
        return list(found)

    async def _play(self, projection: Projection, events: Sequence[Row]) -> None:
        inbox = Inbox(self.databases[projection.service], projection.listens, consumer=projection.service)
        waiting = iter(events)

        async def handle_some() -> None:
            for event in waiting:
                await inbox.handle(event["body"], 1)

        await asyncio.gather(*(handle_some() for _ in range(AT_ONCE)))


async def _compared(projection: Projection, books: Books, scratch: asyncpg.Connection) -> AsyncIterator[str]:
    """What no event has told of is not judged: the demo's goods, and what outboxes forget after a week."""
    for what, sql in projection.shown.items():
        shop = _by_first(await books.rows(projection.service, sql))
        anew = _by_first([dict(row) for row in await scratch.fetch(sql)])
        for key, value in anew.items():
            if shop.get(key) != value:
                found = f"shows {shop.get(key)} for {what} {key}"
                yield f"I14: {projection.service} {found}, and its events make {value} of it"


def _by_first(rows: Iterable[Row]) -> dict[Any, tuple[Any, ...]]:
    return {values[0]: values[1:] for values in (tuple(row.values()) for row in rows)}


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """For as long as it is needed and no longer: the server may be killed in between."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def opened_replay(admin_url: str) -> AsyncIterator[Replay]:
    """Scratch databases on the server that this superuser enters, gone at the end."""
    async with AsyncExitStack() as stack:
        replay = Replay()
        for projection in PROJECTIONS:
            name = await stack.enter_async_context(_scratch(admin_url, projection.service))
            url = replay.urls[projection.service] = str(URL(admin_url).with_path(name))
            settings = projection.settings.model_validate({"database_url": url})
            await migrate(settings, projection.service)
            database = replay.databases[projection.service] = Database(settings)
            await database.start()
            stack.push_async_callback(database.stop)
        yield replay


@asynccontextmanager
async def _scratch(admin_url: str, service: str) -> AsyncIterator[str]:
    name = f"replay_{service}_{uuid4().hex[:8]}"
    async with _connected(admin_url) as admin:
        await admin.execute(f'CREATE DATABASE "{name}"')
        await admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    try:
        yield name
    finally:
        async with _connected(admin_url) as admin:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
