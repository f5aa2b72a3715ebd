"""What every bus promises. Each test runs on rows of a real PostgreSQL and on a real RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from chassis.events import Bus, Handler, Message, NotParked, Poison, PublishFailed, Unavailable, Unroutable
from chassis.ids import new_id
from chassis.inprocess import InProcessBus
from chassis.rabbitmq import RabbitBus
from chassis.testing import Databases
from localservers.broker import RunningBroker

LADDER = (0.02, 0.05, 0.1)
PATIENCE = 20.0


@dataclass
class Line:
    """One consumer's line through a bus: opened, closed and opened again on the same storage."""

    make: Callable[[Sequence[float]], Bus]
    type: str = field(default_factory=lambda: f"thing{new_id().hex}.happened.v1")
    consumer: str = field(default_factory=lambda: f"consumer{new_id().hex}")
    opened: list[Bus] = field(default_factory=list)

    async def open(self, ladder: Sequence[float] = LADDER) -> Bus:
        bus = self.make(ladder)
        self.opened.append(bus)
        await bus.start()
        await ready(bus)
        return bus

    async def consume(self, bus: Bus, handler: Handler) -> None:
        await bus.subscribe(self.consumer, [self.type], handler)
        await ready(bus)

    def message(self, body: bytes = b"{}", *, required: bool = True, id: UUID | None = None) -> Message:
        return Message(self.type, id or new_id(), body, required=required)

    async def close(self) -> None:
        for bus in self.opened:
            await bus.stop()
        self.opened.clear()


class Inspector:
    """A handler that shows what came, and fails as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.came: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()

    async def __call__(self, body: bytes, attempt: int) -> None:
        self.came.put_nowait((body, attempt))
        if self.failures:
            raise self.failures.pop(0)

    async def next(self) -> tuple[bytes, int]:
        async with asyncio.timeout(PATIENCE):
            return await self.came.get()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """For what the bus's port tells only when asked."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for, by design of the port
            await asyncio.sleep(0.01)


async def ready(bus: Bus) -> None:
    async def is_ready() -> bool:
        return bus.is_ready()

    await until(is_ready)


async def parked(bus: Bus, line: Line, *, count: int = 1) -> UUID:
    """The id of the first parked message, once there are so many."""

    async def are_parked() -> bool:
        return await bus.parked(line.consumer).count() >= count

    await until(are_parked)
    return (await bus.parked(line.consumer).list())[0].id


def settle(broker: RunningBroker) -> None:
    """RabbitMQ 3.10 loses a quorum queue that is younger than half a second in a crash, but not in a clean stop."""
    broker.stop()
    broker.restart()


@pytest.fixture(params=["in_process", pytest.param("rabbitmq", marks=pytest.mark.broker)])
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    if request.param == "in_process":
        databases: Databases = request.getfixturevalue("databases")
        url = await databases.create(f"bus_{new_id().hex}")
        line = Line(lambda ladder: InProcessBus(url, ladder=ladder, pause=0.05))
    else:
        amqp_url = request.getfixturevalue("broker").amqp_url
        line = Line(lambda ladder: RabbitBus(amqp_url, name="tests", ladder=ladder, pause=0.05))
    yield line
    await line.close()


@pytest.fixture
async def rabbit(broker: RunningBroker) -> AsyncIterator[Line]:
    line = Line(lambda ladder: RabbitBus(broker.amqp_url, name="tests", ladder=ladder, pause=0.05))
    yield line
    await line.close()


async def test_what_is_published_arrives_with_the_same_bytes(line: Line) -> None:
    bus, inspector = await line.open(), Inspector()
    await line.consume(bus, inspector)

    await bus.publish(line.message('{"name": "काजू"}'.encode()))

    assert await inspector.next() == ('{"name": "काजू"}'.encode(), 1)


async def test_every_consumer_gets_its_own_copy(line: Line) -> None:
    bus, ours, theirs = await line.open(), Inspector(), Inspector()
    await line.consume(bus, ours)
    await bus.subscribe(f"other{line.consumer}", [line.type], theirs)
    await ready(bus)

    await bus.publish(line.message(b"one"))

    assert await ours.next() == await theirs.next() == (b"one", 1)


async def test_a_required_event_that_nobody_is_bound_to_is_refused(line: Line) -> None:
    bus = await line.open()
    with pytest.raises(Unroutable):
        await bus.publish(line.message())


async def test_an_optional_event_may_be_heard_by_nobody(line: Line) -> None:
    bus = await line.open()
    await bus.publish(line.message(required=False))


