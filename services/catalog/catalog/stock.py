"""Staff count what is on the shelf: levels, adjustments and the ledger of every movement."""

from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.answers import LowStockPage, MovementPage, StockAnswer
from catalog.errors import StockAboveLimit, StockBelowReserved, VariantNotFound
from catalog.levels import Level, Move
from catalog.schemas import MAX_STOCK
from catalog.stockroom import Stockroom, move_stock
from chassis.pagination import COUNT_CAP, PageQuery, decode_cursor, encode_cursor

_BigInt = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Int = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

_LEVEL = text("""
    SELECT level.variant_id, variant.sku, level.on_hand, level.reserved,
        level.on_hand - level.reserved AS available, level.low_stock_threshold
    FROM stock_levels AS level JOIN variants AS variant ON variant.id = level.variant_id
    WHERE level.variant_id = :variant_id
""")
_LOW = """
    SELECT s.variant_id, v.sku, s.on_hand, s.reserved, s.on_hand - s.reserved AS available, s.low_stock_threshold,
        p.id AS product_id, p.name AS product_name, v.name AS variant_name
    FROM stock_levels s
    JOIN variants v ON v.id = s.variant_id AND v.deleted_at IS NULL
    JOIN products p ON p.id = s.product_id AND p.deleted_at IS NULL
    WHERE s.on_hand - s.reserved <= s.low_stock_threshold
        AND (s.on_hand - s.reserved, s.variant_id) > ($1::int, $2::uuid)
    ORDER BY s.on_hand - s.reserved, s.variant_id
    LIMIT $3
"""
_LOW_COUNT = f"""
    SELECT count(*) FROM (
        SELECT FROM stock_levels s
        JOIN variants v ON v.id = s.variant_id AND v.deleted_at IS NULL
        JOIN products p ON p.id = s.product_id AND p.deleted_at IS NULL
        WHERE s.on_hand - s.reserved <= s.low_stock_threshold LIMIT {COUNT_CAP + 1}
    ) AS low
"""  # noqa: S608 - made of constants
_MOVEMENTS = """
    SELECT number, kind, delta, on_hand, reason, order_id, actor_id, created_at
    FROM stock_movements WHERE variant_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3
"""
_MOVEMENT_COUNT = f"""
    SELECT count(*) FROM (SELECT FROM stock_movements WHERE variant_id = $1 LIMIT {COUNT_CAP + 1}) AS movement
"""  # noqa: S608 - made of constants


async def adjust_stock(room: Stockroom, variant_id: UUID, *, delta: int, reason: str, actor_id: UUID) -> StockAnswer:
    """Add to what is on hand, or take from it. Raises VariantNotFound, StockBelowReserved, StockAboveLimit."""
    locked = await room.lock_levels([variant_id])
    if variant_id not in locked:
        raise VariantNotFound("Read its product again to see its variants.")
    level = locked[variant_id]
    on_hand = level.on_hand + delta
    if on_hand < level.reserved:
        raise StockBelowReserved(
            "Orders hold more than would be left; cancel some of them, or take less.",
            on_hand=level.on_hand,
            reserved=level.reserved,
        )
    if on_hand > MAX_STOCK:
        raise StockAboveLimit(f"At most {MAX_STOCK} can be on hand.", on_hand=level.on_hand)
    move = Move(delta, kind="adjustment", reason=reason, actor_id=actor_id)
    moved = await move_stock(room, locked=locked, moves={variant_id: move})
    return _answer(moved[variant_id])


async def stock_of(session: AsyncSession, variant_id: UUID) -> StockAnswer:
    """What is on hand, reserved and available. Raises VariantNotFound."""
    row = (await session.execute(_LEVEL, {"variant_id": variant_id})).one_or_none()
    if row is None:
        raise VariantNotFound("Read its product again to see its variants.")
    return StockAnswer.model_validate(row)


async def low_stock(reads: asyncpg.Pool, page: PageQuery) -> LowStockPage:
    """Variants at or below their threshold, the scarcest first."""
    after: tuple[Any, ...] = (-1, UUID(int=0))
    if page.cursor is not None:
        after = decode_cursor(page.cursor, "low-stock", _Int, UUID)
    rows = [dict(row) for row in await reads.fetch(_LOW, *after, page.limit + 1)]
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    cursor = encode_cursor("low-stock", rows[-1]["available"], rows[-1]["variant_id"]) if more else None
    total = await reads.fetchval(_LOW_COUNT) if page.count else None
    return LowStockPage.model_validate({"items": rows, "next_cursor": cursor, **_total(total)})


async def movements_of(reads: asyncpg.Pool, variant_id: UUID, page: PageQuery) -> MovementPage:
    """The ledger of a variant, newest first. Raises VariantNotFound."""
    scope = f"movements {variant_id}"
    (before,) = decode_cursor(page.cursor, scope, _BigInt) if page.cursor is not None else (2**63 - 1,)
    rows = [dict(row) for row in await reads.fetch(_MOVEMENTS, variant_id, before, page.limit + 1)]
    if not rows and await reads.fetchval("SELECT 1 FROM stock_levels WHERE variant_id = $1", variant_id) is None:
        raise VariantNotFound("Read its product again to see its variants.")
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    cursor = encode_cursor(scope, rows[-1]["number"]) if more else None
    total = await reads.fetchval(_MOVEMENT_COUNT, variant_id) if page.count else None
    return MovementPage.model_validate({"items": rows, "next_cursor": cursor, **_total(total)})


def _answer(level: Level) -> StockAnswer:
    return StockAnswer(
        variant_id=level.variant_id,
        sku=level.sku,
        on_hand=level.on_hand,
        reserved=level.reserved,
        available=level.available,
        low_stock_threshold=level.low_stock_threshold,
    )


def _total(count: int | None) -> dict[str, Any]:
    if count is None:
        return {}
    return {"total": min(count, COUNT_CAP), "total_is_capped": count > COUNT_CAP}
