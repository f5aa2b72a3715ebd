"""An orders service on a real database, and the shop around it: a cart and a catalogue that keep their contracts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from starlette.requests import Request

from chassis.ids import new_id
from chassis.testing import FakeUpstream, Harness, ServiceFactory
from orders.app import build
from orders.settings import OrdersSettings

ADDRESS = {
    "recipient_name": "Asha Rao",
    "line1": "12 Lake Road",
    "city": "Pune",
    "state": "Maharashtra",
    "postal_code": "411001",
    "country": "IN",
}

Hook = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    """What happens around a call unless a test says otherwise."""


@dataclass
class Neighbour:
    """Where a test may step between two steps of a checkout."""

    before: Hook = _nothing
    after: Hook = _nothing

    def once(self, *, before: Hook = _nothing, after: Hook = _nothing) -> None:
        """Do this around the next call only, so that what it does may call again."""

        async def first(hook: Hook, name: str) -> None:
            setattr(self, name, _nothing)
            await hook()

        self.before = lambda: first(before, "before")
        self.after = lambda: first(after, "after")


@dataclass
class UserCart:
    """One user's cart: its version rises with every change of its items and with nothing else."""

    id: str = field(default_factory=lambda: str(new_id()))
    version: int = 0
    items: dict[str, int] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)
    taken: dict[str, dict[str, int]] = field(default_factory=dict)
    taken_at: dict[str, int] = field(default_factory=dict)


class Cart(FakeUpstream):
    """Cart as the contract describes it, in memory."""

    def __init__(self) -> None:
        super().__init__({("POST", "/internal/carts/.*/checkout"): self._checkout})
        self.calls_to = Neighbour()
        self.carts: dict[str, UserCart] = {}
        self.guests: dict[str, dict[str, int]] = {}

    def of(self, user_id: UUID) -> UserCart:
        """The user's cart."""
        return self.carts.setdefault(str(user_id), UserCart())

    def put(self, user_id: UUID, variant_id: str, quantity: int = 1) -> None:
        """The shopper wants so many of it."""
        cart = self.of(user_id)
        cart.items[variant_id] = quantity
        cart.version += 1

    async def _checkout(self, request: Request, body: Any) -> tuple[int, Any]:
        await self.calls_to.before()
        cart = self.of(UUID(request.url.path.split("/")[3]))
        acknowledged = [order["order_id"] for order in body["orders"] if self.tell(cart, order)]
        if guest := self.guests.pop(body["guest_token_hash"] or "", None):
            for variant_id, quantity in guest.items():
                cart.items[variant_id] = cart.items.get(variant_id, 0) + quantity
            cart.version += 1
        takers = [order_id for order_id, version in cart.taken_at.items() if version == cart.version]
        answer = {
            "cart_id": cart.id,
            "version": cart.version,
            "currency": "INR",
            "items": [{"variant_id": variant, "quantity": count} for variant, count in cart.items.items()],
            "acknowledged": acknowledged,
            "taken_by": takers[0] if takers and not cart.items else None,
        }
        await self.calls_to.after()
        return 200, answer

    def tell(self, cart: UserCart, order: Any) -> bool:
        """Apply an order; whether it is closed and so needs no more telling."""
        order_id, unpaid_close = order["order_id"], order["is_closed"] and not order["was_paid"]
        state = cart.orders.get(order_id)
        if state is None and not unpaid_close:
            taken = {
                item["variant_id"]: min(item["quantity"], cart.items[item["variant_id"]])
                for item in order["items"]
                if item["variant_id"] in cart.items
            }
            for variant_id, quantity in taken.items():
                cart.items[variant_id] -= quantity
                if not cart.items[variant_id]:
                    del cart.items[variant_id]
            cart.version += bool(taken)
            if taken:
                cart.taken_at[order_id] = cart.version
            cart.orders[order_id], cart.taken[order_id] = "taken", taken
        elif unpaid_close and state != "returned":
            for variant_id, quantity in cart.taken.pop(order_id, {}).items():
                cart.items[variant_id] = min(99, cart.items.get(variant_id, 0) + quantity)
                cart.version += 1
            cart.orders[order_id] = "returned"
        return bool(order["is_closed"])


@dataclass
class Variant:
    """Something on the shelf."""

    price: int
    on_hand: int
    product_id: str = field(default_factory=lambda: str(new_id()))


@dataclass
class Reservation:
    """What is held for one order id."""

    status: str = "released"
    hold: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    decided: bool = False


