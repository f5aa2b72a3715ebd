"""The bus of the embedded shop: several services in one process, and no broker to install.

It is no kinder and no less durable than RabbitMQ. Queues, retry times and parked messages are rows of a database of
its own. A publish returns when the message is safe with each consumer: its handler returned, or a row is committed,
which is deleted after the handler returned. So what is handled at once needs no row, as with a broker that does not
write what was acknowledged before it came to writing; until then the publisher's outbox has it.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Iterable, Sequence

from chassis.events import (
    DRAIN,
    LADDER,
    PREFETCH,
    Handled,
    Handler,
    Message,
    OnBound,
    Pause,
    PublishFailed,
    Retry,
    Unroutable,
    judge,
)
from chassis.queue_store import FETCH, Delivery, ParkedRows, QueueStore
from chassis.telemetry import get_logger

IN_MEMORY = 1000
"""Messages per consumer that wait in memory; beyond, they wait in the database alone."""

HANDLED_WITHIN = 0.1
"""Seconds that a publish waits for handlers before it writes rows for those that have not returned."""

LOOK_EVERY = 30.0
"""Seconds after which a consumer looks into the database unasked: another process may have replayed a message."""


class InProcessBus:
    """Implements `Bus` for services that share this process; `url` names a database that nothing else uses."""

    def __init__(self, url: str, *, ladder: Sequence[float] = LADDER, pause: float = 1.0) -> None:
        self.url = url
        self.ladder = tuple(ladder)
        self.pause = pause
        self.store = QueueStore(url, pause=pause, on_doubt=self._look_everywhere)
        self._bindings: dict[str, set[str]] = {}
        self._queues: dict[str, _Queue] = {}
        self._listeners: dict[str, _Listener] = {}

    async def start(self) -> None:
        """Open the database and learn who was bound before. Raises OSError when the database is away."""
        await self.store.start()
        for queue, type_ in await self.store.bindings():
            self._bindings.setdefault(type_, set()).add(queue)

    async def stop(self) -> None:
        """Let handlers finish; what they leave is delivered at the next start."""
        await asyncio.gather(*(queue.stop() for queue in list(self._queues.values())))
        await asyncio.gather(*(listener.stop() for listener in list(self._listeners.values())))
        await self.store.stop()

    def is_ready(self) -> bool:
        """Whether the bus has started."""
        return self.store.is_running()

    async def publish(self, message: Message) -> None:
        """Returns when every bound queue has handled it or has a row; concurrent publishes share one commit."""
        queues = self._bindings.get(message.type)
        if queues:
            await self._deliver(message, tuple(queues))
        elif message.required:
            raise Unroutable(f"Nobody is bound to {message.type}.")
        for listener in self._listeners.values():
            if message.type in listener.types:
                listener.messages.put_nowait(message.body)

    async def _deliver(self, message: Message, names: Sequence[str]) -> None:
        if not self.store.is_running():
            raise PublishFailed("The bus is not running.")
        handovers = [_Handover(name, self._queues.get(name), message.body) for name in names]
        under_way = [handover.delivery.decided for handover in handovers if handover.delivery is not None]
        try:
            if under_way:
                await asyncio.wait(under_way, timeout=HANDLED_WITHIN)
            late = [handover for handover in handovers if handover.stop_waiting()]
            if late:
                positions = await self.store.publish(message, [handover.name for handover in late])
                for position, handover in zip(positions, late, strict=True):
                    handover.stored(position, consumer=self._queues.get(handover.name))
        except BaseException:
            # Not confirmed, so the publisher comes again; rows may be there all the same.
            for handover in handovers:
                handover.give_up()
                self._look(handover.name)
            raise

    async def subscribe(self, consumer: str, types: Iterable[str], handler: Handler) -> "_Queue":
        """Bind the queue to exactly these types and begin with what waits in it."""
        if consumer in self._queues:
            raise ValueError(f"{consumer} already consumes here.")
        wanted = list(types)
        await self.store.bind(consumer, wanted)
        for queues in self._bindings.values():
            queues.discard(consumer)
        for type_ in wanted:
            self._bindings.setdefault(type_, set()).add(consumer)
        queue = self._queues[consumer] = _Queue(self, consumer, handler)
        return queue

    async def listen(self, name: str, types: Iterable[str], handler: Handler, *, on_bound: OnBound) -> "_Listener":
        """Hear these types from now on; in the same process nothing is missed."""
        listener = self._listeners[name] = _Listener(self, name, types=frozenset(types), handler=handler)
        await on_bound()
        listener.start()
        return listener

    async def waiting(self, consumer: str) -> int:
        """Rows of its queue, also the one just handled."""
        return await self.store.count_waiting(consumer)

    def parked(self, consumer: str) -> ParkedRows:
        """The messages that the consumer gave up."""
        return ParkedRows(self.store, consumer, on_replay=self._look)

    def forget(self, gone: "_Queue | _Listener") -> None:
        """A subscription has stopped; its queue stays bound."""
        for known in (self._queues, self._listeners):
            if known.get(gone.name) is gone:
                del known[gone.name]

    def _look(self, queue: str) -> None:
        if queue in self._queues:
            self._queues[queue].look()

    def _look_everywhere(self) -> None:
        for queue in self._queues.values():
            queue.look()


class _Queue:
    """One consumer's messages: some in memory, all in the database."""

    def __init__(self, bus: InProcessBus, name: str, handler: Handler) -> None:
        self.name = name
        self._bus = bus
        self._handler = handler
        self._ready: deque[Delivery] = deque()
        self._held: set[int] = set()
        self._awake = asyncio.Event()
        self._slots = asyncio.Semaphore(PREFETCH)
        self._handling: set[asyncio.Task[None]] = set()
        self._paused_until = 0.0
        self._must_look = True
        self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_EVERY, self.look)
        self._context = contextvars.copy_context()
        self._pump = asyncio.create_task(self._hand_out(), name=f"consume {name}")

    async def stop(self) -> None:
        """Take no more messages and let the handlers under way finish."""
        self._stopped = True
        self._timer.cancel()
        self._pump.cancel()
        await asyncio.wait([self._pump])
        if self._handling:
            _, late = await asyncio.wait(self._handling, timeout=DRAIN)
            for task in late:
                task.cancel()
        self._bus.forget(self)

    def hand(self, body: bytes) -> Delivery | None:
        """Take a message that has no row, if it can be handled at once."""
        is_busy = len(self._ready) + len(self._handling) >= PREFETCH or self._loop.time() < self._paused_until
        if is_busy or self._must_look or self._stopped:
            return None
        delivery = Delivery(body)
        self._ready.append(delivery)
        self._awake.set()
        return delivery

    def hold(self, position: int) -> None:
        """A message that was handed over has a row now; `look` need not find it."""
        self._held.add(position)

    def offer(self, delivery: Delivery, position: int) -> None:
        """A new row; with too many in memory it is found in the database later."""
        if self._must_look or len(self._ready) >= IN_MEMORY:
            self._must_look = True
        else:
            self._held.add(position)
            self._ready.append(delivery)
        self._awake.set()

    def look(self) -> None:
        """Search the database before the next wait."""
        self._must_look = True
        self._awake.set()
        self._look_in(LOOK_EVERY)

    def _look_in(self, delay: float) -> None:
        now = self._loop.time()
        is_earlier = not now < self._timer.when() <= now + delay
        if is_earlier and not self._stopped:
            self._timer.cancel()
            self._timer = self._loop.call_later(delay, self.look)

    async def _hand_out(self) -> None:
        while True:
            await self._slots.acquire()
            delivery = await self._next()
            task = self._loop.create_task(self._deliver(delivery), context=self._context.copy())
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)

    async def _next(self) -> Delivery:
        while True:
            pause = self._paused_until - self._loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            elif self._ready:
                return self._ready.popleft()
            elif self._must_look:
                await self._fetch()
            else:
                await self._awake.wait()
                self._awake.clear()

    async def _fetch(self) -> None:
        self._must_look = False
        try:
            waiting = await self._bus.store.waiting(self.name, besides=list(self._held))
        except Exception as error:  # noqa: BLE001 - the database comes back, and the queue must still be there
            get_logger().warning("queue_not_read", consumer=self.name, error=repr(error))
            self._must_look = True
            await asyncio.sleep(self._bus.pause)
            return
        for delay, delivery in waiting:
            if delay > 0:
                self._look_in(delay)
                return
            position = delivery.row.result()
            if position is not None and position not in self._held:
                self._held.add(position)
                self._ready.append(delivery)
        self._must_look = self._must_look or len(waiting) == FETCH

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            verdict = await judge(self._handler, delivery.body, attempt=delivery.attempt, ladder=self._bus.ladder)
            if isinstance(verdict, Pause):
                get_logger().warning("consuming_paused", consumer=self.name, error=verdict.error)
                self._paused_until = self._loop.time() + self._bus.pause
                self._ready.appendleft(delivery)
                self._awake.set()
                return
            position = await delivery.end(is_handled=isinstance(verdict, Handled))
            if position is None:
                return
            await self._bus.store.settle(position, None if isinstance(verdict, Handled) else verdict)
            self._held.discard(position)
            if isinstance(verdict, Retry):
                self._look_in(verdict.delay)
        finally:
            self._slots.release()


