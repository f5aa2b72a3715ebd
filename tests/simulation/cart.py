"""A small model of cart: its version, what orders take from it, and what comes back (services/cart, ordered_items.py).

Cart decides nothing about money or stock; here it is the neighbour that makes orders start from the same version.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

Items = dict[UUID, int]


@dataclass
class Cart:
    """One shopper's cart."""

    id: UUID
    version: int = 0
    items: Items = field(default_factory=dict)
    orders: dict[UUID, Items | None] = field(default_factory=dict)
    """What each order took; None once it has come back, or never left."""
    emptied_by: tuple[UUID, int] | None = None

    def put(self, items: Items) -> None:
        """The shopper wants these now."""
        self.items, self.version = dict(items), self.version + 1

    def placed(self, order_id: UUID, items: Items) -> None:
        """What was ordered leaves the cart, once."""
        if order_id in self.orders:
            return
        taken = {key: min(quantity, self.items[key]) for key, quantity in items.items() if key in self.items}
        left = {key: quantity - taken.get(key, 0) for key, quantity in self.items.items()}
        self.orders[order_id] = taken
        if taken:
            self.put({key: quantity for key, quantity in left.items() if quantity})
            self.emptied_by = (order_id, self.version)

    def closed_unpaid(self, order_id: UUID) -> None:
        """Exactly what left the cart comes back, once."""
        taken = self.orders.get(order_id)
        self.orders[order_id] = None
        if taken:
            self.put({key: self.items.get(key, 0) + taken.get(key, 0) for key in {**self.items, **taken}})

    def at_checkout(self, named: list[dict[str, Any]]) -> dict[str, Any]:
        """The answer to orders, after all that it names is applied."""
        acknowledged = []
        for order in named:
            if order["is_closed"] and not order["was_paid"]:
                self.closed_unpaid(order["order_id"])
            else:
                self.placed(order["order_id"], order["items"])
            if order["is_closed"] or order["was_paid"]:
                acknowledged.append(order["order_id"])
        is_emptied = not self.items and self.emptied_by is not None and self.emptied_by[1] == self.version
        return {
            "cart_id": self.id,
            "version": self.version,
            "items": [{"variant_id": key, "quantity": quantity} for key, quantity in self.items.items()],
            "acknowledged": acknowledged,
            "taken_by": self.emptied_by[0] if is_emptied and self.emptied_by else None,
        }