class Catalog(FakeUpstream):
    """Catalog's reservations as the contract describes them, in memory."""

    def __init__(self) -> None:
        routes: dict[tuple[str, str], Any] = {
            ("PUT", "/internal/reservations/.*"): self._hold,
            ("DELETE", "/internal/reservations/.*"): self._release,
        }
        super().__init__(routes)
        self.calls_to = Neighbour()
        self.variants: dict[str, Variant] = {}
        self.reservations: dict[str, Reservation] = {}

    def offer(self, *, price: int = 50_000, on_hand: int = 100) -> str:
        """A variant that is sold from now on; its id."""
        variant_id = str(new_id())
        self.variants[variant_id] = Variant(price, on_hand)
        return variant_id

    def available(self, variant_id: str) -> int:
        """On hand minus held."""
        held = (one.lines.get(variant_id, 0) for one in self.reservations.values() if one.status == "held")
        return self.variants[variant_id].on_hand - sum(held)

    def holds(self) -> list[str]:
        """The order ids that hold something."""
        return [order_id for order_id, one in self.reservations.items() if one.status == "held"]

    def released(self) -> list[str]:
        """The paths of the releases that were asked for."""
        return [path for method, path, _ in self.calls if method == "DELETE"]

    async def _hold(self, request: Request, body: Any) -> tuple[int, Any]:
        await self.calls_to.before()
        order_id = request.url.path.rsplit("/", 1)[1]
        one = self.reservations.setdefault(order_id, Reservation())
        if one.decided:
            return 409, {"code": "reservation_decided"}
        one.status, one.hold = "released", one.hold + 1
        wanted = {item["variant_id"]: item["quantity"] for item in body["items"]}
        shortages = [
            {"variant_id": variant, "wanted": count, "available": self.available(variant)}
            for variant, count in wanted.items()
            if count > self.available(variant)
        ]
        if shortages:
            return 409, {"code": "insufficient_stock", "shortages": shortages}
        one.status, one.lines = "held", wanted
        items = [
            {
                "variant_id": variant,
                "product_id": self.variants[variant].product_id,
                "sku": f"SKU-{variant[-4:]}",
                "name": "Brass lamp",
                "image_url": None,
                "quantity": count,
                "unit_price": self.variants[variant].price,
            }
            for variant, count in wanted.items()
        ]
        answer = {"order_id": order_id, "hold": one.hold, "currency": "INR", "items": items}
        await self.calls_to.after()
        return 200, answer

    def _release(self, request: Request, _body: Any) -> tuple[int, Any]:
        one = self.reservations.get(request.url.path.rsplit("/", 1)[1], Reservation())
        if one.status == "held" and one.hold == int(request.query_params["hold"]) and not one.decided:
            one.status = "released"
        return 204, None


class Accounts(FakeUpstream):
    """Address books."""

    def __init__(self) -> None:
        super().__init__({("GET", "/internal/users/.*/addresses/.*"): self._address})
        self.addresses: dict[tuple[str, str], dict[str, Any]] = {}

    def _address(self, request: Request, _body: Any) -> tuple[int, Any]:
        _, _, _, user_id, _, address_id = request.url.path.split("/")
        address = self.addresses.get((user_id, address_id))
        return (200, address) if address else (404, {"code": "address_not_found"})


@dataclass
class Shopper:
    """Somebody signed in, who talks to orders as a client does."""

    shop: "Shop"
    user_id: UUID = field(default_factory=new_id)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with this shopper's token."""
        headers = {**self.shop.harness.as_user(user_id=self.user_id), **options.pop("headers", {})}
        return await self.shop.harness.client.request(method, f"/api/v1{path}", headers=headers, **options)

    def want(self, variant_id: str, quantity: int = 1) -> None:
        """Put into the cart."""
        self.shop.cart.put(self.user_id, variant_id, quantity)

    async def order(
        self, key: str | None = None, *, headers: dict[str, str] | None = None, **wish: Any
    ) -> httpx.Response:
        """Order the cart."""
        body = {"shipping_address": ADDRESS, **wish}
        sent = {"idempotency-key": key or str(new_id()), **(headers or {})}
        return await self.send("POST", "/orders", json=body, headers=sent)

    async def placed(self, *, price: int = 50_000, quantity: int = 1) -> dict[str, Any]:
        """An order of something new."""
        self.want(self.shop.catalog.offer(price=price), quantity)
        response = await self.order()
        assert response.status_code == 201, response.text
        document: dict[str, Any] = response.json()
        return document


