"""The shop under test, wherever it runs: shoppers enter it, and staff put goods into it."""

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.patience import eventually
from tests.shop_process import ShopProcess
from tests.shopper import DEMO_PASSWORD, Document, Shopper, expect


@dataclass
class Shop:
    """A running shop. `process` is there when the tests started it themselves, and so may look behind the counter."""

    gateway: str
    simulator: str
    http: httpx.AsyncClient
    process: ShopProcess | None = None
    _staff: dict[str, tuple[Shopper, float]] = field(default_factory=dict)

    def visitor(self) -> Shopper:
        """A guest without a cart."""
        return Shopper(self.gateway, self.simulator, self.http)

    async def customer(self) -> Shopper:
        """Somebody who has just registered."""
        return await self.visitor().register()

    async def staff(self, role: str = "staff") -> Shopper:
        """The demo user of this role, signed in anew when half of the token's life is over: a run may be long."""
        known = self._staff.get(role)
        if known is None or time.monotonic() > known[1]:
            member = await self.visitor().sign_in(f"{role}@haat.example", DEMO_PASSWORD)
            assert member.session is not None
            known = self._staff[role] = (member, time.monotonic() + member.session["tokens"]["expires_in"] / 2)
        return known[0]

    async def new_product(self, *, stock: int = 10, price: int = 49_900, variants: int = 1) -> Document:
        """A product of its own for a test, so that tests do not buy from each other's shelf."""
        name = uuid4().hex[:10]
        draft = {
            "name": f"Brass lamp {name}",
            "category_id": await self._some_category(),
            "variants": [
                {
                    "sku": f"LAMP-{name}-{number}",
                    "price": {"amount": price, "currency": "INR"},
                    "stock": stock,
                    "options": {"size": str(number)},
                }
                for number in range(variants)
            ],
        }
        return await (await self.staff()).post("/products", draft)

    async def new_variant(self, *, stock: int = 10, price: int = 49_900) -> str:
        """The id of something that can be bought."""
        product = await self.new_product(stock=stock, price=price)
        return str(product["variants"][0]["id"])

    async def _some_category(self) -> str:
        categories = (await self.visitor().get("/categories"))["items"]
        return str(categories[0]["id"])

    async def stock(self, variant_id: str) -> dict[str, int]:
        """What staff see of a variant's stock."""
        seen = await (await self.staff()).get(f"/inventory/{variant_id}")
        return {name: seen[name] for name in ("on_hand", "reserved", "available")}

    async def sees_stock(self, variant_id: str, **expected: int) -> None:
        """Wait until the shelf shows these figures."""

        async def look() -> bool:
            stock = await self.stock(variant_id)
            return all(stock[name] == value for name, value in expected.items())

        await eventually(look, what=f"Stock of {variant_id} with {expected}")

    async def ledger(self) -> Document:
        """Everything that the provider knows."""
        return expect(200, await self.http.get(f"{self.simulator}/simulator/ledger"))

    async def provider_is_told(self, path: str, body: Document) -> Document:
        """Use one of the simulator's controls."""
        return expect(200, await self.http.post(f"{self.simulator}/simulator/{path}", json=body))

    async def openapi(self) -> dict[str, Any]:
        """The one document of the whole shop."""
        return expect(200, await self.http.get(f"{self.gateway}/openapi.json"))
