"""The rows of stock counters and their ledger: locked in the order of variant ids, then added to.

How stock is moved is told in `stockroom.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from catalog.wording import variant_title
from chassis.plain_sql import driver_connection


@dataclass(frozen=True, slots=True)
class Level:
    """The counters of one variant, under lock, and what is sold under that name."""

    variant_id: UUID
    product_id: UUID
    on_hand: int
    reserved: int
    stock_version: int
    low_stock_threshold: int
    sku: str
    product_name: str
    variant_name: str
    unit_price: int
    image_url: str | None
    is_sellable: bool

    @property
    def available(self) -> int:
        """What may still be promised."""
        return self.on_hand - self.reserved

    @property
    def title(self) -> str:
        """How the variant is called on an order."""
        return variant_title(self.product_name, self.variant_name)


@dataclass(frozen=True, slots=True)
class Move:
    """How the counters of one variant change. `kind` names the row of the ledger; None when nothing comes or goes."""

    on_hand: int = 0
    reserved: int = 0
    kind: str | None = None
    reason: str | None = field(default=None, kw_only=True)
    order_id: UUID | None = field(default=None, kw_only=True)
    actor_id: UUID | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: what moved, and what is on hand since."""

    variant_id: UUID
    move: Move
    on_hand: int


_LOCK = """
    SELECT level.variant_id, level.product_id, level.on_hand, level.reserved, level.stock_version,
        level.low_stock_threshold, variant.sku, product.name AS product_name, variant.name AS variant_name,
        variant.price AS unit_price, product.image_url,
        variant.deleted_at IS NULL AND variant.is_active AND product.deleted_at IS NULL AND product.is_active
            AS is_sellable
    FROM stock_levels AS level
    JOIN variants AS variant ON variant.id = level.variant_id
    JOIN products AS product ON product.id = level.product_id
    WHERE level.variant_id = ANY ($1::uuid[])
    ORDER BY level.variant_id
    FOR NO KEY UPDATE OF level
"""

_MOVE = """
    UPDATE stock_levels AS level
    SET on_hand = level.on_hand + moved.on_hand,
        reserved = level.reserved + moved.reserved,
        stock_version = level.stock_version + (moved.on_hand <> moved.reserved)::int
    FROM unnest($1::uuid[], $2::int[], $3::int[]) AS moved (variant_id, on_hand, reserved)
    WHERE level.variant_id = moved.variant_id
"""

_ENTER = """
    INSERT INTO stock_movements (variant_id, kind, delta, on_hand, reason, order_id, actor_id)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::uuid[], $7::uuid[])
"""

_COMMIT_HELD = """
    WITH locked AS (
        SELECT variant_id FROM stock_levels WHERE variant_id = ANY ($2::uuid[])
        ORDER BY variant_id FOR NO KEY UPDATE
    ), sold AS (
        UPDATE stock_levels AS level
        SET on_hand = level.on_hand - held.quantity, reserved = level.reserved - held.quantity
        FROM locked JOIN unnest($2::uuid[], $3::int[]) AS held (variant_id, quantity) USING (variant_id)
        WHERE level.variant_id = locked.variant_id
        RETURNING level.variant_id, held.quantity, level.on_hand
    )
    INSERT INTO stock_movements (variant_id, kind, delta, on_hand, order_id)
    SELECT variant_id, 'committed', -quantity, on_hand, $1 FROM sold ORDER BY variant_id
"""


async def lock_levels(session: AsyncSession, variant_ids: Iterable[UUID]) -> dict[UUID, Level]:
    """The levels of the variants, locked until the transaction ends; unknown variants are absent."""
    connection = await driver_connection(session)
    found = await connection.fetch(_LOCK, list(variant_ids))
    return {row[0]: Level(*row) for row in found}


async def commit_held(session: AsyncSession, held: Mapping[UUID, int], *, order_id: UUID) -> None:
    """Let what is reserved leave the shelf, with its rows of the ledger; what is available stays what it was."""
    connection = await driver_connection(session)
    await connection.execute(_COMMIT_HELD, order_id, list(held), list(held.values()))


async def move_levels(session: AsyncSession, moves: Mapping[UUID, Move]) -> None:
    """Add to the counters of locked levels; the version rises where what is available changes."""
    connection = await driver_connection(session)
    on_hand, reserved = zip(*((move.on_hand, move.reserved) for move in moves.values()), strict=True)
    await connection.execute(_MOVE, list(moves), on_hand, reserved)


async def enter_ledger(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """Lines of the ledger."""
    connection = await driver_connection(session)
    await connection.execute(_ENTER, *zip(*(_columns(entry) for entry in entries), strict=True))


def _columns(entry: Entry) -> tuple[UUID, str | None, int, int, str | None, UUID | None, UUID | None]:
    move = entry.move
    return entry.variant_id, move.kind, move.on_hand, entry.on_hand, move.reason, move.order_id, move.actor_id
