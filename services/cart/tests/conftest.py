"""A cart service on a real database, and the shop around it: a catalogue that answers as told, and shoppers."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from starlette.requests import Request

from cart.app import build
from cart.settings import CartSettings
from chassis.ids import new_id
from chassis.testing import FakeUpstream, Harness, ServiceFactory

LOOKUP = "/internal/variants/lookup"


class Catalog(FakeUpstream):
    """Stands in for catalog: knows some variants and answers lookups."""

    def __init__(self) -> None:
        super().__init__({("POST", LOOKUP): self._look_up})
        self.variants: dict[str, dict[str, Any]] = {}

    def offer(self, *, price: int = 10_000, available: int = 10, **fields: Any) -> str:
        """A variant that catalog sells from now on; its id."""
        variant_id = str(new_id())
        self.variants[variant_id] = {
            "variant_id": variant_id,
            "product_id": str(new_id()),
            "sku": f"SKU-{len(self.variants)}",
            "name": "Brass lamp",
            "image_url": None,
            "unit_price": price,
            "currency": "INR",
            "available": available,
            "is_sellable": True,
            "product_version": 1,
            "stock_version": 1,
            **fields,
        }
        return variant_id

    def _look_up(self, _request: Request, body: Any) -> tuple[int, Any]:
        return 200, {"items": [self.variants[asked] for asked in body["ids"] if asked in self.variants]}


@dataclass
class Shopper:
    """Somebody who talks to the cart as a client does; remembers a guest's token like an app."""

    harness: Harness
    user_id: UUID | None = None
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def send(
        self, method: str, path: str, json: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One request with all that this shopper carries."""
        carried = {**self.headers, **(headers or {})}
        if self.user_id is not None:
            carried |= self.harness.as_user(user_id=self.user_id)
        if self.token is not None:
            carried["x-cart-token"] = self.token
        response = await self.harness.client.request(method, f"/api/v1{path}", json=json, headers=carried)
        self.harness.client.cookies.clear()
        self.token = response.headers.get("x-cart-token", self.token)
        return response

    async def add(self, variant_id: str, quantity: int = 1, **options: Any) -> httpx.Response:
        """Add to the cart."""
        body = {"variant_id": variant_id, "quantity": quantity}
        return await self.send("POST", "/cart/items", body, **options)

    async def cart(self) -> dict[str, Any]:
        """The cart as it is now."""
        response = await self.send("GET", "/cart")
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document

    async def quantities(self) -> dict[str, int]:
        """How many of which variant the cart holds."""
        return {item["variant_id"]: item["quantity"] for item in (await self.cart())["items"]}


@dataclass
class Shop:
    """The cart service and everybody around it."""

    harness: Harness
    catalog: Catalog

    def guest(self) -> Shopper:
        """A newcomer."""
        return Shopper(self.harness)

    def user(self) -> Shopper:
        """Somebody signed in, who never shopped as a guest."""
        return Shopper(self.harness, user_id=new_id())

    async def stock(self, variant_id: str, available: int, *, version: int = 2) -> None:
        """Catalog announces how many are available."""
        await self.harness.deliver(
            "stock.changed.v1",
            {
                "variant_id": variant_id,
                "product_id": self.catalog.variants[variant_id]["product_id"],
                "available": available,
                "stock_version": version,
            },
        )

    async def product(self, variant_id: str, *, version: int = 2, listed: bool = True, **fields: Any) -> None:
        """Catalog announces the product of a variant, with changed fields of the variant."""
        known = self.catalog.variants[variant_id]
        variant = {
            **{name: known[name] for name in ("variant_id", "sku", "name", "unit_price")},
            "is_active": True,
            **fields,
        }
        await self.harness.deliver(
            "product.changed.v1",
            {
                "product_id": known["product_id"],
                "version": version,
                "slug": "brass-lamp",
                "name": "Brass lamp",
                "is_active": True,
                "category_id": str(new_id()),
                "image_url": "/media/lamp.webp",
                "currency": "INR",
                "variants": [variant] if listed else [],
            },
        )

    async def withdraw(self, variant_id: str, *, version: int = 3) -> None:
        """Catalog announces that the product of a variant is gone."""
        product_id = self.catalog.variants[variant_id]["product_id"]
        await self.harness.deliver("product.withdrawn.v1", {"product_id": product_id, "version": version})


@pytest.fixture
def catalog() -> Catalog:
    """The stand-in for catalog."""
    return Catalog()


@pytest.fixture
async def shop(service_factory: ServiceFactory, catalog: Catalog) -> AsyncIterator[Shop]:
    """A cart service with a catalogue behind it."""
    upstreams = {"catalog": catalog.upstream()}
    settings = {"cors_origins": "https://store.example", "public_url": "https://shop.example"}
    async with service_factory(CartSettings, build, upstreams=upstreams, **settings) as harness:
        yield Shop(harness, catalog)
