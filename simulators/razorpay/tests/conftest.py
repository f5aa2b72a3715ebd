"""Real HTTP throughout: the simulator in a process of its own, the official SDK, a shop that hears webhooks."""

from collections.abc import Iterator

import pytest
import razorpay

from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver


@pytest.fixture(scope="session")
def shared() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """The shared simulator, well-behaved again after each test."""
    before = shared.call("GET", "/simulator/variants")
    yield shared
    shared.clear_faults()
    shared.variants(**before)


@pytest.fixture
def fresh() -> Iterator[SimulatorProcess]:
    """A simulator with an empty ledger, for tests that count everything or end the process."""
    with SimulatorProcess() as simulator:
        yield simulator


@pytest.fixture
def client(simulator: SimulatorProcess) -> Iterator[razorpay.Client]:
    yield from _sdk(simulator)


@pytest.fixture
def fresh_client(fresh: SimulatorProcess) -> Iterator[razorpay.Client]:
    yield from _sdk(fresh)


@pytest.fixture
def shop(fresh: SimulatorProcess) -> Iterator[WebhookReceiver]:
    """The webhook address of the fresh simulator's merchant."""
    with WebhookReceiver() as receiver:
        fresh.set_webhook(receiver.url)
        yield receiver


def _sdk(simulator: SimulatorProcess) -> Iterator[razorpay.Client]:
    client = razorpay.Client(auth=(simulator.key_id, simulator.key_secret), base_url=simulator.base_url)
    yield client
    client.session.close()
