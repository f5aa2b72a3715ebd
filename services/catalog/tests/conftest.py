"""catalog on a real database, with a stand-in for orders, and staff who fill the shelves over HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from catalog.app import build
from catalog.settings import CatalogSettings
from chassis.ids import new_id
from chassis.testing import FakeUpstream, Harness, ServiceFactory

MakeProduct = Callable[..., Awaitable[dict[str, Any]]]
MakeCategory = Callable[..., Awaitable[dict[str, Any]]]


class Shop:
    """A started catalog and short words for what tests do with it."""

    def __init__(self, harness: Harness, orders: FakeUpstream) -> None:
        self.harness = harness
        self.orders = orders
        self.staff = harness.as_user("staff")
        self._skus = 0

    async def get(self, path: str, *, staff: Any = False, **params: Any) -> httpx.Response:
        """A read, as anybody or as staff."""
        headers = self.staff if staff else {}
        return await self.harness.client.get(f"/api/v1{path}", params=params, headers=headers)

    async def write(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """A write by staff."""
        return await self.harness.client.request(
            method, f"/api/v1{path}", json=body, headers={**self.staff, **(headers or {})}
        )

    async def category(self, name: str = "Kurtas", **fields: Any) -> dict[str, Any]:
        """A new category."""
        answer = await self.write("POST", "/categories", {"name": name, **fields})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def product(
        self, name: str = "Cotton Kurta", *, category: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """A new product; by default one variant of 499 rupees with ten on hand."""
        category = category or (await self.category(f"{name} things"))["id"]
        body = {"name": name, "category_id": category, "variants": [self.variant()], **fields}
        answer = await self.write("POST", "/products", body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def variant(self, *, price: int = 49_900, stock: int = 10, **fields: Any) -> dict[str, Any]:
        """The draft of a variant with a SKU of its own."""
        self._skus += 1
        return {"sku": f"SKU-{self._skus}", "price": inr(price), "stock": stock, **fields}

    async def variants(self, *stocks: int) -> list[UUID]:
        """One product for each stock given; the ids of their variants, in the order of locks."""
        category = (await self.category())["id"]
        made = [
            await self.product(f"Thing {stock}", category=category, variants=[self.variant(stock=stock)])
            for stock in stocks
        ]
        return [UUID(product["variants"][0]["id"]) for product in made]

    @staticmethod
    def first(product: dict[str, Any]) -> UUID:
        """The id of a product's first variant."""
        return UUID(product["variants"][0]["id"])

    async def adjust(self, variant_id: Any, delta: int, *, key: str | None = None) -> httpx.Response:
        """Add to what is on hand."""
        body = {"delta": delta, "reason": "counted"}
        headers = {"idempotency-key": key or str(new_id())}
        return await self.write("POST", f"/inventory/{variant_id}/adjustments", body, headers=headers)

    async def reserve(self, order_id: UUID, items: dict[UUID, int]) -> httpx.Response:
        """What orders sends while an order is placed."""
        body = {"items": [{"variant_id": str(key), "quantity": quantity} for key, quantity in items.items()]}
        return await self.harness.client.put(
            f"/internal/reservations/{order_id}", json=body, headers=self.harness.as_service("orders")
        )

    async def release(self, order_id: UUID, hold: int) -> httpx.Response:
        """What orders sends when no order came of a hold."""
        return await self.harness.client.delete(
            f"/internal/reservations/{order_id}", params={"hold": hold}, headers=self.harness.as_service("orders")
        )

    async def order_event(
        self, name: str, order_id: UUID, items: dict[UUID, int] | None = None, **options: Any
    ) -> None:
        """An event of orders: "placed", "paid", "cancelled" or "expired"."""
        rows = [{"variant_id": str(key), "quantity": quantity} for key, quantity in (items or {}).items()]
        await self.harness.deliver(
            f"order.{name}.v1", {"order_id": str(order_id), "items": rows}, subject=order_id, **options
        )

    async def stock(self, variant_id: UUID) -> tuple[int, int]:
        """What is on hand and what is reserved."""
        (row,) = await self.harness.fetch(
            "SELECT on_hand, reserved FROM stock_levels WHERE variant_id = $1", variant_id
        )
        return row["on_hand"], row["reserved"]

    async def status(self, order_id: UUID) -> str | None:
        """The state of a reservation, with "closed" or "confirmed" where it is."""
        rows = await self.harness.fetch(
            "SELECT status, is_closed, confirmed_at FROM reservations WHERE order_id = $1", order_id
        )
        if not rows:
            return None
        (row,) = rows
        confirmed = row["status"] == "held" and row["confirmed_at"] is not None
        return f"{row['status']}{' confirmed' if confirmed else ''}{' closed' if row['is_closed'] else ''}"

    async def broken_invariants(self) -> list[Any]:
        """Variants at which I1, I2 or I3 of checkout.md does not hold."""
        return await self.harness.fetch("""
            SELECT level.variant_id, level.on_hand, level.reserved, held.quantity, moved.delta
            FROM stock_levels level
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(item.quantity), 0) AS quantity
                FROM reservation_items item JOIN reservations USING (order_id)
                WHERE item.variant_id = level.variant_id AND status = 'held'
            ) AS held
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(delta), 0) AS delta FROM stock_movements WHERE variant_id = level.variant_id
            ) AS moved
            WHERE NOT (level.reserved BETWEEN 0 AND level.on_hand)
                OR level.reserved <> held.quantity OR level.on_hand <> moved.delta
        """)

    async def told(self, *types: str) -> list[dict[str, Any]]:
        """The data of the events of these types, in order."""
        return [envelope.data for envelope in await self.harness.events() if envelope.type in types]


def inr(amount: int) -> dict[str, Any]:
    """A price."""
    return {"amount": amount, "currency": "INR"}


@pytest.fixture
def orders() -> FakeUpstream:
    return FakeUpstream({("GET", r"/internal/orders/.*"): (404, {"code": "order_not_found"})})


@pytest.fixture
async def shop(service_factory: ServiceFactory, orders: FakeUpstream) -> AsyncIterator[Shop]:
    async with service_factory(CatalogSettings, build, upstreams={"orders": orders.upstream()}) as harness:
        yield Shop(harness, orders)
