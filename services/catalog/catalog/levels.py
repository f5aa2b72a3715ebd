"""Stock counters and the one way to move them: lock in the order of variant ids, then add.

Every process that moves stock passes through here, so two of them never wait for each other in a circle. The order
is: the reservation's row, stock levels by variant id, products by id. Whoever changes a product starts with the
product and takes no stock level after it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from catalog.events import StockChanged
from catalog.offers import refresh_offers
from catalog.wording import variant_title
from chassis.outbox import record
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


async def move_stock(
    session: AsyncSession, *, locked: Mapping[UUID, Level], moves: Mapping[UUID, Move]
) -> dict[UUID, Level]:
    """Apply moves to locked levels: counters, ledger, `stock.changed`, and the offers that sold out or came back."""
    moving = {key: move for key, move in sorted(moves.items()) if move.on_hand or move.reserved}
    if not moving:
        return dict(locked)
    connection = await driver_connection(session)
    on_hand, reserved = zip(*((move.on_hand, move.reserved) for move in moving.values()), strict=True)
    await connection.execute(_MOVE, list(moving), on_hand, reserved)
    after = {key: _moved(locked[key], move) for key, move in moving.items()}
    await _enter_ledger(session, {key: move for key, move in moving.items() if move.kind is not None}, after)
    changed = [level for level in after.values() if level.available != locked[level.variant_id].available]
    for level in changed:
        await announce_stock(session, level)
    # Only where a variant sold out or came back can the product's offer be another one.
    turned = {
        level.product_id for level in changed if bool(level.available) != bool(locked[level.variant_id].available)
    }
    await refresh_offers(session, turned, lock=True)
    return {**locked, **after}


def _moved(level: Level, move: Move) -> Level:
    return replace(
        level,
        on_hand=level.on_hand + move.on_hand,
        reserved=level.reserved + move.reserved,
        stock_version=level.stock_version + (move.on_hand != move.reserved),
    )


async def _enter_ledger(session: AsyncSession, moves: Mapping[UUID, Move], after: Mapping[UUID, Level]) -> None:
    if not moves:
        return
    entries = [
        (key, move.kind, move.on_hand, after[key].on_hand, move.reason, move.order_id, move.actor_id)
        for key, move in moves.items()
    ]
    connection = await driver_connection(session)
    await connection.execute(_ENTER, *zip(*entries, strict=True))


async def announce_stock(session: AsyncSession, level: Level) -> None:
    """Tell the others what is available now."""
    event = StockChanged(
        variant_id=level.variant_id,
        product_id=level.product_id,
        available=level.available,
        stock_version=level.stock_version,
    )
    await record(session, event, subject=level.variant_id, sequence=level.stock_version)
