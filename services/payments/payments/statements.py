"""Reading the daily statements: what `daily_statement.py` has made, as staff see it."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import asyncpg
import msgspec

from chassis.money import Money
from chassis.pagination import COUNT_CAP, PageQuery, decode_cursor, encode_cursor
from payments.errors import StatementNotFound
from payments.schemas import (
    SignedMoney,
    StatementAnswer,
    StatementLine,
    StatementList,
    StatementSummary,
    StatementSums,
)

SCOPE = "daily statements"

_COLUMNS = "day, made_at, sums::text AS sums, differing::text AS differing, differing_count, is_under_way"

_ONE = f"SELECT {_COLUMNS} FROM daily_statements WHERE day = $1"  # noqa: S608 - columns of our own

_PAGE = f"""
SELECT {_COLUMNS} FROM daily_statements WHERE day < $1 ORDER BY day DESC LIMIT $2"""  # noqa: S608 - as above

_AMOUNTS = ("order_total", "order_refunds", "captured", "refunded", "under_way")


async def statement_of(reads: asyncpg.Pool, day: date) -> StatementAnswer:
    """One day. Raises StatementNotFound."""
    row = await reads.fetchrow(_ONE, day)
    if row is None:
        raise StatementNotFound("A day's statement is made an hour after its end (UTC).")
    lines = [_line(line) for line in msgspec.json.decode(row["differing"])]
    return StatementAnswer(**_summary(row).model_dump(), differing=lines)


async def statements(reads: asyncpg.Pool, wanted: PageQuery) -> StatementList:
    """The days, newest first."""
    before = date.max
    if wanted.cursor is not None:
        (before,) = decode_cursor(wanted.cursor, SCOPE, date)
    rows = await reads.fetch(_PAGE, before, wanted.limit + 1)
    items = [_summary(row) for row in rows[: wanted.limit]]
    cursor = encode_cursor(SCOPE, items[-1].day.isoformat()) if len(rows) > wanted.limit else None
    counted = {}
    if wanted.count:
        total = await reads.fetchval("SELECT count(*) FROM daily_statements")
        counted = {"total": min(total, COUNT_CAP), "total_is_capped": total > COUNT_CAP}
    return StatementList(items=items, next_cursor=cursor, **counted)


def _summary(row: asyncpg.Record) -> StatementSummary:
    return StatementSummary(
        day=row["day"],
        made_at=row["made_at"],
        is_balanced=row["differing_count"] == 0,
        is_under_way=row["is_under_way"],
        sums=[StatementSums(attempts=sums["attempts"], **_amounts(sums)) for sums in msgspec.json.decode(row["sums"])],
        differing_count=row["differing_count"],
    )


def _line(line: Mapping[str, Any]) -> StatementLine:
    names = ("provider_payment_id", "order_id", "order_number", "order_status")
    return StatementLine(**{name: line[name] for name in names}, **_amounts(line))


def _amounts(row: Mapping[str, Any]) -> dict[str, Any]:
    currency = row["currency"]
    difference = SignedMoney(amount=row["difference"], currency=currency)
    return {name: Money.of(row[name], currency) for name in _AMOUNTS} | {"difference": difference}
