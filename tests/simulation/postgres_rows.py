"""The same shop on the product's own ports: three PostgreSQL databases whose clock is the schedule's.

`clock_timestamp()` is a function of a schema that is searched before PostgreSQL's own, and the defaults of columns are
bound to it: the statements of the product run as they are, in virtual time. It reads the time from a file.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from catalog.claims import Claim
from catalog.claims import Status as ReservationStatus
from catalog.levels import Level
from catalog.postgres_stockroom import PostgresStockroom
from catalog.settings import CatalogSettings
from catalog.stockroom import Stockroom
from chassis.database import Database
from chassis.events import Envelope
from chassis.migrations import migrate
from chassis.plain_sql import driver_connection
from chassis.testing import Databases, empty
from orders.known_orders import KnownOrders
from orders.models import CloseReason, Order, PaymentStatus
from orders.models import Status as OrderStatus
from orders.order_book import OrderBook
from orders.postgres_orders import PostgresOrderBook, PostgresOrders
from orders.settings import OrdersSettings
from payments.ledger import Ledger
from payments.models import PaymentStatus as StatusOfPayment
from payments.models import RefundKind, RefundStatus
from payments.postgres_ledger import PostgresLedger
from payments.settings import PaymentsSettings
from tests.simulation.clock import Clock
from tests.simulation.memory_ledger import LedgerTables
from tests.simulation.memory_orders import OrderTables, Pause
from tests.simulation.memory_stock import Reservation, StockTables
from tests.simulation.rows import Books, Letter

SERVICES = {"orders": OrdersSettings, "catalog": CatalogSettings, "payments": PaymentsSettings}

_VIRTUAL_TIME = """
CREATE SCHEMA simulated;
CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_read_file(''{file}'')::timestamptz';
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_default LIKE '%clock_timestamp()%'
    LOOP
        EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET DEFAULT simulated.clock_timestamp()',
            found.table_name, found.column_name);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET search_path = simulated, pg_catalog, public', current_database());
END $$;
"""


class Servers:
    """The three databases, opened once for many schedules."""

    def __init__(self, folder: Path) -> None:
        self.time = folder / "now"
        self.urls: dict[str, str] = {}
        self.databases: dict[str, Database] = {}
        self.aside: dict[str, asyncpg.Connection] = {}
        """Connections that look at what is committed."""

    async def open(self, databases: Databases) -> None:
        """Migrated, in virtual time."""
        for name, settings_class in SERVICES.items():
            url = self.urls[name] = await databases.create(f"{name}_simulation")
            settings = settings_class(database_url=url)
            await migrate(settings, name)
            connection = await asyncpg.connect(url)
            await connection.execute(_VIRTUAL_TIME.replace("{file}", str(self.time)))
            await connection.close()
            self.aside[name] = await asyncpg.connect(url)
            self.databases[name] = Database(settings)
            await self.databases[name].start()

    async def close(self) -> None:
        """Every connection."""
        for name, database in self.databases.items():
            await database.stop()
            await self.aside[name].close()

    async def rows(self, clock: Clock, shelves: list[Level]) -> "PostgresRows":
        """Empty but for the shelves."""
        self.time.write_text(clock.now.isoformat())
        for url in self.urls.values():
            await empty(url)
        await _stock_shelves(self.aside["catalog"], shelves)
        return PostgresRows(self, clock)


class _PausingOrderBook(PostgresOrderBook):
    """The product's order book, which lets the schedule choose who goes on after a read that locks nothing."""

    def __init__(self, session: Any, pause: Pause) -> None:
        super().__init__(session)
        object.__setattr__(self, "_pause", pause)

    async def find(self, order_id: UUID) -> Order | None:
        order = await super().find(order_id)
        await self._pause()  # type: ignore[attr-defined]  # set past the frozen dataclass
        return order

    async def find_unspent(self, order_id: UUID, *, attempt_id: UUID) -> tuple[Order | None, bool]:
        found = await super().find_unspent(order_id, attempt_id=attempt_id)
        await self._pause()  # type: ignore[attr-defined]  # as above
        return found


