"""The broker that tests get is a real one, and it never stays behind."""

from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue

from localservers.broker import BrokerIsNotOurs, RunningBroker
from localservers.rabbitmq import provide_rabbitmq

pytestmark = [pytest.mark.broker, pytest.mark.slow]
CACHE = Path(__file__).parents[3] / ".cache" / "rabbitmq"


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningBroker]:
    broker = provide_rabbitmq(CACHE, private=True)
    yield broker
    broker.close()


async def test_a_confirmed_message_survives_a_crash(broker: RunningBroker) -> None:
    connection, _, _ = await _declare(broker)
    await connection.close()
    # RabbitMQ 3.10 loses a quorum queue that is younger than half a second in a crash; a clean restart settles it.
    broker.restart()
    connection, channel, queue = await _declare(broker)
    message = aio_pika.Message(b"paid", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, routing_key=queue.name)
    broker.kill()
    await connection.close()

    broker.restart()

    connection, _, queue = await _declare(broker)
    async with queue.iterator(timeout=30) as messages:
        kept = await anext(messages)
        assert kept.body == b"paid"
        await kept.ack()
    await connection.close()


async def _declare(broker: RunningBroker) -> tuple[AbstractConnection, AbstractChannel, AbstractQueue]:
    connection = await aio_pika.connect(broker.amqp_url)
    channel = await connection.channel()
    queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    return connection, channel, queue


def test_it_can_be_asked_about_itself(broker: RunningBroker) -> None:
    assert broker.version in broker.ctl("version")


def test_a_broker_that_was_given_is_used_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_AMQP_URL", "amqp://elsewhere/")
    given = provide_rabbitmq(CACHE)
    assert given.amqp_url == "amqp://elsewhere/"
    with pytest.raises(BrokerIsNotOurs):
        given.kill()
