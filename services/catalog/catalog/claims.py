"""The rows of a reservation: found under lock, changed with a row of history beside every change.

Every purchase passes here three times, so these statements go to the driver and not through SQLAlchemy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.plain_sql import driver_connection, end_with

BATCH = 100
"""Holds that are found at once."""

Wanted = Mapping[UUID, int]
"""Quantities by variant."""


class Status(StrEnum):
    """Whether stock is held for the order, or what became of it."""

    HELD = "held"
    RELEASED = "released"
    COMMITTED = "committed"
    COMMIT_FAILED = "commit_failed"
    RETURNED = "returned"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Claim:
    """A reservation under lock. `version` 0: there was none until now."""

    order_id: UUID
    status: Status
    hold: int
    version: int
    decided_by: str | None
    is_closed: bool
    items: Wanted
    """What the reservation is about."""

    @property
    def held(self) -> Wanted:
        """What of the stock is reserved for it."""
        return self.items if self.status is Status.HELD else {}

    @property
    def is_decided(self) -> bool:
        """Whether an event of the order was applied: from then on only events count."""
        return self.decided_by is not None or self.is_closed


# What a statement waits for a lock to see, it sees anew only in the locked row: the items are those of before the wait,
# as the version seen beside them tells.
_CLAIM = """
    SELECT claim.status, claim.hold, claim.version, claim.decided_by, claim.is_closed, items.variant_ids,
        items.quantities, coalesce(seen.version, 0) AS version_of_items
    FROM claim
    LEFT JOIN reservations AS seen ON seen.order_id = $1
    CROSS JOIN (
        SELECT array_agg(variant_id) AS variant_ids, array_agg(quantity) AS quantities
        FROM reservation_items WHERE order_id = $1
    ) AS items
"""
_OPEN = f"""
    WITH claim AS (
        INSERT INTO reservations (order_id, status, hold, version, is_closed)
        VALUES ($1, 'released', 0, 0, false)
        ON CONFLICT (order_id) DO UPDATE SET order_id = excluded.order_id
        RETURNING status, hold, version, decided_by, is_closed
    )
    {_CLAIM}
"""  # noqa: S608 - made of constants
_FIND = f"""
    WITH claim AS (
        SELECT status, hold, version, decided_by, is_closed FROM reservations WHERE order_id = $1 FOR NO KEY UPDATE
    )
    {_CLAIM}
"""  # noqa: S608 - made of constants
_ITEMS = "SELECT variant_id, quantity FROM reservation_items WHERE order_id = $1"
_TRANSITION = """
    WITH {also} changed AS (
        UPDATE reservations
        SET status = $3::text, hold = $5, version = version + 1, is_closed = $8,
            decided_by = coalesce($6::text, decided_by),
            touched_at = CASE WHEN $4::text = 'put' THEN clock_timestamp() ELSE touched_at END,
            confirmed_at = CASE WHEN $7 THEN coalesce(confirmed_at, clock_timestamp()) END
        WHERE order_id = $1
        RETURNING order_id
    )
    INSERT INTO reservation_history (order_id, from_status, to_status, cause, hold)
    SELECT order_id, $2::text, $3::text, $4::text, $5 FROM changed
"""
_WITH_ITEMS = _TRANSITION.format(
    also="""
    dropped AS (
        DELETE FROM reservation_items WHERE order_id = $1 AND variant_id <> ALL ($9::uuid[])
    ), put AS (
        INSERT INTO reservation_items (order_id, variant_id, quantity)
        SELECT $1, * FROM unnest($9::uuid[], $10::int[])
        ON CONFLICT (order_id, variant_id) DO UPDATE SET quantity = excluded.quantity
    ),
    """
)
_WITHOUT_ITEMS = _TRANSITION.format(also="")


async def open_claim(session: AsyncSession, order_id: UUID) -> Claim:
    """The order's reservation, made if there is none, locked."""
    connection = await driver_connection(session)
    return await _claim(session, order_id, await connection.fetchrow(_OPEN, order_id))


async def find_claim(session: AsyncSession, order_id: UUID) -> Claim | None:
    """The order's reservation, locked, if there is one."""
    connection = await driver_connection(session)
    row = await connection.fetchrow(_FIND, order_id)
    return None if row is None else await _claim(session, order_id, row)


async def _claim(session: AsyncSession, order_id: UUID, row: Any) -> Claim:
    status, hold, version, decided_by, is_closed, variant_ids, quantities, version_of_items = row
    items = dict(zip(variant_ids or (), quantities or (), strict=True))
    if version_of_items != version:
        connection = await driver_connection(session)
        items = {row["variant_id"]: row["quantity"] for row in await connection.fetch(_ITEMS, order_id)}
    return Claim(order_id, Status(status), hold, version, decided_by, is_closed, items)


def transition(
    session: AsyncSession,
    claim: Claim,
    status: Status,
    *,
    cause: str,
    items: Wanted | None = None,
    hold: int | None = None,
    is_confirmed: bool = False,
    is_closed: bool = False,
) -> None:
    """Write the new state and its row of history, with the commit; with `items`, what it is about from now on."""
    new = () if items is None or items == claim.items else (list(items), list(items.values()))
    end_with(
        session,
        _WITH_ITEMS if new else _WITHOUT_ITEMS,
        claim.order_id,
        claim.status.value if claim.version else None,
        status.value,
        cause,
        claim.hold if hold is None else hold,
        cause if cause.startswith("order.") else None,
        is_confirmed,
        is_closed,
        *new,
    )


async def unconfirmed_holds(session: AsyncSession, *, older_than: float, skip: int) -> list[tuple[UUID, int]]:
    """Order ids and holds that no order has confirmed and no request has touched for so many seconds."""
    found = await session.execute(
        text("""
            SELECT order_id, hold FROM reservations
            WHERE status = 'held' AND confirmed_at IS NULL
                AND touched_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY touched_at, order_id LIMIT :limit OFFSET :skip
        """),
        {"seconds": older_than, "limit": BATCH, "skip": skip},
    )
    return [(row.order_id, row.hold) for row in found]


async def overdue_holds(session: AsyncSession, *, older_than: float, skip: int) -> list[UUID]:
    """Orders whose confirmed hold is older than so many seconds."""
    found = await session.execute(
        text("""
            SELECT order_id FROM reservations
            WHERE status = 'held' AND confirmed_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY confirmed_at, order_id LIMIT :limit OFFSET :skip
        """),
        {"seconds": older_than, "limit": BATCH, "skip": skip},
    )
    return list(found.scalars())
