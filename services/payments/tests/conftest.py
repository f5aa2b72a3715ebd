"""A payments service on a real database, the Razorpay simulator as the provider, and orders that answer as told."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest

from chassis.ids import new_id
from chassis.testing import FakeUpstream, Harness, ServiceFactory
from payments.app import build
from payments.models import Attempt
from payments.settings import PaymentsSettings
from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver
from razorpay_simulator.variants import Variants

PAYMENT_MOVES = {
    None: {"new", "closed"},
    "new": {"creating", "closed"},
    "creating": {"creating", "new", "open", "closing", "closed", "settled"},
    "open": {"closing", "closed", "settled"},
    "closing": {"closed", "settled"},
    "closed": {"settled"},
    "settled": set[str](),
}
"""The design's table P1 to P7; `creating` again is a lease taken over, `new` again one that reached nobody."""

REFUND_MOVES = {
    None: {"requested"},
    "requested": {"submitted"},
    "submitted": {"processed", "failed"},
    "processed": set[str](),
    "failed": set[str](),
}


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    """The provider, as a process of its own."""
    with SimulatorProcess() as process:
        yield process


@pytest.fixture(scope="session")
def receiver() -> Iterator[WebhookReceiver]:
    """Where the provider's webhooks arrive; a test hands them on when and how it likes."""
    with WebhookReceiver() as received:
        yield received


@dataclass
class PlacedOrder:
    """An order that waits for its money."""

    order_id: UUID = field(default_factory=new_id)
    user_id: UUID = field(default_factory=new_id)
    total: int = 250_000
    pay_by: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(minutes=15))

    @property
    def event(self) -> dict[str, Any]:
        """The data of `order.placed`."""
        return {
            "order_id": str(self.order_id),
            "user_id": str(self.user_id),
            "currency": "INR",
            "total": self.total,
            "pay_by": self.pay_by.isoformat(),
        }

    @property
    def document(self) -> dict[str, Any]:
        """What orders answers about it."""
        return {**self.event, "id": str(self.order_id), "status": "awaiting_payment", "is_closed": False}


