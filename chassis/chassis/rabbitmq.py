"""The bus on RabbitMQ: confirmed publishing, and one quorum queue per consumer with a ladder of retries behind it.

Written for what behaves alike from RabbitMQ 3.10 to 4.3. Connections are plain ones that we open again ourselves:
every reconnect declares the whole topology anew, so a broker that came back empty is made whole, and a retry or a
parked message is a new, confirmed publish, after which the original is acknowledged.

    haat.events       topic exchange; the routing key is the event's type
    <consumer>.in     what the consumer handles; delivered 20 times without an answer, a message goes to haat.dead
    <consumer>.retry  direct exchange to one queue per step (<consumer>.retry.5s); their time-to-live leads back to .in
    haat.dead         direct exchange to <consumer>.parked

A consumer declares only its own queues, its retry exchange and the two shared exchanges, and needs no default exchange.
"""

import asyncio
import contextvars
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, PublishError
from pamqp.exceptions import PAMQPException
from yarl import URL

from chassis.events import (
    DRAIN,
    LADDER,
    PREFETCH,
    Handled,
    Handler,
    Message,
    NotParked,
    OnBound,
    Park,
    ParkedMessage,
    Pause,
    PublishFailed,
    Retry,
    Unroutable,
    judge,
)
from chassis.ids import new_id
from chassis.telemetry import get_logger

EVENTS = "haat.events"
DEAD = "haat.dead"
CONTENT_TYPE = "application/cloudevents+json"
HEARTBEAT = 10
PUBLISH_TIMEOUT = 5.0
WATCH_EVERY = 30.0
"""Seconds without a delivery after which a consumer asks whether messages wait that it is not given."""

_LOST = (AMQPError, PAMQPException, OSError, RuntimeError, TimeoutError)
"""What aio-pika raises when a connection or channel is gone."""


