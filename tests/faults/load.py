"""Four shoppers who never stop: half of what they want are three scarce variants, and they note what they were told.

They are good clients: who gets no answer to an order repeats it with the same key, who is told to wait waits. What a
fault makes of a single request is not their concern; what the shop has promised them is (I16).
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx

from chassis.ids import derive_id
from tests.patience import NeverHappened
from tests.shop import Shop
from tests.shopper import Document, Shopper, expect

SHOPPERS = 4
SCARCE, PLENTY = 3, 5
UNLUCKY = (httpx.HTTPError, AssertionError, NeverHappened, KeyError, ValueError)
"""What a request may come to while the shop is being hurt."""
PAUSED_WITHIN = 150.0


@dataclass
class Promises:
    """What shoppers were told, and must find again."""

    orders: dict[str, str] = field(default_factory=dict)
    """Ids of orders answered with 201 → user."""
    captured: set[str] = field(default_factory=set)
    """Provider payments that were answered as taken."""
    strangers: list[str] = field(default_factory=list)
    """Answers that belonged to somebody else, as sentences."""
    purchases: int = 0


@dataclass
class Customer:
    """One of them, with the ids that orders of theirs can have."""

    shopper: Shopper
    own: set[str] = field(default_factory=set)

    def new_key(self) -> str:
        key = uuid4().hex
        self.own.add(str(derive_id(UUID(self.shopper.user_id), key)))
        return key


@dataclass
class Load:
    """Begins with `start`, rests between `pause` and `resume`."""

    shop: Shop
    seed: int
    promises: Promises = field(default_factory=Promises)
    scarce: list[str] = field(default_factory=list)
    plenty: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)
    _may_go: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _resting: int = field(default=0, init=False)

    async def start(self) -> None:
        """Fill the shelves and let them in."""
        self.scarce = [await self.shop.new_variant(stock=6) for _ in range(SCARCE)]
        self.plenty = [await self.shop.new_variant(stock=100_000) for _ in range(PLENTY)]
        self._may_go.set()
        self._tasks = [asyncio.create_task(self._shop(number)) for number in range(SHOPPERS)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def pause(self) -> None:
        """Return when everybody has finished what they were about."""
        self._may_go.clear()
        async with asyncio.timeout(PAUSED_WITHIN):
            while self._resting < SHOPPERS:  # noqa: ASYNC110 - a few counters, looked at by one
                await asyncio.sleep(0.05)
        for task in self._tasks:
            if task.done():
                task.result()

    async def resume(self) -> None:
        """On with it; a little is put on the scarce shelves again."""
        staff = await self.shop.staff()
        for variant in self.scarce:
            stock = await self.shop.stock(variant)
            if stock["available"] < 3:
                body = {"delta": 4, "reason": "a delivery"}
                await staff.post(f"/inventory/{variant}/adjustments", body, key=uuid4().hex)
        self._may_go.set()

    async def _shop(self, number: int) -> None:
        dice = random.Random(f"{self.seed} shopper {number}")
        customer: Customer | None = None
        while True:
            if not self._may_go.is_set():
                self._resting += 1
                await self._may_go.wait()
                self._resting -= 1
            try:
                if customer is None or dice.random() < 0.1:
                    customer = Customer(await self.shop.customer())
                await self._buy(customer, dice)
            except UNLUCKY as failure:
                if "401" in str(failure):
                    customer = None
                await asyncio.sleep(0.2)

    async def _buy(self, customer: Customer, dice: random.Random) -> None:
        shopper = customer.shopper
        shelf = self.scarce if dice.random() < 0.5 else self.plenty
        for variant in dice.sample(shelf, dice.randint(1, 2)):
            await shopper.add_to_cart(variant, dice.randint(1, 2))
        order = await self._order(customer)
        if order is None:
            await shopper.send("DELETE", "/api/v1/cart")
            return
        await self._decide(customer, order, dice.random(), dice)
        await self._look_around(customer, order["id"])
        self.promises.purchases += 1

    async def _order(self, customer: Customer) -> Document | None:
        """With one key until there is a clear answer; None when there is too little of something."""
        key = customer.new_key()
        while True:
            try:
                answer = await customer.shopper.try_to_order(key=key)
            except httpx.HTTPError:
                if not self._may_go.is_set():
                    raise
                continue
            if answer.status_code == 409:
                return None
            order = expect(answer.status_code if answer.status_code in (200, 201) else 201, answer)
            self.promises.orders[order["id"]] = customer.shopper.user_id
            if order["id"] not in customer.own:
                self.promises.strangers.append(f"I16: {customer.shopper.user_id} was answered with {order['id']}")
            return order

    async def _decide(self, customer: Customer, order: Document, mood: float, dice: random.Random) -> None:
        """Most pay; some change their mind before or after, and some walk away."""
        shopper, cancel = customer.shopper, f"/api/v1/orders/{order['id']}/cancel"
        if mood < 0.05:
            return
        if mood < 0.15:
            await shopper.send("POST", cancel, json={})
            return
        payment = await shopper.start_payment(order)
        if dice.random() < 0.15:
            await shopper.pay(payment, outcome="failure")
        handshake = await shopper.pay(payment, outcome="success")
        self.promises.captured.add(handshake["razorpay_payment_id"])
        if dice.random() < 0.5:
            await shopper.send("POST", f"/api/v1/payments/{payment['id']}/verify", json=_proof(handshake))
        if mood > 0.92:
            await shopper.send("POST", cancel, json={})

    async def _look_around(self, customer: Customer, order_id: str) -> None:
        """Nobody is shown what is not theirs."""
        shopper = customer.shopper
        shown = [order["id"] for order in (await shopper.get("/orders"))["items"]]
        shown.append((await shopper.order(order_id))["id"])
        self.promises.strangers += [
            f"I16: {shopper.user_id} was shown order {id_}, which they never placed"
            for id_ in shown
            if id_ not in customer.own
        ]


def _proof(handshake: dict[str, Any]) -> dict[str, Any]:
    names = ("razorpay_order_id", "razorpay_payment_id", "razorpay_signature")
    return {name: handshake[name] for name in names}
