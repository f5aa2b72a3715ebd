"""A shop whose post the tests of a file carry by hand, with a provider of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from chassis.testing import Databases, Keys, ServiceFactory
from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver
from razorpay_simulator.variants import Variants
from tests.hand_carried import HandCarriedShop
from tests.hand_carried_opening import opened_shop


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookReceiver]:
    """Where the provider's webhooks arrive and wait."""
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def provider(receiver: WebhookReceiver) -> Iterator[SimulatorProcess]:
    """A provider with an empty ledger."""
    with SimulatorProcess(webhook_url=receiver.url) as provider:
        yield provider


@pytest.fixture(scope="module")
async def hand_carried(
    service_factory: ServiceFactory,
    databases: Databases,
    keys: Keys,
    provider: SimulatorProcess,
    receiver: WebhookReceiver,
) -> AsyncIterator[HandCarriedShop]:
    """The shop of this file."""
    async with opened_shop(service_factory, databases, keys, provider=provider, receiver=receiver) as shop:
        yield shop


@pytest.fixture
async def carried(hand_carried: HandCarriedShop) -> AsyncIterator[HandCarriedShop]:
    """The shop; when a test is done with it, what was begun ends, and every invariant holds."""
    yield hand_carried
    await asyncio.to_thread(hand_carried.provider.clear_faults)
    await asyncio.to_thread(hand_carried.provider.variants, **msgspec.to_builtins(Variants()))
    await asyncio.create_task(hand_carried.settle())
    assert await hand_carried.broken() == []
