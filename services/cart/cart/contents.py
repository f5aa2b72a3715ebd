"""What a shopper sees in the cart: items with today's prices and stock, marks for what changed, and totals.

Reading is one statement for every case: the user's cart, else the live cart of the guest's token, else nothing. It
also tells whether a guest's cart waits to be merged, and what its merge had to cap. A change answers from the cart
that it holds locked, with no further statement.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cart.locked_cart import LockedCart, Offer
from chassis.database import Database
from chassis.strict import format_time

_CONTENTS = """
SELECT cart.id, cart.version, cart.updated_at,
       caller.user_id IS NOT NULL AND guest.id IS NOT NULL AND guest.merged_into IS NULL,
       CASE WHEN guest.merged_into = cart.id THEN guest.capped END,
       item.id, item.quantity, item.seen_price, offers.*
FROM (SELECT $1::uuid AS user_id, $2::varchar AS token_hash) AS caller
LEFT JOIN carts AS guest ON guest.token_hash = caller.token_hash
LEFT JOIN carts AS cart ON cart.id = CASE
    WHEN caller.user_id IS NOT NULL THEN (SELECT own.id FROM carts AS own WHERE own.user_id = caller.user_id)
    WHEN guest.merged_into IS NULL THEN guest.id END
LEFT JOIN cart_items AS item ON item.cart_id = cart.id
LEFT JOIN offers ON offers.variant_id = item.variant_id
ORDER BY item.id
"""

Document = dict[str, Any]
"""A cart as a client reads it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A cart as it was read."""

    document: Document
    guest_waits: bool
    """The caller is a user and carries the live token of a guest's cart that is not merged yet."""


async def read(database: Database, *, user_id: UUID | None, token_hash: str | None, currency: str) -> Contents:
    """The cart as last committed, read on the primary: a shopper must see the own last write."""
    rows = await database.primary_reads.fetch(_CONTENTS, user_id, token_hash)
    cart_id, version, updated_at, guest_waits, capped, first_item, *_ = rows[0]
    items = []
    if first_item is not None:
        for _, _, _, _, _, item_id, quantity, seen_price, *offer in rows:
            items.append(_item(item_id, quantity, seen_price, Offer(*offer), currency))
    document = _document(cart_id, version or 0, updated_at, items, currency)
    return Contents(document | {"capped": [] if capped is None else msgspec.Raw(capped.encode())}, bool(guest_waits))


async def of(cart: LockedCart | None, *, capped: list[dict[str, Any]], currency: str) -> Document:
    """The cart as this transaction is about to leave it."""
    if cart is None:
        return _document(None, 0, None, [], currency)
    await cart.save()
    items = [
        _item(item.id, item.quantity, item.seen_price, cart.offers[item.variant_id], currency)
        for item in sorted(cart.items.values(), key=lambda item: item.id)
    ]
    return _document(cart.id, cart.version, cart.updated_at, items, currency) | {"capped": capped}


def _document(
    cart_id: UUID | None, version: int, updated_at: datetime | None, items: list[Document], currency: str
) -> Document:
    return {
        "id": None if cart_id is None else str(cart_id),
        "version": version,
        "currency": currency,
        "items": items,
        "item_count": sum(item["quantity"] for item in items),
        "subtotal": _money(sum(item["line_total"]["amount"] for item in items), currency),
        "updated_at": None if updated_at is None else format_time(updated_at),
        "capped": [],
    }


def _item(item_id: UUID, quantity: int, seen_price: int, offer: Offer, currency: str) -> Document:
    available = offer.available or 0
    return {
        "id": str(item_id),
        "variant_id": str(offer.variant_id),
        "product_id": str(offer.product_id),
        "sku": offer.sku,
        "name": offer.name,
        "image_url": offer.image_url,
        "quantity": quantity,
        "unit_price": _money(offer.unit_price, currency),
        "line_total": _money(offer.unit_price * quantity, currency),
        "available": available,
        "price_changed": seen_price != offer.unit_price,
        "insufficient_stock": quantity > available,
    }


def _money(amount: int, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency}