@dataclass
class Till:
    """The payments service and everybody around it."""

    harness: Harness
    simulator: SimulatorProcess
    receiver: WebhookReceiver
    orders: FakeUpstream
    others: dict[str, FakeUpstream]
    """Catalog, cart and accounts."""

    def unheard(self, **fields: Any) -> PlacedOrder:
        """An order that payments has not heard of."""
        return PlacedOrder(**fields)

    async def placed(self, **fields: Any) -> PlacedOrder:
        """An order that payments heard of."""
        order = PlacedOrder(**fields)
        await self.harness.deliver("order.placed.v1", order.event, subject=order.order_id)
        return order

    async def open(self, order: PlacedOrder, *, status: int | tuple[int, ...] = (200, 201)) -> dict[str, Any]:
        """The shopper asks to pay."""
        answer = await self.send("POST", "/payments", order, json={"order_id": str(order.order_id)})
        assert answer.status_code in ((status,) if isinstance(status, int) else status), answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def send(self, method: str, path: str, order: PlacedOrder, **options: Any) -> httpx.Response:
        """A request of the order's owner."""
        headers = {**self.harness.as_user(user_id=order.user_id), **options.pop("headers", {})}
        return await self.harness.client.request(method, f"/api/v1{path}", headers=headers, **options)

    async def staff(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request of staff."""
        headers = {**self.harness.as_user("staff"), **options.pop("headers", {})}
        return await self.harness.client.request(method, f"/api/v1{path}", headers=headers, **options)

    async def payment(self, order: PlacedOrder) -> dict[str, Any]:
        """The payment as its owner sees it."""
        answer = await self.send("GET", f"/payments?order_id={order.order_id}", order)
        (document,) = answer.json()["items"]
        return dict(document)

    async def pay(self, order: PlacedOrder, **form: Any) -> dict[str, Any]:
        """Open the payment and pay at the provider; what the checkout returned."""
        payment = await self.open(order)
        return await asyncio.to_thread(self.simulator.pay, payment["checkout"]["razorpay_order_id"], **form)

    async def verify(self, order: PlacedOrder, handshake: dict[str, Any]) -> httpx.Response:
        """The browser brings the provider's signature."""
        payment = await self.payment(order)
        return await self.send("POST", f"/payments/{payment['id']}/verify", order, json=handshake)

    async def webhooks(self) -> list[Any]:
        """The webhooks the provider has sent so far."""
        await asyncio.to_thread(self.simulator.settle_webhooks)
        return list(self.receiver.received)

    async def webhook(self, event: str, provider_payment_id: str) -> Any:
        """What the provider sent about this event of this attempt."""
        for webhook in await self.webhooks():
            entity = webhook.document["payload"]["payment"]["entity"]
            if webhook.event == event and entity["id"] == provider_payment_id:
                return webhook
        raise AssertionError(f"no {event} for {provider_payment_id}")

    async def hand_on(self, webhook: Any, **headers: str) -> httpx.Response:
        """Deliver one webhook as it came, and let it be processed."""
        given = {"x-razorpay-signature": webhook.signature, "x-razorpay-event-id": webhook.event_id, **headers}
        return await self.post_webhook(webhook.body, **given)

    async def forge(self, document: Any, *, event_id: str | None = None) -> httpx.Response:
        """A webhook with a body of our own that is rightly signed."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {"x-razorpay-event-id": event_id} if event_id else {}
        return await self.post_webhook(body, **{"x-razorpay-signature": self.sign(body), **headers})

    async def post_webhook(self, body: bytes, **headers: str | bytes) -> httpx.Response:
        """Exactly these bytes and headers, and let them be processed."""
        given = [
            (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers.items()
        ]
        answer = await self.harness.client.post("/api/v1/payments/webhooks/razorpay", content=body, headers=given)
        await self.processed()
        return answer

    def sign(self, body: bytes, secret: str | None = None) -> str:
        """The provider's signature of a webhook."""
        key = secret or self.simulator.webhook_secret
        return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()

    def handshake(self, provider_order_id: str, provider_payment_id: str) -> dict[str, str]:
        """What the checkout returns for an authorised attempt."""
        message = f"{provider_order_id}|{provider_payment_id}".encode()
        return {
            "razorpay_order_id": provider_order_id,
            "razorpay_payment_id": provider_payment_id,
            "razorpay_signature": hmac.new(self.simulator.key_secret.encode(), message, hashlib.sha256).hexdigest(),
        }

    async def ask(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call the simulator without stopping this loop."""
        return await asyncio.to_thread(method, *args, **options)

    async def poll(self, order: PlacedOrder) -> None:
        """It is time to ask the provider about an open payment."""
        await self.due(order)
        await self.harness.run_job("open")

    async def due(self, order: PlacedOrder) -> None:
        """Let the next look at this payment be due."""
        await self.harness.execute(
            "UPDATE payments SET next_ask_at = clock_timestamp() - interval '1 s' WHERE order_id = $1", order.order_id
        )

    async def lease_ends(self, order: PlacedOrder) -> None:
        """The creation under way has had its time."""
        await self.harness.execute(
            "UPDATE payments SET lease_until = clock_timestamp() - interval '1 s',"
            " next_ask_at = clock_timestamp() - interval '1 s' WHERE order_id = $1",
            order.order_id,
        )

    async def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """Rows of the service's database, as they are now."""
        return [dict(row) for row in await self.harness.fetch(sql, *args)]

    async def provider_orders(self, order: PlacedOrder) -> list[dict[str, Any]]:
        """What the provider's own books say was made for an order."""
        ledger = await self.ask(self.simulator.ledger)
        return [known for known in ledger["orders"] if known["notes"] == {"order_id": str(order.order_id)}]

    async def paid(self, **fields: Any) -> tuple[PlacedOrder, str, str]:
        """A paid order, its payment's id and its attempt's id at the provider."""
        order = await self.placed(**fields)
        handshake = await self.pay(order)
        payment = (await self.verify(order, handshake)).json()
        assert payment["status"] == "captured", payment
        return order, payment["id"], handshake["razorpay_payment_id"]

    async def return_asked(self, order: PlacedOrder, attempt: str, *, reason: str = "late_capture") -> None:
        """Orders has no use for the money of this attempt."""
        attempt_id = Attempt.id_for(attempt)
        await self.deliver("refund.requested.v1", order, attempt_id=str(attempt_id), reason=reason)

    async def staff_refund(self, payment_id: str, amount: int | None = None) -> httpx.Response:
        """Staff give money back: everything that is left, or a part."""
        body: dict[str, Any] = {"reason": "broken on arrival"}
        if amount is not None:
            body["amount"] = {"amount": amount, "currency": "INR"}
        headers = {"idempotency-key": str(new_id())}
        return await self.staff("POST", f"/payments/{payment_id}/refunds", json=body, headers=headers)

    async def pursue_refunds(self) -> Any:
        """It is time to send every open refund, or to ask about it."""
        await self.harness.execute("UPDATE refunds SET next_try_at = clock_timestamp() - interval '1 s'")
        return await self.harness.run_job("refunds")

    async def refunds(self) -> list[dict[str, Any]]:
        """Every refund as payments knows it."""
        return await self.rows(
            "SELECT id, kind, amount, status, provider_refund_id FROM refunds ORDER BY created_at, id"
        )

    async def returned(self, attempt: str) -> list[dict[str, Any]]:
        """What the provider's own books say went back."""
        ledger = await self.ask(self.simulator.ledger)
        assert ledger["totals"]["balanced"]
        return [refund for refund in ledger["refunds"] if refund["payment_id"] == attempt]

    async def reaches(self, order: PlacedOrder, path: list[str]) -> None:
        """Wait until a request under way has brought the payment there."""
        async with asyncio.timeout(10):
            while await self.path(order) != path:  # noqa: ASYNC110 - only the database knows, and it does not call
                await asyncio.sleep(0.02)

    async def check_histories(self) -> None:
        """I4: every history is a path of the design's tables and ends where its row stands."""
        for table, key, moves in (("payment", "payment_id", PAYMENT_MOVES), ("refund", "refund_id", REFUND_MOVES)):
            rows = await self.rows(
                f"SELECT r.id, r.status, array_agg(h.status ORDER BY h.at, h.id) AS path FROM {table}s r"
                f" LEFT JOIN {table}_history h ON h.{key} = r.id GROUP BY r.id, r.status"
            )
            for row in rows:
                before: str | None = None
                for after in row["path"]:
                    assert after in moves[before], f"{table} went {before} → {after}"
                    before = after
                assert before == row["status"]

    async def recorded(self) -> None:
        """Write down what was asked of the provider so far."""
        await self.harness.service.fastapi.state.provider.settle()

    async def processed(self) -> None:
        """Wait for what is processed behind the answers."""
        await self.harness.service.fastapi.state.webhooks.settle()

    async def event_types(self, order: PlacedOrder) -> list[str]:
        """What payments told the others about an order."""
        events = await self.harness.events()
        return [event.type for event in events if event.data["order_id"] == str(order.order_id)]

    async def deliver(self, event_type: str, order: PlacedOrder, **data: Any) -> None:
        """An event of orders."""
        await self.harness.deliver(event_type, {"order_id": str(order.order_id), **data}, subject=order.order_id)

    async def path(self, order: PlacedOrder) -> list[str]:
        """Every status the payment went through."""
        rows = await self.harness.fetch(
            "SELECT h.status FROM payment_history h JOIN payments p ON p.id = h.payment_id WHERE p.order_id = $1"
            " ORDER BY h.at, h.id",
            order.order_id,
        )
        return [row["status"] for row in rows]


Opening = Callable[..., AbstractAsyncContextManager[Till]]


@pytest.fixture
async def open_till(service_factory: ServiceFactory, simulator: SimulatorProcess, receiver: WebhookReceiver) -> Opening:
    """Starts a fresh payments service with settings of the test's own."""
    await asyncio.to_thread(simulator.clear_faults)
    await asyncio.to_thread(simulator.set_webhook, receiver.url)
    await asyncio.to_thread(simulator.variants, **msgspec.to_builtins(Variants()))
    await asyncio.to_thread(simulator.settle_webhooks)
    receiver.received.clear()

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Till]:
        orders = FakeUpstream()
        others = {name: FakeUpstream() for name in ("catalog", "cart", "accounts")}
        upstreams = {name: fake.upstream() for name, fake in {"orders": orders, **others}.items()}
        given = {
            "razorpay_base_url": simulator.base_url,
            "razorpay_key_id": simulator.key_id,
            "razorpay_key_secret": simulator.key_secret,
            "razorpay_webhook_secret": simulator.webhook_secret,
            "simulator_page_url": f"{simulator.base_url}/simulator/checkout",
            "provider_timeout": 1.0,
            "create_wait": 1.0,
            **settings,
        }
        async with service_factory(PaymentsSettings, build, upstreams=upstreams, **given) as harness:
            till = Till(harness, simulator, receiver, orders, others)
            yield till
            await till.check_histories()

    return start


@pytest.fixture
async def till(open_till: Opening) -> AsyncIterator[Till]:
    """A fresh payments service; the provider's webhooks are caught, not delivered."""
    async with open_till() as started:
        yield started


class IdleTransactions:
    """Looks from outside for transactions of the service that stay open while nothing is asked of the database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.found: list[str] = []
        self.looks = 0

    async def during(self, work: Awaitable[Any]) -> Any:
        """The result of the work, watched."""
        connection = await asyncpg.connect(self._url)
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                idle = await connection.fetch(
                    "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND application_name ="
                    " 'payments' AND state LIKE 'idle in transaction%'"
                    " AND clock_timestamp() - state_change > interval '100 ms'"
                )
                self.found += [row["query"] for row in idle]
                self.looks += 1
                await asyncio.wait({task}, timeout=0.02)
            return await task
        finally:
            await connection.close()


@pytest.fixture
async def idle_transactions(till: Till) -> IdleTransactions:
    """A watch over the service's sessions."""
    return IdleTransactions(till.harness.database.url)
