"""Load: shoppers who fill carts, and shoppers who go all the way until their order is paid."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

from bench.browsing import API, Count, Figures, figures

ADDRESS = {
    "recipient_name": "Asha Rao",
    "line1": "12 Lake Road",
    "city": "Pune",
    "state": "Maharashtra",
    "postal_code": "411001",
    "country": "IN",
}
PASSWORD = "correct horse battery 7"  # noqa: S105 - of shoppers made for the measurement
LOOK_EVERY = 0.5
"""Seconds between two looks at whether an order is paid, as a storefront would; each is a request that is counted."""
SETTLE = 2.0
"""Seconds after the last answer in which events under way are worked off; they are counted too."""


@dataclass
class Shopper:
    """Somebody with an account, who fills carts as a guest."""

    http: aiohttp.ClientSession
    simulator: str
    variants: Iterator[str]
    email: str = field(default_factory=lambda: f"{uuid4().hex[:16]}@example.com")
    token: str = ""
    looks: int = 0
    """Requests spent on asking whether an order is paid."""

    async def register(self) -> None:
        """Open the account."""
        body = {"email": self.email, "password": PASSWORD, "full_name": "Asha Rao"}
        await self._keep_token(await self._post("/auth/register", body))

    async def sign_in(self) -> None:
        """Prove the password again: argon2, which costs what it costs on purpose."""
        await self._keep_token(await self._post("/auth/login", {"email": self.email, "password": PASSWORD}))

    async def _keep_token(self, answer: tuple[Any, Any]) -> None:
        self.token = answer[0]["tokens"]["access_token"]

    async def add_as_guest(self) -> str:
        """Put a first thing into a new cart; the cart's token."""
        body = {"variant_id": next(self.variants), "quantity": 1}
        _, headers = await self._post("/cart/items", body)
        return str(headers["x-cart-token"])

    async def buy(self, *, signing_in: bool = False) -> None:
        """Guest cart, order, payment, paid: the order merges the cart of the guest token that it brings along."""
        cart = {"x-cart-token": await self.add_as_guest()}
        if signing_in:
            await self.sign_in()
        mine = {"authorization": f"Bearer {self.token}"}
        order, _ = await self._post(
            "/orders", {"shipping_address": ADDRESS}, **mine, **cart, **{"idempotency-key": uuid4().hex}
        )
        payment, _ = await self._post("/payments", {"order_id": order["id"]}, **mine)
        place = f"{self.simulator}/simulator/orders/{payment['checkout']['razorpay_order_id']}/pay"
        async with self.http.post(place, json={"method": "upi"}) as answer:
            assert answer.status == 200, await answer.text()
        await self._until_paid(order["id"], mine)

    async def _until_paid(self, order_id: str, headers: dict[str, str]) -> None:
        status = ""
        while status != "paid":
            await asyncio.sleep(LOOK_EVERY)
            self.looks += 1
            async with self.http.get(f"{API}/orders/{order_id}", headers=headers) as answer:
                status = (await answer.json())["status"]

    async def _post(self, path: str, body: Any, **headers: str) -> tuple[Any, Any]:
        async with self.http.post(API + path, json=body, headers=headers) as answer:
            assert answer.status in (200, 201), f"{path}: {await answer.text()}"
            return await answer.json(), answer.headers


async def add_to_carts(base_url: str, variants: list[str], *, usage: Count, requests: int, shoppers: int) -> Figures:
    """Guests who each put a first thing into a new cart."""
    async with aiohttp.ClientSession(base_url, cookie_jar=aiohttp.DummyCookieJar()) as http:
        ways = itertools.cycle(variants)
        guests = [Shopper(http, "", ways) for _ in range(shoppers)]
        await asyncio.gather(*(_times(len(variants) // shoppers + 1, guest.add_as_guest) for guest in guests))
        before, began = usage(), time.perf_counter()
        await asyncio.gather(*(_times(requests // shoppers, guest.add_as_guest) for guest in guests))
        done = requests // shoppers * shoppers
        return figures(usage().since(before), done, seconds=time.perf_counter() - began)


async def check_out(
    base_url: str, simulator: str, variants: list[str], *, usage: Count, orders: int, shoppers: int, signing_in: bool
) -> Figures:
    """Shoppers with an account who buy one thing after the other; everything counts until the events are quiet."""
    async with aiohttp.ClientSession(base_url, cookie_jar=aiohttp.DummyCookieJar()) as http:
        ways = itertools.cycle(variants)
        people = [Shopper(http, simulator, ways) for _ in range(shoppers)]
        for person in people:
            await person.register()
            await person.buy()
        await asyncio.sleep(SETTLE)
        looks = sum(person.looks for person in people)
        before, began = usage(), time.perf_counter()
        each = orders // shoppers
        await asyncio.gather(*(_times(each, lambda p=person: p.buy(signing_in=signing_in)) for person in people))
        seconds = time.perf_counter() - began
        await asyncio.sleep(SETTLE)
        found = figures(usage().since(before), each * shoppers, seconds=seconds)
        found["looks_per_order"] = round((sum(person.looks for person in people) - looks) / (each * shoppers), 2)
        return found


async def _times(count: int, act: Any) -> None:
    for _ in range(count):
        await act()


async def idle(*, usage: Count, seconds: float) -> Figures:
    """CPU of an open shop in which nobody is."""
    before = usage()
    await asyncio.sleep(seconds)
    used = usage().since(before)
    return {"seconds": seconds, "cpu_ms_per_second": round(used.total / seconds * 1000, 1)}


async def variants_on_sale(base_url: str, *, count: int) -> list[str]:
    """Variants of which enough can be had for a whole measurement."""
    found: list[str] = []
    target = f"{API}/products?in_stock=true&ordering=price&min_price=1000"
    async with aiohttp.ClientSession(base_url) as http:
        cursor = ""
        while len(found) < count:
            async with http.get(f"{target}{cursor}") as answer:
                page = await answer.json()
            found += [item["default_variant_id"] for item in page["items"]]
            cursor = f"&cursor={page['next_cursor']}"
    return found[:count]
