"""A person in front of the shop: what a storefront would send for them, over HTTP and nothing else."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.discretion import used
from tests.patience import eventually

API = "/api/v1"
PASSWORD = "correct horse battery 7"
DEMO_PASSWORD = "haat-demo-2026"

HOME = {
    "recipient_name": "Asha Rao",
    "line1": "12 Lake Road",
    "city": "Pune",
    "state": "Maharashtra",
    "postal_code": "411001",
    "country": "IN",
}

Document = dict[str, Any]

LONGEST_WAIT = 90.0
"""Seconds of being told to wait (429) before a shopper gives up."""


@dataclass
class Shopper:
    """Somebody with a browser: a guest until they register or sign in."""

    gateway: str
    simulator: str
    http: httpx.AsyncClient
    cart_token: str | None = None
    access_token: str | None = None
    session: Document = field(default_factory=dict)
    reloads: bool = False
    """Insists on answers from the services themselves, as the reload key of a browser does."""

    @property
    def headers(self) -> dict[str, str]:
        """What their requests carry."""
        headers = {"cache-control": "no-cache"} if self.reloads else {}
        if self.access_token:
            headers["authorization"] = f"Bearer {self.access_token}"
        if self.cart_token:
            headers["x-cart-token"] = self.cart_token
        return headers

    @property
    def user_id(self) -> str:
        """Who they are once signed in."""
        return str(self.session["user"]["id"])

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with their tokens; a 429 is obeyed, as a good client does."""
        options["headers"] = {**self.headers, **options.get("headers", {})}
        patient_until = time.monotonic() + LONGEST_WAIT
        while True:
            answer = await self.http.request(method, f"{self.gateway}{path}", **options)
            wait = float(answer.headers.get("retry-after", 1))
            if answer.status_code != 429 or time.monotonic() + wait > patient_until:
                return answer
            await asyncio.sleep(wait)

    async def get(self, path: str, **params: Any) -> Document:
        """Read something that must be there."""
        return expect(200, await self.send("GET", API + path, params=params))

    async def post(self, path: str, body: Document | None = None, *, status: int = 201, key: str = "") -> Document:
        """Do something that must succeed."""
        headers = {"idempotency-key": key} if key else {}
        return expect(status, await self.send("POST", API + path, json=body or {}, headers=headers))

    async def browse(self, **filters: Any) -> list[Document]:
        """The first products of the list."""
        items: list[Document] = (await self.get("/products", **filters))["items"]
        return items

    async def add_to_cart(self, variant_id: str, quantity: int = 1) -> Document:
        """Put something into the cart; a guest gets the cart's token with the first thing."""
        body = {"variant_id": variant_id, "quantity": quantity}
        answer = await self.send("POST", f"{API}/cart/items", json=body)
        self.cart_token = answer.headers.get("x-cart-token", self.cart_token)
        used(self.cart_token)
        return expect(201, answer)

    async def cart(self) -> Document:
        """The cart as it is."""
        return await self.get("/cart")

    async def register(self) -> "Shopper":
        """Open an account; a guest cart comes along."""
        name = uuid4().hex[:12]
        body = {"email": f"{name}@example.com", "password": PASSWORD, "full_name": f"Shopper {name}"}
        return self._signed_in(expect(201, await self.send("POST", f"{API}/auth/register", json=body)))

    async def sign_in(self, email: str, password: str = PASSWORD) -> "Shopper":
        """Sign in; a guest cart comes along."""
        body = {"email": email, "password": password}
        return self._signed_in(expect(200, await self.send("POST", f"{API}/auth/login", json=body)))

    def _signed_in(self, session: Document) -> "Shopper":
        self.session = session
        user = session["user"]
        used(session["tokens"], user["email"], user["full_name"])
        self.access_token = session["tokens"]["access_token"]
        return self

    async def try_to_order(self, *, key: str | None = None, **wish: Any) -> httpx.Response:
        """Order the cart, whatever comes of it; told that the shop is too busy, repeat with the same key."""
        body = {"shipping_address": HOME, **wish}
        headers = {"idempotency-key": key or uuid4().hex}
        patient_until = time.monotonic() + LONGEST_WAIT
        while True:
            answer = await self.send("POST", f"{API}/orders", json=body, headers=headers)
            if answer.status_code not in (503, 504) or time.monotonic() > patient_until:
                return answer
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))

    async def place_order(self, *, key: str | None = None, **wish: Any) -> Document:
        """Order the cart."""
        return expect(201, await self.try_to_order(key=key, **wish))

    async def order(self, order_id: str) -> Document:
        """One of their orders."""
        return await self.get(f"/orders/{order_id}")

    async def start_payment(self, order: Document) -> Document:
        """Get what the provider's checkout needs."""

        async def look() -> Document | None:
            answer = await self.send("POST", f"{API}/payments", json={"order_id": order["id"]})
            assert answer.status_code in (200, 201, 503), answer.text
            payment: Document = answer.json()
            return payment if answer.is_success and payment["checkout"] else None

        found = await eventually(look, what="A checkout for the payment")
        assert found is not None
        return found

    async def pay(self, payment: Document, **how: Any) -> Document:
        """Pay at the provider, or try to; what its checkout hands to the page."""
        place = f"{self.simulator}/simulator/orders/{payment['checkout']['razorpay_order_id']}/pay"
        return expect(200, await self.http.post(place, json={"method": "upi", **how}))

    async def sees_order(self, order_id: str, *, within: float = 15.0, **expected: Any) -> Document:
        """Wait until the order shows these values."""

        async def look() -> Document | None:
            order = await self.order(order_id)
            return order if all(order[name] == value for name, value in expected.items()) else None

        found = await eventually(look, what=f"Order {order_id} with {expected}", within=within)
        assert found is not None
        return found

    async def buy(self, variant_id: str, quantity: int = 1) -> Document:
        """All of it: cart, order, payment; the order once it is paid."""
        await self.add_to_cart(variant_id, quantity)
        order = await self.place_order()
        await self.pay(await self.start_payment(order))
        return await self.sees_order(order["id"], status="paid")


def expect(status: int, answer: httpx.Response) -> Document:
    """The answer's document. Fails with what the shop said when it is not this status."""
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    document: Document = answer.json() if answer.content else {}
    return document
