"""What cart did about one order, for whoever follows it through the shop: it took the items, or gave them back."""

from uuid import UUID

import asyncpg
import msgspec

from chassis.traces import Kind, TraceEntry, published

_ORDER = "SELECT state, items::text AS items, updated_at FROM cart_orders WHERE order_id = $1"


async def trace_of(reads: asyncpg.Pool, order_id: UUID) -> list[TraceEntry]:
    """One entry at most: cart keeps what became of an order, not the way there."""
    entries = await published(reads, order_id)
    row = await reads.fetchrow(_ORDER, order_id)
    if row is not None:
        entries.append(
            TraceEntry(
                at=row["updated_at"],
                kind=Kind.TRANSITION,
                what="items of the cart",
                outcome=row["state"],
                details={"items": msgspec.json.decode(row["items"])},
            )
        )
    return entries
