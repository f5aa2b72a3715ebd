"""One order with its items, read in one statement by the driver: no other row is read as often."""

from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy.orm import configure_mappers

from orders.models import CloseReason, Order, OrderItem, PaymentStatus, Status, orders


class _Item(msgspec.Struct):
    id: UUID
    order_id: UUID
    position: int
    variant_id: UUID
    product_id: UUID
    sku: str
    name: str
    image_url: str | None
    quantity: int
    price_at_purchase: int


# As text, since a session's connection decodes documents and that of a pool does not.
_DOCUMENTS = {"shipping_address", "billing_address"}
_COLUMNS = [
    f"{name}::text AS {name}" if name in _DOCUMENTS else name
    for name in orders.columns.keys()  # noqa: SIM118 - not a dict
]
_ORDER = f"""
    SELECT {", ".join(_COLUMNS)}, (
        SELECT json_agg(order_items ORDER BY position)::text FROM order_items WHERE order_id = orders.id
    ) AS items
    FROM orders WHERE id = $1
"""  # noqa: S608 - the columns of our own table
_UNSPENT = f"""
    SELECT ordered.*, NOT EXISTS (SELECT FROM orders WHERE paying_attempt_id = $2 AND id <> $1) AS is_unspent
    FROM (VALUES (true)) AS always LEFT JOIN ({_ORDER}) AS ordered ON true
"""  # noqa: S608 - made of constants
# Filled as a row is loaded: the constructor would note every column as a change, at seven times the cost.
configure_mappers()
_new_order = Order.__mapper__.class_manager.new_instance
_new_item = OrderItem.__mapper__.class_manager.new_instance
_read_items = msgspec.json.Decoder(list[_Item]).decode


async def read_order(reads: asyncpg.Connection | asyncpg.Pool, order_id: UUID) -> Order | None:
    """The order with its items, as it is now. No session watches the object: it is a copy of the row."""
    row = await reads.fetchrow(_ORDER, order_id)
    return _order(dict(row)) if row else None


async def read_unspent(
    reads: asyncpg.Connection | asyncpg.Pool, order_id: UUID, *, attempt_id: UUID
) -> tuple[Order | None, bool]:
    """The order likewise, and whether the attempt pays no other one."""
    (row,) = await reads.fetch(_UNSPENT, order_id, attempt_id)
    facts = dict(row)
    is_unspent: bool = facts.pop("is_unspent")
    return _order(facts) if facts["id"] else None, is_unspent


def _order(facts: dict[str, Any]) -> Order:
    billing, reason = facts["billing_address"], facts["close_reason"]
    facts["status"] = Status(facts["status"])
    facts["payment_status"] = PaymentStatus(facts["payment_status"])
    facts["close_reason"] = CloseReason(reason) if reason else None
    facts["shipping_address"] = msgspec.json.decode(facts["shipping_address"])
    facts["billing_address"] = msgspec.json.decode(billing) if billing else None
    facts["items"] = [_item(item) for item in _read_items(facts["items"] or "[]")]
    order: Order = _new_order()
    order.__dict__.update(facts)
    return order


def _item(row: _Item) -> OrderItem:
    item: OrderItem = _new_item()
    item.__dict__.update(msgspec.structs.asdict(row))
    return item
