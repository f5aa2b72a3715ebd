"""The bus on RabbitMQ: confirmed publishing, and one quorum queue per consumer with a ladder of retries behind it.

Written for what behaves alike from RabbitMQ 3.10 to 4.3. Connections and consumers have modules of their own.

    haat.events       topic exchange; the routing key is the event's type
    <consumer>.in     what the consumer handles; delivered 20 times without an answer, a message goes to haat.dead
    <consumer>.retry  direct exchange to one queue per step (<consumer>.retry.5s); their time-to-live leads back to .in
    haat.dead         direct exchange to <consumer>.parked

A consumer declares only its own queues, its retry exchange and the two shared exchanges, and needs no default exchange.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from chassis.events import LADDER, Handler, Message, NotParked, OnBound, ParkedMessage, PublishFailed
from chassis.rabbitmq_connection import EVENTS, Publisher, attempt_of, copy_of, id_of
from chassis.rabbitmq_consumer import Consumer, Listener, QueueConsumer
from chassis.rabbitmq_queues import queues_of

CONTENT_TYPE = "application/cloudevents+json"


class RabbitBus:
    """Implements `Bus`. `name` tells the broker's operators whose connections these are."""

    def __init__(self, url: str, *, name: str, ladder: Sequence[float] = LADDER, pause: float = 1.0) -> None:
        self._url = url
        self._name = name
        self._ladder = tuple(ladder)
        self._pause = pause
        self.publisher = Publisher(url, f"{name} publishes")
        self._consumers: list[Consumer] = []

    async def start(self) -> None:
        """Begin to connect."""
        self.publisher.begin()

    async def stop(self) -> None:
        """Let handlers finish, then close."""
        await asyncio.gather(*(consumer.stop() for consumer in self._running()))
        await self.publisher.end()

    def is_ready(self) -> bool:
        """Whether publisher and every consumer are connected."""
        return self.publisher.is_up and all(consumer.is_up for consumer in self._running())

    async def publish(self, message: Message) -> None:
        """Returns when the broker has the message on disk in every bound queue."""
        mirrored = {"type": message.type, "id": str(message.id), **message.headers}
        outgoing = aio_pika.Message(
            message.body,
            headers={f"cloudEvents_{name}": value for name, value in mirrored.items()},
            content_type=CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(message.id),
            correlation_id=message.headers.get("correlationid"),
            timestamp=datetime.now(UTC),
            type=message.type,
            app_id=self._name,
        )
        await self.publisher.send(outgoing, exchange=EVENTS, key=message.type, mandatory=message.required)

    async def subscribe(self, consumer: str, types: Iterable[str], handler: Handler) -> Consumer:
        """Bind the durable queue and consume, from the next connection on."""
        consuming = QueueConsumer(
            self._url, consumer, types, handler, publisher=self.publisher, ladder=self._ladder, pause=self._pause
        )
        return self._begin(consuming)

    async def listen(self, name: str, types: Iterable[str], handler: Handler, *, on_bound: OnBound) -> Consumer:
        """Hear these types through a queue that lives as long as the connection."""
        return self._begin(Listener(self._url, name, types, handler, on_bound=on_bound))

    async def waiting(self, consumer: str) -> int:
        """Those that are ready in its queue and in each step of its ladder."""
        if not self.publisher.is_up or self.publisher.connection is None:
            raise PublishFailed("The broker is not connected.")
        names = [queue.name for queue in queues_of(consumer, self._ladder) if not queue.name.endswith(".parked")]
        async with self.publisher.connection.channel() as channel:
            queues = [await channel.declare_queue(name, passive=True) for name in names]
        return sum(queue.declaration_result.message_count or 0 for queue in queues)

    def parked(self, consumer: str) -> "_Parked":
        """The messages that the consumer gave up."""
        return _Parked(self.publisher, consumer)

    def _running(self) -> list[Consumer]:
        return [consumer for consumer in self._consumers if not consumer.has_ended]

    def _begin(self, consumer: Consumer) -> Consumer:
        self._consumers = [*self._running(), consumer]
        consumer.begin()
        return consumer


class _Parked:
    """Implements `Parked`: takes messages from the queue, and gives back by closing the channel."""

    def __init__(self, publisher: Publisher, consumer: str) -> None:
        self._publisher = publisher
        self._consumer = consumer

    async def count(self) -> int:
        """How many."""
        async with await self._channel() as channel:
            return (await self._queue(channel)).declaration_result.message_count or 0

    async def list(self, limit: int = 100) -> Sequence[ParkedMessage]:
        """The oldest ones."""
        found: list[ParkedMessage] = []
        async with await self._channel() as channel:
            queue = await self._queue(channel)
            while len(found) < limit and (message := await queue.get(fail=False)) is not None:
                found.append(_parked_message(message))
        return found

    async def show(self, id: UUID) -> ParkedMessage:
        """One of them."""
        async with await self._channel() as channel:
            return _parked_message(await self._find(channel, id))

    async def replay(self, id: UUID) -> None:
        """Deliver it again."""
        async with await self._channel() as channel:
            message = await self._find(channel, id)
            exchange, key = f"{self._consumer}.retry", f"{self._consumer}.in"
            await self._publisher.send(copy_of(message, {"x-attempt": 1}), exchange=exchange, key=key, mandatory=True)
            await message.ack()

    async def drop(self, id: UUID) -> None:
        """Give it up for good."""
        async with await self._channel() as channel:
            await (await self._find(channel, id)).ack()

    async def _channel(self) -> AbstractChannel:
        if not self._publisher.is_up or self._publisher.connection is None:
            raise PublishFailed("The broker is not connected.")
        return self._publisher.connection.channel()

    async def _queue(self, channel: AbstractChannel) -> AbstractQueue:
        return await channel.declare_queue(f"{self._consumer}.parked", passive=True)

    async def _find(self, channel: AbstractChannel, id: UUID) -> AbstractIncomingMessage:
        queue = await self._queue(channel)
        while (message := await queue.get(fail=False)) is not None:
            if id_of(message) == id:
                return message
        raise NotParked(f"{self._consumer} has no parked message {id}.")


def _parked_message(message: AbstractIncomingMessage) -> ParkedMessage:
    parked_at = message.headers.get("x-parked-at")
    return ParkedMessage(
        id=id_of(message),
        type=message.type or "",
        attempts=attempt_of(message),
        error=str(
            message.headers.get("x-error", "Delivered too often without an answer: its handler kills the process.")
        ),
        parked_at=parked_at if isinstance(parked_at, datetime) else None,
        body=message.body,
    )
