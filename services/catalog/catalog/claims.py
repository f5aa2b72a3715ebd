"""The rows of a reservation: found under lock, changed with a row of history beside every change."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

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

    @property
    def is_decided(self) -> bool:
        """Whether an event of the order was applied: from then on only events count."""
        return self.decided_by is not None or self.is_closed


_OPEN = text("""
    INSERT INTO reservations (order_id, status, hold, version, is_closed)
    VALUES (:order_id, 'released', 0, 0, false)
    ON CONFLICT (order_id) DO UPDATE SET order_id = excluded.order_id
    RETURNING status, hold, version, decided_by, is_closed
""")
_ITEMS = text("SELECT variant_id, quantity FROM reservation_items WHERE order_id = :order_id")
_SET_ITEMS = text("""
    WITH dropped AS (
        DELETE FROM reservation_items
        WHERE order_id = :order_id AND variant_id <> ALL (CAST(:variant_ids AS uuid[]))
    )
    INSERT INTO reservation_items (order_id, variant_id, quantity)
    SELECT :order_id, * FROM unnest(CAST(:variant_ids AS uuid[]), CAST(:quantities AS int[]))
    ON CONFLICT (order_id, variant_id) DO UPDATE SET quantity = excluded.quantity
""")
_TRANSITION = text("""
    WITH changed AS (
        UPDATE reservations
        SET status = :status, hold = :hold, version = version + 1, is_closed = :is_closed,
            decided_by = coalesce(:decided_by, decided_by),
            touched_at = CASE WHEN :cause = 'put' THEN clock_timestamp() ELSE touched_at END,
            confirmed_at = CASE WHEN :is_confirmed THEN coalesce(confirmed_at, clock_timestamp()) END
        WHERE order_id = :order_id
        RETURNING order_id
    )
    INSERT INTO reservation_history (order_id, from_status, to_status, cause, hold)
    SELECT order_id, :from_status, :status, :cause, :hold FROM changed
""")


async def open_claim(session: AsyncSession, order_id: UUID) -> Claim:
    """The order's reservation, made if there is none, locked."""
    row = (await session.execute(_OPEN, {"order_id": order_id})).one()
    return Claim(order_id, Status(row.status), row.hold, row.version, row.decided_by, row.is_closed)


async def find_claim(session: AsyncSession, order_id: UUID) -> Claim | None:
    """The order's reservation, locked, if there is one."""
    found = await session.execute(
        text("""
            SELECT status, hold, version, decided_by, is_closed FROM reservations
            WHERE order_id = :order_id FOR NO KEY UPDATE
        """),
        {"order_id": order_id},
    )
    row = found.one_or_none()
    if row is None:
        return None
    return Claim(order_id, Status(row.status), row.hold, row.version, row.decided_by, row.is_closed)


async def claimed_items(session: AsyncSession, claim: Claim) -> dict[UUID, int]:
    """What the reservation is about."""
    found = await session.execute(_ITEMS, {"order_id": claim.order_id})
    return {row.variant_id: row.quantity for row in found}


async def set_items(session: AsyncSession, claim: Claim, wanted: Wanted) -> None:
    """What the reservation is about from now on."""
    items = {"variant_ids": list(wanted), "quantities": list(wanted.values())}
    await session.execute(_SET_ITEMS, {"order_id": claim.order_id, **items})


async def transition(
    session: AsyncSession,
    claim: Claim,
    status: Status,
    *,
    cause: str,
    hold: int | None = None,
    is_confirmed: bool = False,
    is_closed: bool = False,
) -> None:
    """Write the new state and its row of history."""
    values = {
        "order_id": claim.order_id,
        "from_status": claim.status.value if claim.version else None,
        "status": status.value,
        "cause": cause,
        "hold": claim.hold if hold is None else hold,
        "decided_by": cause if cause.startswith("order.") else None,
        "is_confirmed": is_confirmed,
        "is_closed": is_closed,
    }
    await session.execute(_TRANSITION, values)


async def unconfirmed_holds(session: AsyncSession, *, older_than: float) -> list[tuple[UUID, int]]:
    """Order ids and holds that no order has confirmed and no request has touched for so many seconds."""
    found = await session.execute(
        text("""
            SELECT order_id, hold FROM reservations
            WHERE status = 'held' AND confirmed_at IS NULL
                AND touched_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY touched_at LIMIT 100
        """),
        {"seconds": older_than},
    )
    return [(row.order_id, row.hold) for row in found]


async def overdue_holds(session: AsyncSession, *, older_than: float) -> list[UUID]:
    """Orders whose confirmed hold is older than so many seconds."""
    found = await session.execute(
        text("""
            SELECT order_id FROM reservations
            WHERE status = 'held' AND confirmed_at < clock_timestamp() - make_interval(secs => :seconds)
            ORDER BY confirmed_at LIMIT 100
        """),
        {"seconds": older_than},
    )
    return list(found.scalars())
