"""The daily statement: what the orders of a day are worth, beside what the provider kept for them.

Every captured attempt belongs to the day (UTC) on which its capture was seen. For each of them

    provider: captured − refunded        order: its total, if this attempt pays it and it stands, − processed refunds

must be the same, or differ by no more than is on its way back. Beyond that a statement names what only one side knows:
money that the provider took and payments has not heard of, and orders that are paid by nothing.

`make_statement` asks the provider, orders, and our own books, in this order and never inside a transaction.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
from pydantic import BaseModel

from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.database import Database
from chassis.jobs import JobOutcome
from chassis.plain_sql import driver_connection
from chassis.telemetry import get_logger
from payments.models import Attempt
from payments.provider import PAGE, Provider, ProviderError, ProviderPayment

DAYS_BACK = 7
"""A day that did not balance is looked at again for so long."""
READY_AFTER = timedelta(hours=1)
"""What is under way at midnight gets this time."""
AGAIN_AFTER = timedelta(hours=6)
MOST_LISTED = 200
"""Differing attempts that a statement names; all are counted."""
ORDERS_PER_CALL = 100

STANDS = ("paid", "shipped", "delivered")

_CAPTURED = """
SELECT attempts.id, provider_payment_id, order_id, captured, attempts.currency,
    coalesce(sum(refunds.amount) FILTER (WHERE refunds.status = 'processed'), 0)::bigint AS processed,
    coalesce(sum(refunds.amount) FILTER (WHERE refunds.status IN ('requested', 'submitted')), 0)::bigint AS under_way
FROM attempts JOIN payments ON payments.id = payment_id LEFT JOIN refunds ON refunds.attempt_id = attempts.id
WHERE captured_at >= $1 AND captured_at < $2 GROUP BY attempts.id, order_id"""

_KNOWN = "SELECT id FROM attempts WHERE id = ANY ($1::uuid[]) AND captured > 0"

# The first payment is the one with the least id, which needs no index of its own.
_DUE = """
SELECT past.day FROM (
    SELECT generate_series(
        greatest(first.created_at, clock_timestamp() - make_interval(days => $1))::date,
        (clock_timestamp() - $2::interval)::date - 1, interval '1 day'
    )::date AS day
    FROM (SELECT created_at FROM payments ORDER BY id LIMIT 1) AS first
) AS past
LEFT JOIN daily_statements AS made USING (day)
WHERE made.day IS NULL
    OR (made.differing_count > 0 OR made.is_under_way) AND made.made_at < clock_timestamp() - $3::interval
ORDER BY past.day DESC"""

_KEEP = """
INSERT INTO daily_statements (day, made_at, sums, differing, differing_count, is_under_way)
VALUES ($1, clock_timestamp(), $2::jsonb, $3::jsonb, $4, $5)
ON CONFLICT (day) DO UPDATE SET made_at = excluded.made_at, sums = excluded.sums, differing = excluded.differing,
    differing_count = excluded.differing_count, is_under_way = excluded.is_under_way"""

_UNBALANCED = """
SELECT coalesce(sum(differing_count), 0) FROM daily_statements
WHERE day >= (clock_timestamp() - make_interval(days => $1))::date"""


class OrderTotal(BaseModel):
    """What payments needs of an order to value it."""

    id: UUID
    number: str
    status: str
    total: int
    currency: str
    paying_attempt_id: UUID | None


class OrderPage(BaseModel):
    """Some of them."""

    items: list[OrderTotal]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One attempt, in minor units of its currency, or an order that no attempt pays."""

    currency: str
    provider_payment_id: str | None = None
    order_id: str | None = None
    order_number: str | None = None
    order_status: str | None = None
    order_total: int = 0
    """0 unless this attempt pays the order and the order stands."""
    order_refunds: int = 0
    """What went back of it while the order stands."""
    captured: int = 0
    refunded: int = 0
    under_way: int = 0
    """Refunds neither processed nor failed."""

    @property
    def difference(self) -> int:
        """What the provider keeps beyond what the order is worth."""
        return (self.captured - self.refunded) - (self.order_total - self.order_refunds)

    @property
    def differs(self) -> bool:
        """By more than what is on its way back."""
        return abs(self.difference) > self.under_way