class PostgresRows:
    """Implements `Rows`."""

    are_read_for_nothing = False

    def __init__(self, servers: Servers, clock: Clock) -> None:
        self._servers, self._clock = servers, clock
        self._orders = PostgresOrders(servers.databases["orders"])
        self._seen = dict.fromkeys(SERVICES, 0)

    @asynccontextmanager
    async def orders(self, pause: Pause) -> AsyncIterator[OrderBook]:
        """A transaction of the database."""
        async with self._servers.databases["orders"].transaction() as session:
            yield _PausingOrderBook(session, pause)

    @asynccontextmanager
    async def stock(self) -> AsyncIterator[Stockroom]:
        """A transaction of the database."""
        async with self._servers.databases["catalog"].transaction() as session:
            yield PostgresStockroom(session)

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[Ledger]:
        """A transaction of the database."""
        async with self._servers.databases["payments"].transaction() as session:
            yield PostgresLedger(session)

    async def known(self, user_id: UUID, order_id: UUID) -> KnownOrders:
        """By the read pool."""
        return await self._orders.known(user_id, order_id)

    async def read(self, order_id: UUID) -> Order | None:
        """By the read pool."""
        return await self._orders.read(order_id)

    async def receive(self, book: Any, consumer: str, letter: Letter) -> bool:
        """A row of the inbox."""
        connection = await driver_connection(book.session)
        is_new = await connection.fetchval(
            "INSERT INTO inbox (event_id, consumer, type) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true",
            UUID(letter.id),
            consumer,
            letter.type,
        )
        return bool(is_new)

    async def published(self, service: str) -> list[Letter]:
        """Rows of the outbox."""
        sql = "SELECT position, body FROM outbox WHERE position > $1 ORDER BY position"
        found = await self._servers.aside[service].fetch(sql, self._seen[service])
        if found:
            self._seen[service] = found[-1]["position"]
        envelopes = [Envelope.decode(row["body"]) for row in found]
        return [Letter(str(each.id), each.type, each.subject, each.sequence, each.data) for each in envelopes]

    async def show_time(self, clock: Clock) -> None:
        """By the file that the virtual clock reads."""
        self._servers.time.write_text(clock.now.isoformat())

    async def books(self) -> Books:
        """Read whole, in the order in which rows were written."""
        aside = self._servers.aside
        return Books(
            await _orders(aside["orders"], self._clock),
            await _stock(aside["catalog"], self._clock),
            await _ledger(aside["payments"], self._clock),
        )


async def _stock_shelves(connection: asyncpg.Connection, shelves: list[Level]) -> None:
    category, product = UUID(int=1), shelves[0].product_id
    await connection.execute(
        "INSERT INTO categories (id, ancestor_ids, slug, name, description, position, is_active, version)"
        " VALUES ($1, ARRAY[$1::uuid], 'things', 'Things', '', 0, true, 1)",
        category,
    )
    await connection.execute(
        "INSERT INTO products (id, slug, name, name_key, description, attributes, category_id, is_featured, is_active,"
        " price, in_stock, search_name, search_skus, version)"
        " VALUES ($1, 'kurta', 'Kurta', 'kurta', '', '{}', $2, false, true, 0, true, 'kurta', '', 1)",
        product,
        category,
    )
    for position, level in enumerate(shelves):
        await connection.execute(
            "INSERT INTO variants (id, product_id, sku, name, options, price, is_active, position)"
            " VALUES ($1, $2, $3, $4, jsonb_build_object('n', $4::text), $5, true, $6)",
            level.variant_id,
            product,
            level.sku,
            level.variant_name,
            level.unit_price,
            position,
        )
        await connection.execute(
            "INSERT INTO stock_levels (variant_id, product_id, on_hand, reserved, low_stock_threshold, stock_version)"
            " VALUES ($1, $2, $3, 0, 0, 1)",
            level.variant_id,
            product,
            level.on_hand,
        )


