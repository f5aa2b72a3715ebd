"""A payments service on a real database, the Razorpay simulator as the provider, and orders that answer as told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from chassis.ids import new_id
from chassis.testing import FakeUpstream, Harness, ServiceFactory
from payments.app import build
from payments.settings import PaymentsSettings
from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver


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

    async def hand_on(self, webhook: Any, *, body: bytes | None = None, **headers: str) -> httpx.Response:
        """Deliver one webhook, and let it be processed."""
        given = {"x-razorpay-signature": webhook.signature, "x-razorpay-event-id": webhook.event_id, **headers}
        answer = await self.harness.client.post(
            "/api/v1/payments/webhooks/razorpay", content=body if body is not None else webhook.body, headers=given
        )
        await self.processed()
        return answer

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


@pytest.fixture
async def till(
    service_factory: ServiceFactory, simulator: SimulatorProcess, receiver: WebhookReceiver
) -> AsyncIterator[Till]:
    """A fresh payments service; the provider's webhooks are caught, not delivered."""
    await asyncio.to_thread(simulator.clear_faults)
    await asyncio.to_thread(simulator.set_webhook, receiver.url)
    await asyncio.to_thread(simulator.settle_webhooks)
    receiver.received.clear()
    orders = FakeUpstream()
    async with service_factory(
        PaymentsSettings,
        build,
        upstreams={"orders": orders.upstream()},
        razorpay_base_url=simulator.base_url,
        razorpay_key_id=simulator.key_id,
        razorpay_key_secret=simulator.key_secret,
        razorpay_webhook_secret=simulator.webhook_secret,
        simulator_page_url=f"{simulator.base_url}/simulator/checkout",
        provider_timeout=1.0,
        create_wait=1.0,
    ) as harness:
        yield Till(harness, simulator, receiver, orders)