@dataclass
class Shop:
    """The orders service and everybody around it."""

    harness: Harness
    cart: Cart
    catalog: Catalog
    accounts: Accounts
    payments: FakeUpstream

    def shopper(self) -> Shopper:
        """Somebody with an empty cart."""
        return Shopper(self)

    async def staff(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request of somebody who works here."""
        headers = self.harness.as_user("staff")
        return await self.harness.client.request(method, f"/api/v1/admin/orders{path}", headers=headers, **options)

    async def row(self, order_id: str) -> dict[str, Any]:
        """The order as the database has it."""
        (row,) = await self.harness.fetch("SELECT * FROM orders WHERE id = $1", UUID(order_id))
        return dict(row)

    async def capture(self, order: dict[str, Any], **fields: Any) -> str:
        """Payments tells of a capture; the attempt's id."""
        attempt_id = str(fields.pop("attempt_id", new_id()))
        data = {
            "order_id": order["id"],
            "payment_id": order["id"],
            "payment_version": 1,
            "attempt_id": attempt_id,
            "provider_payment_id": "pay_1",
            "amount": order["totals"]["total"]["amount"],
            "currency": order["currency"],
            "captured_at": "2026-11-22T10:00:00Z",
            **fields,
        }
        await self.harness.deliver("payment.captured.v1", data, event_id=data.pop("event_id", None))
        return attempt_id

    async def tell(self, event: str, order: dict[str, Any], **fields: Any) -> None:
        """Some event about the order."""
        data = {"order_id": order["id"], "payment_id": order["id"], "payment_version": 1, **fields}
        await self.harness.deliver(event, data, event_id=data.pop("event_id", None))

    async def refund(self, kind: str, order: dict[str, Any], *, version: int, refunded: int) -> None:
        """Payments tells how a refund stands."""
        total = order["totals"]["total"]["amount"]
        await self.tell(
            f"refund.{kind}.v1",
            order,
            payment_version=version,
            attempt_id=str(new_id()),
            refund_id=str(new_id()),
            amount=refunded,
            currency="INR",
            reason="cancelled",
            captured_total=total,
            refunded_total=refunded,
            pending_total=0,
        )

    async def told(self, event: str | None = None) -> list[str]:
        """The types of the events in the outbox, in order."""
        return [envelope.type for envelope in await self.harness.events(event)]

    async def pass_deadline(self, order: dict[str, Any]) -> None:
        """Time goes by until the shopper's half hour is over."""
        await self._set(order, "deadline = clock_timestamp() - interval '1 second'")
        await self.harness.run_job("deadlines")

    async def pass_closing_limit(self, order: dict[str, Any]) -> None:
        """Time goes by until nobody waits for the provider any more."""
        await self._set(order, "closing_since = closing_since - interval '31 minutes'")
        await self.harness.run_job("closing-limit")

    async def _set(self, order: dict[str, Any], change: str) -> None:
        await self.harness.execute(f"UPDATE orders SET {change} WHERE id = $1", UUID(order["id"]))

    async def until_somebody_waits_for_a_lock(self, sessions: int = 1) -> None:
        """Returns when so many sessions of orders are held up by another one."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'orders' AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(10):
            while (await self.harness.fetch(waiting))[0][0] < sessions:  # noqa: ASYNC110 - PostgreSQL tells nobody
                await asyncio.sleep(0.01)

    async def idle_transactions(self) -> int:
        """Sessions of orders that have a transaction open and wait for their client."""
        connection = await asyncpg.connect(self.harness.database.url)
        try:
            found: int = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'orders' AND state LIKE 'idle in transaction%'"
            )
            return found
        finally:
            await connection.close()


OpenShop = Callable[..., Any]


@pytest.fixture
async def open_shop(service_factory: ServiceFactory) -> AsyncIterator[OpenShop]:
    """Opens a shop with the given settings."""
    opened = []

    async def open_one(**settings: Any) -> Shop:
        cart, catalog, accounts, payments = Cart(), Catalog(), Accounts(), FakeUpstream()
        fakes = {"cart": cart, "catalog": catalog, "accounts": accounts, "payments": payments}
        upstreams = {name: fake.upstream() for name, fake in fakes.items()}
        context = service_factory(OrdersSettings, build, upstreams=upstreams, **settings)
        opened.append(context)
        return Shop(await context.__aenter__(), cart, catalog, accounts, payments)

    yield open_one
    for context in opened:
        await context.__aexit__(None, None, None)


@pytest.fixture
async def shop(open_shop: OpenShop) -> Shop:
    """A shop with the settings as they come."""
    opened: Shop = await open_shop()
    return opened
