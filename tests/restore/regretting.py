"""Somebody whose order is paid in the backup, and who cancels it after that: the provider has given the money back.

Nobody may believe after the restore that this order is paid for and can be sent.
"""

from dataclasses import dataclass
from typing import Self

from tests.patience import NeverHappened, eventually
from tests.shop import Shop
from tests.shopper import API, Document, Shopper, expect

REFUNDED_WITHIN = 60.0


@dataclass
class Regretting:
    """One customer and one order."""

    shop: Shop
    shopper: Shopper
    order: Document

    @classmethod
    async def buy(cls, shop: Shop) -> Self:
        """Before the backup."""
        shopper = await shop.customer()
        return cls(shop, shopper, await shopper.buy(await shop.new_variant()))

    async def cancel(self) -> None:
        """After it. Returns when the money is back."""
        expect(200, await self.shopper.send("POST", f"{API}/orders/{self.order['id']}/cancel", json={}))
        await self.shopper.sees_order(self.order["id"], payment_status="refunded", within=REFUNDED_WITHIN)

    async def complaint(self) -> str | None:
        """After the restore: staff are told to look at it."""
        try:
            await eventually(self._is_noticed, what="A call for staff", within=REFUNDED_WITHIN)
        except NeverHappened as never:
            return f"an order whose money went back after the backup looks paid: {never}"
        return None

    async def _is_noticed(self) -> bool:
        order = await (await self.shop.staff()).get(f"/admin/orders/{self.order['id']}")
        return (order["status"], order["payment_status"], order["needs_review"]) == ("paid", "refunded", True)