async def _orders(connection: asyncpg.Connection, clock: Clock) -> OrderTables:
    tables = OrderTables(clock)
    for row in await connection.fetch("SELECT * FROM orders ORDER BY placement"):
        reason = row["close_reason"]
        tables.orders[row["id"]] = {
            **row,
            "status": OrderStatus(row["status"]),
            "payment_status": PaymentStatus(row["payment_status"]),
            "close_reason": CloseReason(reason) if reason else None,
        }
        tables.items[row["id"]] = []
    for row in await connection.fetch("SELECT * FROM order_items ORDER BY order_id, position"):
        tables.items[row["order_id"]].append(dict(row))
    tables.moves = [dict(row) for row in await connection.fetch("SELECT * FROM order_moves ORDER BY ctid")]
    return tables


async def _stock(connection: asyncpg.Connection, clock: Clock) -> StockTables:
    levels = [
        Level(
            variant_id=row["variant_id"],
            product_id=row["product_id"],
            on_hand=row["on_hand"],
            reserved=row["reserved"],
            stock_version=row["stock_version"],
            low_stock_threshold=0,
            sku="",
            product_name="",
            variant_name="",
            unit_price=0,
            image_url=None,
            is_sellable=True,
        )
        for row in await connection.fetch("SELECT * FROM stock_levels ORDER BY variant_id")
    ]
    tables = StockTables(clock, levels)
    items: dict[UUID, dict[UUID, int]] = {}
    for row in await connection.fetch("SELECT * FROM reservation_items ORDER BY variant_id"):
        items.setdefault(row["order_id"], {})[row["variant_id"]] = row["quantity"]
    for row in await connection.fetch("SELECT * FROM reservations ORDER BY created_at"):
        claim = Claim(
            row["order_id"],
            ReservationStatus(row["status"]),
            row["hold"],
            row["version"],
            row["decided_by"],
            row["is_closed"],
            items.get(row["order_id"], {}),
        )
        tables.reservations[row["order_id"]] = Reservation(claim, row["touched_at"], row["confirmed_at"])
    history = await connection.fetch("SELECT * FROM reservation_history ORDER BY number")
    names = ("order_id", "from_status", "to_status", "cause", "hold")
    tables.history = [tuple(row[name] for name in names) for row in history]
    moved = await connection.fetch("SELECT * FROM stock_movements ORDER BY number")
    tables.movements = [(row["variant_id"], row["kind"], row["delta"], row["on_hand"]) for row in moved]
    return tables


async def _ledger(connection: asyncpg.Connection, clock: Clock) -> LedgerTables:
    tables = LedgerTables(clock)
    for row in await connection.fetch("SELECT * FROM payments ORDER BY created_at"):
        tables.payments[row["id"]] = {**row, "status": StatusOfPayment(row["status"])}
    for row in await connection.fetch("SELECT * FROM payment_history ORDER BY ctid"):
        tables.payment_history.append((row["payment_id"], row["status"], row["cause"]))
    for row in await connection.fetch("SELECT * FROM provider_orders ORDER BY ctid"):
        tables.provider_orders[row["provider_order_id"]] = (row["payment_id"], row["first_seen_at"])
    for row in await connection.fetch("SELECT * FROM attempts ORDER BY first_seen_at"):
        tables.attempts[row["id"]] = dict(row)
    for row in await connection.fetch("SELECT * FROM observations ORDER BY ctid"):
        tables.observations.append((row["attempt_id"], row["source"], row["rank"], row["applied"]))
    for row in await connection.fetch("SELECT * FROM refunds ORDER BY created_at, ctid"):
        tables.refunds[row["id"]] = _with_enums(dict(row))
    for row in await connection.fetch("SELECT * FROM refund_history ORDER BY ctid"):
        tables.refund_history.append((row["refund_id"], row["status"]))
    return tables


def _with_enums(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "kind": RefundKind(row["kind"]), "status": RefundStatus(row["status"])}