@dataclass(slots=True)
class Sums:
    """A day in one currency, in minor units."""

    currency: str
    attempts: int = 0
    order_total: int = 0
    order_refunds: int = 0
    captured: int = 0
    refunded: int = 0
    under_way: int = 0
    difference: int = 0

    def add(self, line: Line) -> None:
        """Count one line."""
        self.attempts += line.captured > 0
        for name in ("order_total", "order_refunds", "captured", "refunded", "under_way", "difference"):
            setattr(self, name, getattr(self, name) + getattr(line, name))


@dataclass(slots=True)
class Statement:
    """A day."""

    day: date
    sums: dict[str, Sums] = field(default_factory=dict)
    differing: list[Line] = field(default_factory=list)

    def add(self, lines: Iterable[Line]) -> None:
        """Count these."""
        for line in lines:
            self.sums.setdefault(line.currency, Sums(line.currency)).add(line)
            if line.differs:
                self.differing.append(line)


class Statements:
    """Makes the statements of past days, and those that did not balance again."""

    def __init__(self, database: Database, provider: Provider, orders: InternalClient) -> None:
        self._database = database
        self._provider = provider
        self._orders = orders

    async def make_due(self, _database: Database) -> JobOutcome:
        """The job: every day that is due. Unresolved: attempts and orders that differ, and days not made."""
        made = failed = 0
        for day in await self._due():
            try:
                await self._keep(await self.make_statement(day))
                made += 1
            except (ProviderError, UpstreamUnavailable) as error:
                get_logger().warning("statement not made", day=str(day), error=repr(error))
                failed += 1
        async with self._database.transaction() as session:
            differing = int(await (await driver_connection(session)).fetchval(_UNBALANCED, DAYS_BACK))
        return JobOutcome(found=made, unresolved=differing + failed)

    async def make_statement(self, day: date) -> Statement:
        """The statement as of now. Raises ProviderError, UpstreamUnavailable."""
        begin = datetime.combine(day, time(), UTC)
        end = begin + timedelta(days=1)
        async with self._database.transaction() as session:
            attempts = await (await driver_connection(session)).fetch(_CAPTURED, begin, end)
        seen = await self._at_provider(begin)
        orders = await self._orders_of({attempt["order_id"] for attempt in attempts})
        statement = Statement(day)
        for attempt in attempts:
            name = attempt["provider_payment_id"]
            told = seen.get(name) or await self._provider.payment(name)
            statement.add([_line(attempt, told, orders.get(attempt["order_id"]))])
        statement.add(await self._unknown_to_us([told for told in seen.values() if _day_of(told) == day]))
        statement.add(await self._paid_by_nothing(begin, end))
        return statement

    async def _at_provider(self, since: datetime) -> Mapping[str, ProviderPayment]:
        """Everything that the provider took since then, by its id."""
        found: dict[str, ProviderPayment] = {}
        skip = 0
        while True:
            page = await self._provider.payments_since(int(since.timestamp()), skip=skip)
            found |= {seen.id: seen for seen in page if _took_money(seen)}
            skip += PAGE
            if len(page) < PAGE:
                return found

    async def _unknown_to_us(self, seen: Sequence[ProviderPayment]) -> list[Line]:
        """What the provider took that day and payments does not know to be captured."""
        by_id = {Attempt.id_for(told.id): told for told in seen}
        unknown = set(by_id) - await self._captured_among(list(by_id))
        return [
            Line(
                currency=by_id[attempt_id].currency,
                provider_payment_id=by_id[attempt_id].id,
                captured=by_id[attempt_id].amount,
                refunded=by_id[attempt_id].amount_refunded,
            )
            for attempt_id in sorted(unknown)
        ]

    async def _paid_by_nothing(self, begin: datetime, end: datetime) -> list[Line]:
        """Orders that were paid that day, and stand, by an attempt that payments does not know to be captured."""
        lines: list[Line] = []
        cursor: str | None = None
        while True:
            query = {"paid_from": begin.isoformat(), "paid_before": end.isoformat(), "limit": ORDERS_PER_CALL}
            page = await self._ask("GET", f"/internal/order-totals?{urlencode(query | _cursor(cursor))}")
            standing = [order for order in page.items if order.status in STANDS]
            paid = await self._captured_among([order.paying_attempt_id for order in standing])
            lines += [_unpaid_line(order) for order in standing if order.paying_attempt_id not in paid]
            cursor = page.next_cursor
            if cursor is None:
                return lines

    async def _captured_among(self, attempt_ids: Sequence[UUID | None]) -> set[UUID]:
        async with self._database.transaction() as session:
            connection = await driver_connection(session)
            return {row["id"] for row in await connection.fetch(_KNOWN, [each for each in attempt_ids if each])}

    async def _orders_of(self, order_ids: Iterable[UUID]) -> Mapping[UUID, OrderTotal]:
        ids = sorted(order_ids)
        found: dict[UUID, OrderTotal] = {}
        for start in range(0, len(ids), ORDERS_PER_CALL):
            body = {"ids": [str(order_id) for order_id in ids[start : start + ORDERS_PER_CALL]]}
            page = await self._ask("POST", "/internal/order-totals", body)
            found |= {order.id: order for order in page.items}
        return found

    async def _ask(self, method: str, path: str, body: object = None) -> OrderPage:
        reply = await self._orders.call(method, path, json=body, timeout=10.0)
        if not reply.is_ok:
            get_logger().error("order totals not told", status=reply.status)
            raise UpstreamUnavailable("orders")
        return OrderPage.model_validate(reply.data)

    async def _due(self) -> list[date]:
        async with self._database.transaction() as session:
            connection = await driver_connection(session)
            return [row["day"] for row in await connection.fetch(_DUE, DAYS_BACK, READY_AFTER, AGAIN_AFTER)]

    async def _keep(self, statement: Statement) -> None:
        sums = [asdict(sums) for sums in statement.sums.values()]
        listed = [{**asdict(line), "difference": line.difference} for line in statement.differing[:MOST_LISTED]]
        count = len(statement.differing)
        if count:
            get_logger().error("statement does not balance", day=str(statement.day), differing=count)
        is_under_way = any(each["under_way"] for each in sums)
        async with self._database.transaction() as session:
            connection = await driver_connection(session)
            await connection.execute(_KEEP, statement.day, json.dumps(sums), json.dumps(listed), count, is_under_way)


