"""Somebody who orders while the backup is taken, and wants to order again after the restore.

Their cart comes back as it was before that order, which orders knows where its dump came later. What they put into it
then must not look like the cart that was ordered already.
"""

from dataclasses import dataclass
from typing import Self

from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import Document, Shopper

CART_IS_TOLD_WITHIN = 30.0


@dataclass
class Returning:
    """One customer with a cart."""

    shopper: Shopper
    shelf: list[str]
    order: Document | None = None

    @classmethod
    async def come_in(cls, shop: Shop) -> Self:
        """Register, and put one thing into the cart: that much is in the backup."""
        returning = cls(await shop.customer(), [await shop.new_variant(stock=1_000) for _ in range(3)])
        await returning.shopper.add_to_cart(returning.shelf[0])
        return returning

    async def buy(self) -> str:
        """Two things more, and all of it is ordered and paid; the order's id."""
        if self.order is None:
            for variant in self.shelf[1:]:
                await self.shopper.add_to_cart(variant)
            order = await self.shopper.place_order()
            await self.shopper.pay(await self.shopper.start_payment(order))
            self.order = await self.shopper.sees_order(order["id"], status="paid")
        return str(self.order["id"])

    async def buy_again(self, *, is_known: bool) -> str | None:
        """One thing more; what went wrong. `is_known`: the order of before is there, and so will leave the cart."""
        if is_known:
            await eventually(self._is_empty, what="The leaving of what was ordered", within=CART_IS_TOLD_WITHIN)
        await self.shopper.add_to_cart(self.shelf[0])
        answer = await self.shopper.try_to_order()
        if answer.status_code == 201 and (self.order is None or answer.json()["id"] != self.order["id"]):
            return None
        return f"who ordered during the backup cannot order again: {answer.status_code} {answer.text[:300]}"

    async def _is_empty(self) -> bool:
        return not (await self.shopper.cart())["items"]
