"""A shop whose post the tests carry by hand, with a provider of its own for each test's books."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from chassis.testing import Databases, Keys, ServiceFactory
from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver
from tests.hand_carried import WEBHOOK_EVENTS, HandCarriedShop
from tests.hand_carried_opening import opened_shop


@pytest.fixture(scope="session")
def receiver() -> Iterator[WebhookReceiver]:
    """Where the provider's webhooks arrive and wait."""
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def provider(receiver: WebhookReceiver) -> Iterator[SimulatorProcess]:
    """A provider with an empty ledger."""
    receiver.received.clear()
    with SimulatorProcess(webhook_url=receiver.url, webhook_events=WEBHOOK_EVENTS) as provider:
        yield provider


@pytest.fixture
async def carried(
    service_factory: ServiceFactory,
    databases: Databases,
    keys: Keys,
    provider: SimulatorProcess,
    receiver: WebhookReceiver,
) -> AsyncIterator[HandCarriedShop]:
    """The shop; when a test is done with it, everything that was begun ends, and every invariant holds."""
    async with opened_shop(service_factory, databases, keys, provider=provider, receiver=receiver) as shop:
        yield shop
        await asyncio.create_task(shop.settle())
        assert await shop.broken() == []