class _Handover:
    """A message on its way to one consumer: handed over at once where that is possible, else by a row."""

    def __init__(self, name: str, queue: _Queue | None, body: bytes) -> None:
        self.name = name
        self.body = body
        self.queue = queue
        self.delivery = queue.hand(body) if queue is not None else None

    def stop_waiting(self) -> bool:
        """Wait for the handler no longer. Returns whether a row must be written."""
        return self.delivery is None or self.delivery.stop_waiting()

    def stored(self, position: int, *, consumer: _Queue | None) -> None:
        """There is a row now; `consumer` is who consumes the queue by now."""
        if self.delivery is None:
            if consumer is not None:
                consumer.offer(Delivery(self.body, position=position), position)
            return
        if consumer is not None and consumer is self.queue:
            consumer.hold(position)
        elif consumer is not None:
            consumer.look()
        self.delivery.row.set_result(position)

    def give_up(self) -> None:
        """No row was written: the handler must not wait for one."""
        if self.delivery is not None and not self.delivery.row.done():
            self.delivery.row.set_result(None)


class _Listener:
    """A subscription that lives only in memory."""

    def __init__(self, bus: InProcessBus, name: str, *, types: frozenset[str], handler: Handler) -> None:
        self.name = name
        self.types = types
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self._bus = bus
        self._handler = handler
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to hand out what has been heard."""
        self._task = asyncio.create_task(self._hand_out(), name=f"listen {self.name}")

    async def stop(self) -> None:
        """Hear no more."""
        self._bus.forget(self)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _hand_out(self) -> None:
        while True:
            body = await self.messages.get()
            verdict = await judge(self._handler, body, attempt=1, ladder=())
            if not isinstance(verdict, Handled):
                get_logger().warning("listener_failed", listener=self.name, error=verdict.error)