class _Session:
    """A connection that is opened again whenever it is lost."""

    def __init__(self, url: str, name: str) -> None:
        self._url = URL(url).update_query(heartbeat=str(HEARTBEAT))
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()
        self.is_up = False

    def begin(self) -> None:
        """Connect, now and after every loss, in the background."""
        self._task = asyncio.create_task(self._keep(), name=self._name)

    async def end(self) -> None:
        """Close for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep(self) -> None:
        pause = 0.1
        while True:
            self.lost.clear()
            try:
                properties = {"connection_name": self._name}
                connection = await aio_pika.connect(self._url, timeout=5, client_properties=properties)
                connection.close_callbacks.add(self._on_close)
                try:
                    await self._prepare(connection)
                    self.is_up, pause = True, 0.1
                    await self._stay(connection)
                finally:
                    self.is_up = False
                    await connection.close()
            except Exception as error:  # noqa: BLE001 - whatever ended the connection, a new one is the cure
                get_logger().warning("broker_connection_lost", connection=self._name, error=repr(error))
            pause = min(pause * 2, 5.0)
            await asyncio.sleep(pause)

    async def _prepare(self, connection: AbstractConnection) -> None:
        """What to declare and open on a new connection."""
        raise NotImplementedError

    async def _stay(self, connection: AbstractConnection) -> None:
        """Return when the connection is of no more use."""
        await self.lost.wait()

    def _on_close(self, *_: Any) -> None:
        self.lost.set()

    def _watch(self, channel: AbstractChannel) -> AbstractChannel:
        channel.close_callbacks.add(self._on_close)
        return channel


class _Publisher(_Session):
    """The connection that only publishes: when the broker blocks it, acknowledgements still flow on the others."""

    connection: AbstractConnection | None = None
    _channel: AbstractChannel | None = None

    async def _prepare(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.declare_exchange(EVENTS, "topic", durable=True)
        self.connection, self._channel = connection, self._watch(channel)

    async def send(self, message: aio_pika.Message, *, exchange: str, key: str, mandatory: bool) -> None:
        """Returns when the broker confirmed. Raises Unroutable or PublishFailed."""
        if not self.is_up or self._channel is None:
            raise PublishFailed("The broker is not connected.")
        try:
            target = await self._channel.get_exchange(exchange, ensure=False)
            await target.publish(message, key, mandatory=mandatory, timeout=PUBLISH_TIMEOUT)
        except PublishError as returned:
            raise Unroutable(f"Nobody is bound to {key}.") from returned
        except _LOST as failure:
            raise PublishFailed(f"Not confirmed: {failure!r}") from failure
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A closing channel cancels what waits on it, which is not the same as our caller giving up.
            raise PublishFailed("The channel closed before the broker confirmed.") from cancelled


class RabbitBus:
    """Implements `Bus`. `name` tells the broker's operators whose connections these are."""

    def __init__(self, url: str, *, name: str, ladder: Sequence[float] = LADDER, pause: float = 1.0) -> None:
        self.url = url
        self.name = name
        self.ladder = tuple(ladder)
        self.pause = pause
        self.publisher = _Publisher(url, f"{name} publishes")
        self._consumers: set[_Consumer] = set()

    async def start(self) -> None:
        """Begin to connect."""
        self.publisher.begin()

    async def stop(self) -> None:
        """Let handlers finish, then close."""
        await asyncio.gather(*(consumer.stop() for consumer in list(self._consumers)))
        await self.publisher.end()

    def is_ready(self) -> bool:
        """Whether publisher and every consumer are connected."""
        return self.publisher.is_up and all(consumer.is_up for consumer in self._consumers)

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
            app_id=self.name,
        )
        await self.publisher.send(outgoing, exchange=EVENTS, key=message.type, mandatory=message.required)

    async def subscribe(self, consumer: str, types: Iterable[str], handler: Handler) -> "_Consumer":
        """Bind the durable queue and consume, from the next connection on."""
        return self._begin(_QueueConsumer(self, consumer, types, handler))

    async def listen(self, name: str, types: Iterable[str], handler: Handler, *, on_bound: OnBound) -> "_Consumer":
        """Hear these types through a queue that lives as long as the connection."""
        return self._begin(_Listener(self, name, types, handler, on_bound=on_bound))

    def parked(self, consumer: str) -> "_Parked":
        """The messages that the consumer gave up."""
        return _Parked(self, consumer)

    def _begin(self, consumer: "_Consumer") -> "_Consumer":
        self._consumers.add(consumer)
        consumer.begin()
        return consumer

    def forget(self, consumer: "_Consumer") -> None:
        """A subscription has stopped; its queue stays bound."""
        self._consumers.discard(consumer)


class _Consumer(_Session):
    """A connection that only consumes. Handlers run in tasks of ours, which a closing channel does not cancel."""

    def __init__(self, bus: RabbitBus, name: str, types: Iterable[str], handler: Handler) -> None:
        super().__init__(bus.url, f"{name} consumes")
        self._bus = bus
        self._consumer = name
        self._types = tuple(types)
        self._handler = handler
        self._queue: AbstractQueue | None = None
        self._tag = ""
        self._handling: set[asyncio.Task[None]] = set()
        self._last_delivery = 0.0
        self._stopping = asyncio.Event()
        self._context = contextvars.copy_context()

    async def stop(self) -> None:
        """Take no more messages, let handlers finish, and close; what is not acknowledged is delivered again."""
        self._stopping.set()
        if self.is_up and self._queue is not None:
            try:
                await self._queue.cancel(self._tag, timeout=3)
            except _LOST as error:
                get_logger().info("consumer_not_cancelled", consumer=self._consumer, error=repr(error))
        if self._handling:
            await asyncio.wait(self._handling, timeout=DRAIN)
        await self.end()
        self._bus.forget(self)

    async def _prepare(self, connection: AbstractConnection) -> None:
        channel = self._watch(await connection.channel(publisher_confirms=False))
        await channel.set_qos(prefetch_count=PREFETCH)
        underlay = await channel.get_underlay_channel()
        # The broker cancels a consumer whose queue was deleted; declaring everything anew is the cure for that too.
        underlay.on_consumer_cancel_callbacks.add(self._on_close)
        await channel.declare_exchange(EVENTS, "topic", durable=True)
        self._queue = await self._declare(channel)
        for type_ in self._types:
            await self._queue.bind(EVENTS, type_)
        await self._before_first_message()
        self._last_delivery = asyncio.get_running_loop().time()
        self._tag = await self._queue.consume(self._on_message)

    async def _declare(self, channel: AbstractChannel) -> AbstractQueue:
        raise NotImplementedError

    async def _before_first_message(self) -> None:
        """Hook of the listener."""

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        raise NotImplementedError

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        loop = asyncio.get_running_loop()
        self._last_delivery = loop.time()
        task = loop.create_task(self._answer(message), context=self._context.copy())
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    async def _answer(self, message: AbstractIncomingMessage) -> None:
        try:
            await self._deliver(message)
        except _LOST as error:
            # The channel went while the handler ran: the message comes again, and the inbox knows it.
            get_logger().info("not_acknowledged", consumer=self._consumer, error=repr(error))

    async def _stay(self, connection: AbstractConnection) -> None:
        while not self.lost.is_set():
            try:
                async with asyncio.timeout(WATCH_EVERY):
                    await self.lost.wait()
            except TimeoutError:
                await self._check_that_messages_come(connection)

    async def _check_that_messages_come(self, connection: AbstractConnection) -> None:
        """The net under every fault of client and broker that leaves a consumer connected and deaf."""
        is_quiet = asyncio.get_running_loop().time() - self._last_delivery > WATCH_EVERY
        if self._handling or self._stopping.is_set() or self._queue is None or not is_quiet:
            return
        async with asyncio.timeout(10), connection.channel() as channel:
            queue = await channel.declare_queue(self._queue.name, passive=True)
        if queue.declaration_result.message_count:
            raise RuntimeError(f"{queue.declaration_result.message_count} messages wait and none is delivered.")


