"""Stock counters and the one way to move them: lock in the order of variant ids, then add.

Every process that moves stock passes through here, so two of them never wait for each other in a circle. The order
is: the reservation's row, stock levels by variant id, products by id. Whoever changes a product starts with the
product and takes no stock level after it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.events import StockChanged
from catalog.offers import refresh_offers
from catalog.wording import variant_title
from chassis.outbox import record


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


_LOCK = text("""
    SELECT level.variant_id, level.product_id, level.on_hand, level.reserved, level.stock_version,
        level.low_stock_threshold, variant.sku, product.name AS product_name, variant.name AS variant_name,
        variant.price AS unit_price, product.image_url,
        variant.deleted_at IS NULL AND variant.is_active AND product.deleted_at IS NULL AND product.is_active
            AS is_sellable
    FROM stock_levels AS level
    JOIN variants AS variant ON variant.id = level.variant_id
    JOIN products AS product ON product.id = level.product_id
    WHERE level.variant_id = ANY (CAST(:variant_ids AS uuid[]))
    ORDER BY level.variant_id
    FOR NO KEY UPDATE OF level
""")

_MOVE = text("""
    UPDATE stock_levels AS level
    SET on_hand = level.on_hand + moved.on_hand,
        reserved = level.reserved + moved.reserved,
        stock_version = level.stock_version + (moved.on_hand <> moved.reserved)::int
    FROM unnest(
        CAST(:variant_ids AS uuid[]), CAST(:on_hand AS int[]), CAST(:reserved AS int[])
    ) AS moved (variant_id, on_hand, reserved)
    WHERE level.variant_id = moved.variant_id
""")

_ENTER = text("""
    INSERT INTO stock_movements (variant_id, kind, delta, on_hand, reason, order_id, actor_id)
    SELECT * FROM unnest(
        CAST(:variant_ids AS uuid[]), CAST(:kinds AS text[]), CAST(:deltas AS int[]), CAST(:on_hand AS int[]),
        CAST(:reasons AS text[]), CAST(:order_ids AS uuid[]), CAST(:actor_ids AS uuid[])
    )
""")


async def lock_levels(session: AsyncSession, variant_ids: Iterable[UUID]) -> dict[UUID, Level]:
    """The levels of the variants, locked until the transaction ends; unknown variants are absent."""
    found = await session.execute(_LOCK, {"variant_ids": list(variant_ids)})
    return {row.variant_id: Level(*row) for row in found}


async def move_stock(
    session: AsyncSession, *, locked: Mapping[UUID, Level], moves: Mapping[UUID, Move]
) -> dict[UUID, Level]:
    """Apply moves to locked levels: counters, ledger, `stock.changed`, and the offers that sold out or came back."""
    moving = {key: move for key, move in sorted(moves.items()) if move.on_hand or move.reserved}
    if not moving:
        return dict(locked)
    counters = {
        "variant_ids": list(moving),
        "on_hand": [move.on_hand for move in moving.values()],
        "reserved": [move.reserved for move in moving.values()],
    }
    await session.execute(_MOVE, counters)
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
    entries = {
        "variant_ids": list(moves),
        "kinds": [move.kind for move in moves.values()],
        "deltas": [move.on_hand for move in moves.values()],
        "on_hand": [after[key].on_hand for key in moves],
        "reasons": [move.reason for move in moves.values()],
        "order_ids": [move.order_id for move in moves.values()],
        "actor_ids": [move.actor_id for move in moves.values()],
    }
    await session.execute(_ENTER, entries)


async def announce_stock(session: AsyncSession, level: Level) -> None:
    """Tell the others what is available now."""
    event = StockChanged(
        variant_id=level.variant_id,
        product_id=level.product_id,
        available=level.available,
        stock_version=level.stock_version,
    )
    await record(session, event, subject=level.variant_id, sequence=level.stock_version)
