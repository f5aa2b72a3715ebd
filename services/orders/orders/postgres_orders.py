"""The rows of orders in PostgreSQL. Statements of every request and message go to the driver directly."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database
from chassis.events import Event
from chassis.outbox import record
from chassis.plain_sql import driver_connection
from orders.known_orders import KnownOrders, known_orders
from orders.models import CLOSED, Order, OrderItem, PaymentStatus, Status, order_items, order_moves, orders
from orders.order_book import Line, OrderBook, StockNews, Turn
from orders.order_numbers import first_free, some_numbers
from orders.order_reading import read_order, read_unspent
from orders.order_states import Provided

HISTORY = [name for name in order_moves.columns.keys() if name != "at"]  # noqa: SIM118 - not a dict
"""The columns of a line of history that do not set themselves."""

_CONDITIONS = {
    Provided.NOTHING: "true",
    Provided.READY_TO_SEND: "payment_status <> 'refunded' AND stock_committed_at IS NOT NULL",
}

_TAKE_TURN = """
    WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended($1, 0)))
    SELECT clock_timestamp(), ARRAY(SELECT number FROM orders WHERE number = ANY ($2)) FROM turn
"""

_SET_BY_THE_DATABASE = {"placement", "cart_knows", "needs_review", "payment_version", "returned_attempts"}
_ORDER = [name for name in orders.columns.keys() if name not in _SET_BY_THE_DATABASE]  # noqa: SIM118 - not a dict
_ITEM = order_items.columns.keys()

# Documents instead of sixty parameters: PostgreSQL reads each member as its column's type.
_WRITE = f"""
    WITH placed AS (
        INSERT INTO orders ({", ".join(_ORDER)})
        SELECT {", ".join(_ORDER)} FROM json_populate_record(NULL::orders, $1::text::json) AS new
        WHERE NOT EXISTS (
            SELECT FROM orders
            WHERE user_id = new.user_id AND cart_id = new.cart_id AND placement > $4 AND id <> new.id
        )
        RETURNING id
    ), filled AS (
        INSERT INTO order_items ({", ".join(_ITEM)})
        SELECT {", ".join(f"item.{name}" for name in _ITEM)}
        FROM placed, json_populate_recordset(NULL::order_items, $2::text::json) AS item
    ), acknowledged AS (
        UPDATE orders SET cart_knows = true FROM placed WHERE orders.id = ANY ($5::uuid[])
    )
    INSERT INTO order_moves ({", ".join(HISTORY)})
    SELECT {", ".join(f"move.{name}" for name in HISTORY)}
    FROM placed, json_populate_record(NULL::order_moves, $3::text::json) AS move
    RETURNING order_id
"""  # noqa: S608 - the columns of our own tables

# The status too: the update may have waited for a move that the order was read before.
_SHOW = """
    UPDATE orders SET payment_status = $2, payment_version = $3 WHERE id = $1 AND payment_version < $3
    RETURNING payment_status, status
"""

_PAST_DEADLINE = """
    SELECT id FROM orders WHERE status = 'awaiting_payment' AND deadline < clock_timestamp()
    ORDER BY deadline, id LIMIT $1 OFFSET $2
"""

_CLOSING_FOR = """
    SELECT id FROM orders
    WHERE status = 'closing' AND closing_since < clock_timestamp() - make_interval(secs => $1)
    ORDER BY closing_since, id LIMIT $2 OFFSET $3