class _QueueConsumer(_Consumer):
    """A durable queue with retries and parking."""

    _paused_until = 0.0

    async def _declare(self, channel: AbstractChannel) -> AbstractQueue:
        name = self._consumer
        dead = await channel.declare_exchange(DEAD, "direct", durable=True)
        again = await channel.declare_exchange(f"{name}.retry", "direct", durable=True)
        # Looking at a parked message counts as a delivery, and none may be dropped for that.
        parked = await channel.declare_queue(
            f"{name}.parked", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
        )
        await parked.bind(dead, name)
        for delay in self._bus.ladder:
            step = await channel.declare_queue(
                f"{name}.retry.{_label(delay)}",
                durable=True,
                arguments={"x-message-ttl": round(delay * 1000), **_dead_letters(f"{name}.retry", f"{name}.in")},
            )
            await step.bind(again, step.name)
        queue = await channel.declare_queue(
            f"{name}.in", durable=True, arguments={"x-delivery-limit": 20, **_dead_letters(DEAD, name)}
        )
        await queue.bind(again, queue.name)
        return queue

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        attempt = _attempt(message)
        verdict = await judge(self._handler, message.body, attempt=attempt, ladder=self._bus.ladder)
        while isinstance(verdict, Pause):
            # Kept unacknowledged: handing it back would count towards the delivery limit.
            if not await self._wait_out(verdict):
                return
            verdict = await judge(self._handler, message.body, attempt=attempt, ladder=self._bus.ladder)
        if isinstance(verdict, Retry):
            key = f"{self._consumer}.retry.{_label(verdict.delay)}"
            await self._hand_on(message, {"x-attempt": attempt + 1}, exchange=f"{self._consumer}.retry", key=key)
        elif isinstance(verdict, Park):
            why = {"x-attempt": attempt, "x-error": verdict.error, "x-parked-at": datetime.now(UTC)}
            get_logger().error("message_parked", consumer=self._consumer, id=message.message_id, error=verdict.error)
            await self._hand_on(message, why, exchange=DEAD, key=self._consumer)
        await message.ack()

    async def _wait_out(self, verdict: Pause) -> bool:
        """Whether to go on after the pause; not when consuming stops."""
        get_logger().warning("consuming_paused", consumer=self._consumer, error=verdict.error)
        try:
            async with asyncio.timeout(self._bus.pause):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def _hand_on(
        self, message: AbstractIncomingMessage, headers: dict[str, Any], *, exchange: str, key: str
    ) -> None:
        """Publish a copy until the broker has it; a crash before the acknowledgement leaves two, which is harmless."""
        while True:
            try:
                await self._bus.publisher.send(_copy(message, headers), exchange=exchange, key=key, mandatory=True)
            except (PublishFailed, Unroutable) as failure:
                get_logger().warning("not_handed_on", consumer=self._consumer, key=key, error=str(failure))
                await asyncio.sleep(self._bus.pause)
            else:
                return