def _line(attempt: asyncpg.Record, told: ProviderPayment, order: OrderTotal | None) -> Line:
    pays = order is not None and order.paying_attempt_id == attempt["id"] and order.status in STANDS
    return Line(
        currency=attempt["currency"],
        provider_payment_id=told.id,
        order_id=str(attempt["order_id"]),
        order_number=order.number if order else None,
        order_status=order.status if order else None,
        order_total=order.total if order and pays else 0,
        order_refunds=attempt["processed"] if pays else 0,
        captured=told.amount if _took_money(told) else 0,
        refunded=told.amount_refunded,
        under_way=attempt["under_way"],
    )


def _unpaid_line(order: OrderTotal) -> Line:
    return Line(
        currency=order.currency,
        order_id=str(order.id),
        order_number=order.number,
        order_status=order.status,
        order_total=order.total,
    )


def _took_money(seen: ProviderPayment) -> bool:
    return seen.status == "captured" or (seen.status == "refunded" and seen.captured)


def _day_of(seen: ProviderPayment) -> date | None:
    """The day on which the provider made it; None where it does not say."""
    made = seen.raw.get("created_at")
    return datetime.fromtimestamp(made, UTC).date() if type(made) is int else None


def _cursor(cursor: str | None) -> dict[str, str]:
    return {"cursor": cursor} if cursor else {}
