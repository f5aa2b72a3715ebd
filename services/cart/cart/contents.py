"""What a shopper sees in the cart: items with today's prices and stock, marks for what changed, and totals.

One statement answers every case, in and out of a transaction: the user's cart, else the live cart of the guest's
token, else nothing. It also tells whether a guest's cart waits to be merged, and what its merge had to cap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database
from chassis.strict import format_time

_CONTENTS = """
SELECT cart.id, cart.version, cart.updated_at,
       caller.user_id IS NOT NULL AND guest.id IS NOT NULL AND guest.merged_into IS NULL,
       CASE WHEN guest.merged_into = cart.id THEN CAST(guest.capped AS text) END,
       item.id, item.variant_id, variant.product_id, variant.sku, variant.name, variant.image_url,
       item.quantity, variant.unit_price, item.seen_price,
       CASE WHEN variant.is_active
                 AND product.is_withdrawn IS NOT TRUE
                 AND coalesce(product.version, 0) <= variant.product_version
            THEN coalesce(stock.available, 0) ELSE 0 END
FROM (SELECT CAST(:user_id AS uuid) AS user_id, CAST(:token_hash AS varchar) AS token_hash) AS caller
LEFT JOIN carts AS guest ON guest.token_hash = caller.token_hash
LEFT JOIN carts AS cart ON cart.id = CASE
    WHEN caller.user_id IS NOT NULL THEN (SELECT own.id FROM carts AS own WHERE own.user_id = caller.user_id)
    WHEN guest.merged_into IS NULL THEN guest.id END
LEFT JOIN cart_items AS item ON item.cart_id = cart.id
LEFT JOIN variant_copies AS variant ON variant.variant_id = item.variant_id
LEFT JOIN product_copies AS product ON product.product_id = variant.product_id
LEFT JOIN stock_copies AS stock ON stock.variant_id = item.variant_id
ORDER BY item.id
"""
_IN_TRANSACTION = text(_CONTENTS)
_IN_POOL = _CONTENTS.replace(":user_id", "$1").replace(":token_hash", "$2")


@dataclass(frozen=True, slots=True)
class Contents:
    """A cart as a client reads it."""

    document: dict[str, Any]
    guest_waits: bool
    """The caller is a user and carries the live token of a guest's cart that is not merged yet."""


async def read(database: Database, *, user_id: UUID | None, token_hash: str | None, currency: str) -> Contents:
    """The cart as last committed, by one statement on the primary: a shopper must see the own last write."""
    rows = await database.primary_reads.fetch(_IN_POOL, user_id, token_hash)
    return _contents(rows, currency)


async def read_within(
    session: AsyncSession, *, user_id: UUID | None, token_hash: str | None, currency: str
) -> Contents:
    """The cart as this transaction is about to leave it."""
    await session.flush()
    rows = await session.execute(_IN_TRANSACTION, {"user_id": user_id, "token_hash": token_hash})
    return _contents(rows.all(), currency)


def _contents(rows: Sequence[Any], currency: str) -> Contents:
    cart_id, version, updated_at, guest_waits, capped, first_item, *_ = rows[0]
    items = [_item(row, currency) for row in rows] if first_item is not None else []
    document = {
        "id": None if cart_id is None else str(cart_id),
        "version": version or 0,
        "currency": currency,
        "items": items,
        "item_count": sum(item["quantity"] for item in items),
        "subtotal": _money(sum(item["line_total"]["amount"] for item in items), currency),
        "updated_at": None if updated_at is None else format_time(updated_at),
        "capped": [] if capped is None else msgspec.Raw(capped.encode()),
    }
    return Contents(document=document, guest_waits=bool(guest_waits))


def _item(row: Iterable[Any], currency: str) -> dict[str, Any]:
    _, _, _, _, _, item_id, variant_id, product_id, sku, name, image_url, quantity, price, seen, available = row
    return {
        "id": str(item_id),
        "variant_id": str(variant_id),
        "product_id": str(product_id),
        "sku": sku,
        "name": name,
        "image_url": image_url,
        "quantity": quantity,
        "unit_price": _money(price, currency),
        "line_total": _money(price * quantity, currency),
        "available": available,
        "price_changed": seen != price,
        "insufficient_stock": quantity > available,
    }


def _money(amount: int, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency}