class _Listener(_Consumer):
    """An exclusive queue that the broker deletes with the connection."""

    def __init__(self, bus: RabbitBus, name: str, types: Iterable[str], handler: Handler, *, on_bound: OnBound) -> None:
        super().__init__(bus, name, types, handler)
        self._on_bound = on_bound

    async def _declare(self, channel: AbstractChannel) -> AbstractQueue:
        name = f"{self._consumer}.{new_id().hex}"
        return await channel.declare_queue(name, exclusive=True, auto_delete=True)

    async def _before_first_message(self) -> None:
        await self._on_bound()

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        verdict = await judge(self._handler, message.body, attempt=1, ladder=())
        if not isinstance(verdict, Handled):
            get_logger().warning("listener_failed", listener=self._consumer, error=verdict.error)
        await message.ack()


class _Parked:
    """Implements `Parked`: takes messages from the queue, and gives back by closing the channel."""

    def __init__(self, bus: RabbitBus, consumer: str) -> None:
        self._bus = bus
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
            await self._bus.publisher.send(_copy(message, {"x-attempt": 1}), exchange=exchange, key=key, mandatory=True)
            await message.ack()

    async def drop(self, id: UUID) -> None:
        """Give it up for good."""
        async with await self._channel() as channel:
            await (await self._find(channel, id)).ack()

    async def _channel(self) -> AbstractChannel:
        if not self._bus.publisher.is_up or self._bus.publisher.connection is None:
            raise PublishFailed("The broker is not connected.")
        return self._bus.publisher.connection.channel()

    async def _queue(self, channel: AbstractChannel) -> AbstractQueue:
        return await channel.declare_queue(f"{self._consumer}.parked", passive=True)

    async def _find(self, channel: AbstractChannel, id: UUID) -> AbstractIncomingMessage:
        queue = await self._queue(channel)
        while (message := await queue.get(fail=False)) is not None:
            if _id(message) == id:
                return message
        raise NotParked(f"{self._consumer} has no parked message {id}.")


def _dead_letters(exchange: str, key: str) -> dict[str, Any]:
    """A replicated queue whose expired or refused messages are not lost on their way to `exchange`."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-routing-key": key,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _label(delay: float) -> str:
    """5 s → "5s", 300 s → "5m", 20 ms → "20ms"."""
    if delay >= 60 and delay % 60 == 0:
        return f"{delay / 60:.0f}m"
    return f"{delay:.0f}s" if delay >= 1 else f"{delay * 1000:.0f}ms"


def _attempt(message: AbstractIncomingMessage) -> int:
    attempt = message.headers.get("x-attempt", 1)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1


def _id(message: AbstractIncomingMessage) -> UUID:
    """The event's id; for a message that none of ours published, one derived from its body."""
    try:
        return UUID(message.message_id or "")
    except ValueError:
        return uuid5(NAMESPACE_OID, message.body.hex())


def _copy(message: AbstractIncomingMessage, headers: dict[str, Any]) -> aio_pika.Message:
    """The same message with other headers; what the broker and we noted about earlier rounds is left behind."""
    kept = {name: value for name, value in message.headers.items() if not name.startswith("x-")}
    return aio_pika.Message(
        message.body,
        headers={**kept, **headers},
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )


def _parked_message(message: AbstractIncomingMessage) -> ParkedMessage:
    parked_at = message.headers.get("x-parked-at")
    return ParkedMessage(
        id=_id(message),
        type=message.type or "",
        attempts=_attempt(message),
        error=str(
            message.headers.get("x-error", "Delivered too often without an answer: its handler kills the process.")
        ),
        parked_at=parked_at if isinstance(parked_at, datetime) else None,
        body=message.body,
    )