async def test_messages_wait_while_their_consumer_is_away(line: Line) -> None:
    before, inspector = await line.open(), Inspector()
    await line.consume(before, inspector)
    await line.close()
    publisher = await line.open()
    await publisher.publish(line.message(b"kept"))
    await line.close()

    after = await line.open()
    await line.consume(after, inspector)

    assert await inspector.next() == (b"kept", 1)


async def test_a_failing_message_climbs_the_ladder_and_succeeds(line: Line) -> None:
    bus, inspector = await line.open(), Inspector(ValueError("first"), ValueError("second"))
    await line.consume(bus, inspector)

    started = asyncio.get_running_loop().time()
    await bus.publish(line.message())

    assert [(await inspector.next())[1] for _ in range(3)] == [1, 2, 3]
    assert asyncio.get_running_loop().time() - started >= LADDER[0] + LADDER[1]


async def test_what_waits_for_its_consumer_is_counted(line: Line) -> None:
    bus = await line.open(ladder=(60.0,))
    fails_once = Inspector(ValueError("not today"))
    consuming = await bus.subscribe(line.consumer, [line.type], fails_once)
    await ready(bus)
    await bus.publish(line.message())
    await fails_once.next()
    await consuming.stop()
    await bus.publish(line.message())

    async def one_waits_and_one_is_put_off() -> bool:
        return await bus.waiting(line.consumer) == 2

    await until(one_waits_and_one_is_put_off)


async def test_a_message_that_never_succeeds_is_parked_with_its_error(line: Line) -> None:
    bus, inspector = await line.open(), Inspector(*[ValueError("no such thing\0\ud800")] * 4)
    await line.consume(bus, inspector)
    message = line.message(b"hopeless")

    await bus.publish(message)
    assert await parked(bus, line) == message.id

    shown = await bus.parked(line.consumer).show(message.id)
    assert (shown.type, shown.body, shown.attempts) == (line.type, b"hopeless", 4)
    assert "no such thing" in shown.error
    assert shown.parked_at is not None
    # Whoever looks holds it for a moment: it is back, as one, when the broker has heard that the look is over.
    assert await parked(bus, line) == message.id


async def test_poison_is_parked_without_a_second_attempt_and_others_flow(line: Line) -> None:
    bus, inspector = await line.open((30.0,)), Inspector(Poison("not an event"))
    await line.consume(bus, inspector)
    poison = line.message(b"?")

    await bus.publish(poison)
    await bus.publish(line.message(b"fine"))

    assert {await inspector.next(), await inspector.next()} == {(b"?", 1), (b"fine", 1)}
    assert await parked(bus, line) == poison.id


async def test_a_parked_message_can_be_replayed(line: Line) -> None:
    bus, inspector = await line.open(), Inspector(Poison("not understood by this version"))
    await line.consume(bus, inspector)
    await bus.publish(line.message(b"again"))
    id = await parked(bus, line)
    await inspector.next()

    await bus.parked(line.consumer).replay(id)

    assert await inspector.next() == (b"again", 1)
    assert await bus.parked(line.consumer).list() == []


async def test_a_parked_message_can_be_dropped_and_the_others_stay(line: Line) -> None:
    bus, inspector = await line.open(), Inspector(Poison("one"), Poison("two"))
    await line.consume(bus, inspector)
    first, second = line.message(b"1"), line.message(b"2")
    await bus.publish(first)
    await parked(bus, line)
    await bus.publish(second)
    await parked(bus, line, count=2)

    await bus.parked(line.consumer).drop(first.id)

    assert [message.id for message in await bus.parked(line.consumer).list()] == [second.id]
    with pytest.raises(NotParked):
        await bus.parked(line.consumer).show(first.id)


async def test_an_outage_of_the_consumer_burns_no_attempt(line: Line) -> None:
    outages = [Unavailable("database away")] * (len(LADDER) + 3)
    bus, inspector = await line.open(), Inspector(*outages)
    await line.consume(bus, inspector)

    await bus.publish(line.message())

    attempts = [(await inspector.next())[1] for _ in range(len(outages) + 1)]
    assert attempts == [1] * len(attempts)
    assert await bus.parked(line.consumer).list() == []


async def test_stopping_waits_for_the_handler_under_way(line: Line) -> None:
    bus, began, may_end = await line.open(), asyncio.Event(), asyncio.Event()
    finished = False

    async def handler(_body: bytes, _attempt: int) -> None:
        nonlocal finished
        began.set()
        await may_end.wait()
        finished = True

    await line.consume(bus, handler)
    await bus.publish(line.message())
    await began.wait()
    stopping = asyncio.create_task(line.close())
    await asyncio.sleep(0)
    may_end.set()
    await stopping
    assert finished

    after, inspector = await line.open(), Inspector()
    await line.consume(after, inspector)
    await after.publish(line.message(b"next"))
    assert await inspector.next() == (b"next", 1), "the finished message was acknowledged"


