"""People who browse, keep carts and buy without a pause, and forgive nothing: what fails once is the shop's failure."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from tests.shop import Shop
from tests.shopper import API, Document, Shopper, expect

BROWSERS, CARTS, BUYERS = 2, 2, 3
PAUSE = 0.2
PAID_WITHIN = 60.0
SHELF = 6
SAFE = {"GET", "HEAD"}
IDEMPOTENT = {"PUT", "DELETE"}

Visit = Callable[[random.Random], Awaitable[None]]


@dataclass
class Recorder(httpx.AsyncBaseTransport):
    """Counts what is sent to the shop, and keeps every answer that no client should have had to see."""

    inner: httpx.AsyncBaseTransport
    port: int = 0
    """The shop's; what goes elsewhere is not counted."""
    made: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, once."""
        if request.url.port != self.port:
            return await self.inner.handle_async_request(request)
        kind = kind_of(request)
        self.made[kind] += 1
        try:
            response = await self.inner.handle_async_request(request)
            if response.status_code >= 400:
                await response.aread()
                self._note(kind, request, f"{response.status_code} {response.text[:300]}")
        except httpx.HTTPError as error:
            self._note(kind, request, repr(error))
            raise
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()

    def _note(self, kind: str, request: httpx.Request, what: str) -> None:
        at = time.strftime("%H:%M:%S", time.gmtime())
        self.failed.append(f"{at} {kind} {request.method} {request.url.path}: {what}")

    def told(self) -> str:
        """In a few words."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.made.items(), reverse=True))
        return f"{self.made.total()} requests ({kinds}), {len(self.failed) or 'none'} failed"


def kind_of(request: httpx.Request) -> str:
    """Whether repeating it is harmless."""
    if request.method in SAFE:
        return "safe"
    if request.method in IDEMPOTENT or "idempotency-key" in request.headers:
        return "idempotent"
    return "other"


@dataclass
class Load:
    """Everybody, from `start` to `stop`."""

    shop: Shop
    recorder: Recorder
    seed: int
    orders: dict[str, str] = field(default_factory=dict)
    """Ids of orders that were answered with 201 → their user."""
    purchases: int = 0
    longest_wait: float = 0.0
    """Seconds from paying to seeing the order paid: what an absent relay or consumer costs a buyer."""
    surprises: list[str] = field(default_factory=list)
    """What somebody was told and did not expect."""
    _shelf: list[Document] = field(default_factory=list, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)
    _closing: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Fill the shelves and let everybody in."""
        self._shelf = [await self.shop.new_product(stock=100_000) for _ in range(SHELF)]
        kinds = [self._browse] * BROWSERS + [self._keep_a_cart] * CARTS + [self._buy] * BUYERS
        for number, visit in enumerate(kinds):
            dice = random.Random(f"{self.seed} {number}")
            self._tasks.append(asyncio.create_task(self._again_and_again(visit, dice)))

    async def stop(self) -> None:
        """Return when everybody has finished what they were about."""
        self._closing = True
        await asyncio.gather(*self._tasks)

    async def _again_and_again(self, visit: Visit, dice: random.Random) -> None:
        while not self._closing:
            try:
                await visit(dice)
            except (httpx.HTTPError, AssertionError, KeyError) as surprise:
                self.surprises.append(f"{surprise!r}"[:500])
                await asyncio.sleep(1)

    async def _browse(self, dice: random.Random) -> None:
        visitor = self.shop.visitor()
        visitor.reloads = dice.random() < 0.7
        await visitor.get("/categories")
        for product in dice.sample(await visitor.browse(limit=20), 3):
            await visitor.get(f"/products/{product['id']}")
            await asyncio.sleep(PAUSE)
        await visitor.get("/products", search="lamp")

    async def _keep_a_cart(self, dice: random.Random) -> None:
        guest = self.shop.visitor()
        await self._put(guest, dice)
        for _ in range(5):
            await self._put(guest, dice)
            cart = await guest.cart()
            item = dice.choice(cart["items"])
            expect(200, await guest.send("PATCH", f"{API}/cart/items/{item['id']}", json={"quantity": 2}))
            await asyncio.sleep(PAUSE)
        answer = await guest.send("DELETE", f"{API}/cart")
        assert answer.is_success, answer.text

    async def _put(self, shopper: Shopper, dice: random.Random) -> None:
        body = {"variant_id": dice.choice(self._shelf)["variants"][0]["id"], "quantity": 1}
        answer = await shopper.send("POST", f"{API}/cart/items", json=body, headers={"idempotency-key": uuid4().hex})
        shopper.cart_token = answer.headers.get("x-cart-token", shopper.cart_token)
        expect(201, answer)

    async def _buy(self, dice: random.Random) -> None:
        customer = await self.shop.customer()
        for _ in range(5):
            await self._put(customer, dice)
            key = uuid4().hex
            order = await customer.place_order(key=key)
            self.orders[order["id"]] = customer.user_id
            repeated = await customer.try_to_order(key=key)
            assert repeated.json().get("id") == order["id"], f"a key made two orders: {repeated.text[:300]}"
            await customer.pay(await customer.start_payment(order))
            await self._sees_it_paid(customer, order["id"])
            self.purchases += 1
            if self._closing:
                return

    async def _sees_it_paid(self, customer: Shopper, order_id: str) -> None:
        began = time.monotonic()
        while (order := await customer.order(order_id))["status"] != "paid":
            waited = time.monotonic() - began
            assert waited < PAID_WITHIN, f"order {order_id} is {order['status']} after {waited:.0f} s"
            await asyncio.sleep(PAUSE)
        self.longest_wait = max(self.longest_wait, time.monotonic() - began)