"""

_OPEN_OF_VERSION = "SELECT id FROM orders WHERE cart_id = $1 AND cart_version = $2 AND status <> ALL ($3)"

_IS_OPEN = "SELECT EXISTS (SELECT FROM orders WHERE id = $1 AND status <> ALL ($2))"

_ORDERED_SINCE = """
    SELECT id FROM orders WHERE user_id = $1 AND cart_id = $2 AND placement > $3 AND id <> $4
    ORDER BY placement LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class PostgresOrderBook:
    """Implements `OrderBook` in a session's transaction."""

    session: AsyncSession

    async def find(self, order_id: UUID) -> Order | None:
        """One statement."""
        return await read_order(await driver_connection(self.session), order_id)

    async def take(
        self,
        order: Order,
        *,
        changes: Mapping[str, Any],
        stamp: str | None,
        provided: Provided,
        payment: tuple[PaymentStatus, int] | None,
        line: Line,
    ) -> Mapping[str, Any] | None:
        """One statement, which waits for whoever is changing the order."""
        connection = await driver_connection(self.session)
        moved = await connection.fetchrow(
            _statement(tuple(changes), stamp, _CONDITIONS[provided]),
            order.id,
            order.status,
            order.version,
            _json(line),
            *(payment or (None, None)),
            *changes.values(),
        )
        return None if moved is None else {**moved, "payment_status": PaymentStatus(moved["payment_status"])}

    async def record(self, event: Event, *, order_id: UUID, version: int) -> None:
        """A row of the outbox."""
        await record(self.session, event, subject=order_id, sequence=version, correlation_id=order_id)

    async def find_unspent(self, order_id: UUID, *, attempt_id: UUID) -> tuple[Order | None, bool]:
        """One statement, by the unique index on the paying attempt."""
        return await read_unspent(await driver_connection(self.session), order_id, attempt_id=attempt_id)

    async def show_payment(
        self, order_id: UUID, *, status: PaymentStatus, version: int
    ) -> tuple[PaymentStatus, Status] | None:
        """One statement, which waits for whoever is changing the order."""
        connection = await driver_connection(self.session)
        row = await connection.fetchrow(_SHOW, order_id, status, version)
        return None if row is None else (PaymentStatus(row["payment_status"]), Status(row["status"]))

    async def remember(self, order_id: UUID, news: StockNews) -> bool:
        """One statement."""
        connection = await driver_connection(self.session)
        first = f"UPDATE orders SET {news} = clock_timestamp() WHERE id = $1 AND {news} IS NULL RETURNING true"  # noqa: S608 - one of two columns
        return bool(await connection.fetchval(first, order_id))

    async def past_deadline(self, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """By a partial index."""
        connection = await driver_connection(self.session)
        return [row["id"] for row in await connection.fetch(_PAST_DEADLINE, limit, skip)]

    async def closing_for(self, seconds: float, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """By a partial index."""
        connection = await driver_connection(self.session)
        return [row["id"] for row in await connection.fetch(_CLOSING_FOR, seconds, limit, skip)]

    async def take_turn(self, cart_id: UUID) -> Turn:
        """An advisory lock on the cart's id."""
        numbers = some_numbers()
        connection = await driver_connection(self.session)
        ((now, taken),) = await connection.fetch(_TAKE_TURN, str(cart_id), numbers)
        return Turn(now, first_free(numbers, taken))

    async def write(self, order: Order, *, line: Line, seen: int, acknowledged: Collection[UUID]) -> bool:
        """One statement."""
        connection = await driver_connection(self.session)
        written = await connection.fetchval(
            _WRITE,
            _json({**_members(order, _ORDER), "fingerprint": f"\\x{order.fingerprint.hex()}"}),
            _json([{**_members(item, _ITEM), "order_id": order.id} for item in order.items]),
            _json(line),
            seen,
            list(acknowledged),
        )
        return written is not None

    async def open_order_of_version(self, cart_id: UUID, version: int) -> UUID | None:
        """By a unique index."""
        connection = await driver_connection(self.session)
        found: UUID | None = await connection.fetchval(_OPEN_OF_VERSION, cart_id, version, CLOSED)
        return found

    async def is_open(self, order_id: UUID) -> bool:
        """By its key."""
        connection = await driver_connection(self.session)
        return bool(await connection.fetchval(_IS_OPEN, order_id, CLOSED))

    async def ordered_since(self, seen: int, *, user_id: UUID, cart_id: UUID, but: UUID) -> UUID | None:
        """By an index on the caller's orders."""
        connection = await driver_connection(self.session)
        found: UUID | None = await connection.fetchval(_ORDERED_SINCE, user_id, cart_id, seen, but)
        return found


@dataclass(frozen=True, slots=True)
class PostgresOrders:
    """Implements `OrderBooks`."""

    database: Database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[OrderBook]:
        """A transaction of the database."""
        async with self.database.transaction() as session:
            yield PostgresOrderBook(session)

    async def known(self, user_id: UUID, order_id: UUID) -> KnownOrders:
        """One statement and one snapshot."""
        return await known_orders(self.database.primary_reads, user_id, order_id)

    async def read(self, order_id: UUID) -> Order | None:
        """One statement."""
        return await read_order(self.database.primary_reads, order_id)


@cache
def _statement(changed: tuple[str, ...], stamp: str | None, condition: str) -> str:
    """The update with its line of history, in one statement."""
    sets = [f"{name} = ${number}" for number, name in enumerate(changed, start=7)]
    stamps = [stamp] if stamp else []
    returned = [*stamps, "payment_status", "payment_version", "needs_review", "stock_committed_at"]
    return f"""
        WITH moved AS (
            UPDATE orders SET
                {", ".join([*sets, *(f"{name} = clock_timestamp()" for name in stamps)])},
                payment_status = CASE WHEN payment_version < $6 THEN $5 ELSE payment_status END,
                payment_version = greatest(payment_version, $6)
            WHERE id = $1 AND status = $2 AND version = $3 AND {condition}
            RETURNING {", ".join(returned)}
        ), told AS (
            INSERT INTO order_moves ({", ".join(HISTORY)})
            SELECT {", ".join(f"line.{name}" for name in HISTORY)}
            FROM moved, json_populate_record(NULL::order_moves, $4::text::json) AS line
        )
        SELECT * FROM moved
    """  # noqa: S608 - names and conditions of our own


def _members(row: Order | OrderItem, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _json(document: Any) -> str:
    return msgspec.json.encode(document).decode()
