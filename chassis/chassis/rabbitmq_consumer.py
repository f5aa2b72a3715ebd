"""Consumers of RabbitMQ: a durable queue with its ladder of retries, and a listener that keeps nothing.

A retry or a parked message is a new, confirmed publish, after which the original is acknowledged: a crash in between
leaves two copies, which the inbox absorbs, and never none.
"""

import asyncio
import contextvars
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

from chassis.crash_points import crash_point
from chassis.events import (
    DRAIN,
    PREFETCH,
    Handled,
    Handler,
    OnBound,
    Park,
    Pause,
    PublishFailed,
    Retry,
    Unroutable,
    judge,
)
from chassis.ids import new_id
from chassis.rabbitmq_connection import DEAD, EVENTS, LOST, Publisher, Session, attempt_of, copy_of
from chassis.rabbitmq_queues import exchanges_of, incoming, queues_of, step_of
from chassis.telemetry import get_logger

WATCH_EVERY = 30.0
"""Seconds without a delivery after which a consumer asks whether messages wait that it is not given."""


class Consumer(Session):
    """A connection that only consumes. Handlers run in tasks of ours, which a closing channel does not cancel."""

    def __init__(self, url: str, name: str, types: Iterable[str], handler: Handler) -> None:
        super().__init__(url, f"{name} consumes")
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
            except LOST as error:
                get_logger().info("consumer_not_cancelled", consumer=self._consumer, error=repr(error))
        if self._handling:
            _, late = await asyncio.wait(self._handling, timeout=DRAIN)
            for task in late:
                task.cancel()
        await self.end()

    async def _prepare(self, connection: AbstractConnection) -> None:
        channel = self._end_with(await connection.channel(publisher_confirms=False))
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
        except LOST as error:
            # The channel went while the handler ran: the message comes again, and the inbox knows it.
            get_logger().info("not_acknowledged", consumer=self._consumer, error=repr(error))

    async def _stay(self, connection: AbstractConnection) -> None:
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(WATCH_EVERY):
                    await self._lost.wait()
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


class QueueConsumer(Consumer):
    """A durable queue with retries and parking."""

    def __init__(
        self,
        url: str,
        name: str,
        types: Iterable[str],
        handler: Handler,
        *,
        publisher: Publisher,
        ladder: Sequence[float],
        pause: float,
    ) -> None:
        super().__init__(url, name, types, handler)
        self._publisher = publisher
        self._ladder = ladder
        self._pause = pause

    async def _declare(self, channel: AbstractChannel) -> AbstractQueue:
        for name, type_ in exchanges_of(self._consumer).items():
            await channel.declare_exchange(name, type_, durable=True)
        for declared in queues_of(self._consumer, self._ladder):
            queue = await channel.declare_queue(declared.name, durable=True, arguments=declared.arguments)
            await queue.bind(declared.exchange, declared.key)
        return await channel.get_queue(incoming(self._consumer), ensure=False)

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        attempt = attempt_of(message)
        verdict = await judge(self._handler, message.body, attempt=attempt, ladder=self._ladder)
        while isinstance(verdict, Pause):
            # Kept unacknowledged: handing it back would count towards the delivery limit.
            if not await self._wait_out(verdict):
                return
            verdict = await judge(self._handler, message.body, attempt=attempt, ladder=self._ladder)
        if isinstance(verdict, Retry):
            key = step_of(self._consumer, verdict.delay)
            await self._hand_on(message, {"x-attempt": attempt + 1}, exchange=f"{self._consumer}.retry", key=key)
        elif isinstance(verdict, Park):
            why = {"x-attempt": attempt, "x-error": verdict.error, "x-parked-at": datetime.now(UTC)}
            get_logger().error("message_parked", consumer=self._consumer, id=message.message_id, error=verdict.error)
            await self._hand_on(message, why, exchange=DEAD, key=self._consumer)
        crash_point("ack.before")
        await message.ack()
        crash_point("ack.after")

    async def _wait_out(self, verdict: Pause) -> bool:
        """Whether to go on after the pause; not when consuming stops."""
        get_logger().warning("consuming_paused", consumer=self._consumer, error=verdict.error)
        try:
            async with asyncio.timeout(self._pause):
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
                crash_point("hand_on.before")
                await self._publisher.send(copy_of(message, headers), exchange=exchange, key=key, mandatory=True)
            except (PublishFailed, Unroutable) as failure:
                get_logger().warning("not_handed_on", consumer=self._consumer, key=key, error=str(failure))
                await asyncio.sleep(self._pause)
            else:
                crash_point("hand_on.after")
                return


class Listener(Consumer):
    """An exclusive queue that the broker deletes with the connection."""

    def __init__(self, url: str, name: str, types: Iterable[str], handler: Handler, *, on_bound: OnBound) -> None:
        super().__init__(url, name, types, handler)
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
