"""What orders are worth, for the daily statement that payments makes of the shop's money."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from chassis.pagination import PageQuery, decode_cursor, encode_cursor
from chassis.strict import Time
from orders.schemas import OrderTotal, OrderTotals

PLACED_BEFORE = timedelta(days=2)
"""An order is paid or closed within hours of its placing; the index of that time finds it."""

_COLUMNS = "id, number, status, total, currency, paying_attempt_id, paid_at, placed_at"

_THESE = f"SELECT {_COLUMNS} FROM orders WHERE id = ANY ($1::uuid[])"  # noqa: S608 - columns of our own

_PAID = f"""
SELECT {_COLUMNS} FROM orders
WHERE paid_at >= $1 AND paid_at < $2 AND total > 0
    AND placed_at >= $3 AND (placed_at, id) < ($4, $5)
ORDER BY placed_at DESC, id DESC LIMIT $6"""  # noqa: S608 - as above

_GREATEST = UUID(int=2**128 - 1)


class PaidBetween(PageQuery):
    """Orders paid from a moment on and before another one."""

    paid_from: Time
    paid_before: Time


async def these(reads: asyncpg.Pool, order_ids: Sequence[UUID]) -> OrderTotals:
    """Those of these orders that exist."""
    rows = await reads.fetch(_THESE, list(order_ids))
    return OrderTotals(items=[_total(row) for row in rows], next_cursor=None)


async def paid_between(reads: asyncpg.Pool, wanted: PaidBetween) -> OrderTotals:
    """A page of the orders that were paid in that time with more than nothing, whatever became of them since."""
    scope = f"paid {wanted.paid_from} {wanted.paid_before}"
    place: tuple[Any, ...] = (wanted.paid_before, _GREATEST)
    if wanted.cursor is not None:
        place = decode_cursor(wanted.cursor, scope, datetime, UUID)
    since = wanted.paid_from - PLACED_BEFORE
    rows = await reads.fetch(_PAID, wanted.paid_from, wanted.paid_before, since, *place, wanted.limit + 1)
    page = rows[: wanted.limit]
    cursor = encode_cursor(scope, page[-1]["placed_at"], page[-1]["id"]) if len(rows) > wanted.limit else None
    return OrderTotals(items=[_total(row) for row in page], next_cursor=cursor)


def _total(row: asyncpg.Record) -> OrderTotal:
    return OrderTotal(**{name: row[name] for name in OrderTotal.model_fields})