async def test_ten_messages_are_handled_at_a_time_and_no_more(line: Line) -> None:
    bus, may_end = await line.open(), asyncio.Event()
    at_once = most = done = 0
    all_done = asyncio.Event()

    async def handler(_body: bytes, _attempt: int) -> None:
        nonlocal at_once, most, done
        at_once += 1
        most = max(most, at_once)
        if at_once == 10:
            may_end.set()
        await may_end.wait()
        at_once -= 1
        done += 1
        if done == 40:
            all_done.set()

    await line.consume(bus, handler)
    await asyncio.gather(*(bus.publish(line.message()) for _ in range(40)))
    async with asyncio.timeout(PATIENCE):
        await all_done.wait()
    assert most == 10


async def test_a_listener_hears_what_comes_after_it_was_bound(line: Line) -> None:
    bus, inspector, bound = await line.open(), Inspector(ValueError("ignored")), asyncio.Event()

    async def on_bound() -> None:
        bound.set()

    await bus.listen("gateway", [line.type], inspector, on_bound=on_bound)
    await ready(bus)
    assert bound.is_set()

    await bus.publish(line.message(b"one", required=False))
    assert await inspector.next() == (b"one", 1)
    await bus.publish(line.message(b"two", required=False))
    assert await inspector.next() == (b"two", 1), "a failed message is not repeated"


async def test_publishing_on_a_bus_that_is_closed_fails(line: Line) -> None:
    bus = await line.open()
    await line.consume(bus, Inspector())
    await line.close()
    with pytest.raises(PublishFailed):
        await bus.publish(line.message())


@pytest.mark.broker
@pytest.mark.slow
async def test_confirmed_messages_survive_a_crash_of_the_broker(rabbit: Line, broker: RunningBroker) -> None:
    bus, inspector = await rabbit.open(), Inspector()
    await rabbit.consume(bus, Inspector())
    await rabbit.close()
    settle(broker)
    bus = await rabbit.open()
    for number in range(20):
        await bus.publish(rabbit.message(str(number).encode()))

    broker.kill()
    with pytest.raises(PublishFailed):
        await bus.publish(rabbit.message())
    broker.restart()

    await rabbit.consume(bus, inspector)
    got = {(await inspector.next())[0] for _ in range(20)}
    assert got == {str(number).encode() for number in range(20)}
    await bus.publish(rabbit.message(b"after"))
    assert (await inspector.next())[0] == b"after"


@pytest.mark.broker
@pytest.mark.slow
async def test_consumer_and_listener_come_back_after_a_crash_of_the_broker(rabbit: Line, broker: RunningBroker) -> None:
    bus, inspector, bound = await rabbit.open(), Inspector(), asyncio.Semaphore(0)

    async def on_bound() -> None:
        bound.release()

    await rabbit.consume(bus, inspector)
    await bus.listen("gateway", [rabbit.type], Inspector(), on_bound=on_bound)
    await bound.acquire()
    settle(broker)
    await bound.acquire()
    broker.kill()
    broker.restart()
    async with asyncio.timeout(PATIENCE):
        await bound.acquire()
    await ready(bus)
    await bus.publish(rabbit.message(b"hello"))
    assert (await inspector.next())[0] == b"hello"


@pytest.mark.broker
@pytest.mark.slow
async def test_a_frozen_broker_leaves_the_outcome_unknown_and_comes_back(rabbit: Line, broker: RunningBroker) -> None:
    bus, inspector = await rabbit.open(), Inspector()
    await rabbit.consume(bus, inspector)
    message = rabbit.message(b"perhaps")
    broker.pause()
    try:
        with pytest.raises(PublishFailed):
            await bus.publish(message)
    finally:
        broker.resume()

    await ready(bus)
    await bus.publish(message)
    assert (await inspector.next())[0] == b"perhaps", "sent again under the same id, it arrives at least once"


@pytest.mark.broker
@pytest.mark.slow
async def test_a_queue_deleted_under_its_consumer_is_declared_anew(rabbit: Line, broker: RunningBroker) -> None:
    bus, inspector = await rabbit.open(), Inspector()
    await rabbit.consume(bus, inspector)

    await asyncio.to_thread(broker.ctl, "delete_queue", f"{rabbit.consumer}.in")

    message = rabbit.message(b"found")

    async def is_published() -> bool:
        try:
            await bus.publish(message)
        except (Unroutable, PublishFailed):
            return False
        return True

    await until(is_published)
    assert (await inspector.next())[0] == b"found"
