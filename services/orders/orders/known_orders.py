"""What a checkout must know of its caller's orders before it asks anybody else, in one statement and one snapshot."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from orders.models import CLOSED


class OrderedQuantity(msgspec.Struct, frozen=True):
    """A variant and how many of it were ordered."""

    variant_id: UUID
    quantity: int


class UntoldOrder(msgspec.Struct, frozen=True):
    """An order of which cart may still have something to apply, as cart is told of it."""

    order_id: UUID
    items: list[OrderedQuantity]
    is_closed: bool
    was_paid: bool


class NewestOrder(msgspec.Struct, frozen=True):
    """The order that the caller made last. Versions of a cart only rise, so no older order is of its present one."""

    order_id: UUID
    placement: int
    cart_id: UUID
    cart_version: int
    is_closed: bool

    def is_open_order_of(self, cart_id: UUID, version: int) -> bool:
        """Whether it keeps this very version of the cart from being ordered."""
        return not self.is_closed and (self.cart_id, self.cart_version) == (cart_id, version)


class KnownOrders(msgspec.Struct, frozen=True):
    """The caller's orders at one moment."""

    now: datetime
    """The database's clock."""
    is_placed: bool
    """Whether the order that is to be made is there already."""
    newest: NewestOrder | None
    untold: list[UntoldOrder]

    @property
    def seen(self) -> int:
        """The newest order's place; later orders were unknown at this moment."""
        return self.newest.placement if self.newest else 0


_KNOWN = """
    SELECT
        clock_timestamp() AS now,
        EXISTS (SELECT FROM orders WHERE id = $1) AS is_placed,
        (
            SELECT json_build_object(
                'order_id', id, 'placement', placement, 'cart_id', cart_id, 'cart_version', cart_version,
                'is_closed', status = ANY ($3)
            )
            FROM orders WHERE user_id = $2 ORDER BY placement DESC LIMIT 1
        ) AS newest,
        (
            SELECT json_agg(json_build_object(
                'order_id', id, 'is_closed', status = ANY ($3),
                'was_paid', paying_attempt_id IS NOT NULL OR total = 0,
                'items', ARRAY(
                    SELECT json_build_object('variant_id', variant_id, 'quantity', quantity)
                    FROM order_items WHERE order_id = orders.id ORDER BY position
                )
            ) ORDER BY placement)
            FROM orders WHERE user_id = $2 AND NOT cart_knows
        ) AS untold
"""
_read_newest = msgspec.json.Decoder(NewestOrder).decode
_read_untold = msgspec.json.Decoder(list[UntoldOrder]).decode


async def known_orders(reads: asyncpg.Pool, user_id: UUID, order_id: UUID) -> KnownOrders:
    """The caller's orders as they are now; `order_id` is the one that is to be made."""
    ((now, is_placed, newest, untold),) = await reads.fetch(_KNOWN, order_id, user_id, CLOSED)
    return KnownOrders(
        now,
        is_placed,
        newest=_read_newest(newest) if newest else None,
        untold=_read_untold(untold) if untold else [],
    )
