"""What only the embedded bus does: it hands messages over in memory, and writes rows for what is not handled soon."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chassis.events import Message, Unavailable
from chassis.ids import new_id
from chassis.inprocess import InProcessBus
from chassis.testing import Databases

TYPE = "thing.happened.v1"
PATIENCE = 20.0


@pytest.fixture
async def url(databases: Databases) -> str:
    return await databases.create(f"bus_{new_id().hex}")


@pytest.fixture
async def bus(url: str) -> AsyncIterator[InProcessBus]:
    bus = InProcessBus(url, pause=0.05)
    await bus.start()
    yield bus
    await bus.stop()


class Shelf:
    """A consumer that keeps what comes, or says that its database is away."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.came: asyncio.Queue[bytes] = asyncio.Queue()

    async def __call__(self, body: bytes, _attempt: int) -> None:
        if self.is_away:
            raise Unavailable("the database is away")
        self.came.put_nowait(body)


def message(body: bytes) -> Message:
    return Message(TYPE, new_id(), body)


async def rows_ever_written(bus: InProcessBus) -> int:
    return int(await bus.store.pool.fetchval("SELECT coalesce(pg_sequence_last_value('messages_position_seq'), 0)"))


async def test_what_is_handled_at_once_needs_no_row(bus: InProcessBus) -> None:
    shelf = Shelf()
    await bus.subscribe("shop", [TYPE], shelf)
    await bus.publish(message(b"first"))  # the consumer may still be looking for what it missed
    before = await rows_ever_written(bus)

    for number in range(10):
        await bus.publish(message(str(number).encode()))

    assert [shelf.came.get_nowait() for _ in range(11)][1:] == [str(number).encode() for number in range(10)]
    assert await rows_ever_written(bus) == before


async def test_a_publish_waits_for_the_row_of_a_slow_handler_and_not_for_the_handler(bus: InProcessBus) -> None:
    may_end = asyncio.Event()

    async def handler(_body: bytes, _attempt: int) -> None:
        await may_end.wait()

    await bus.subscribe("shop", [TYPE], handler)
    await bus.publish(message(b"slow"))
    assert await bus.store.pool.fetchval("SELECT count(*) FROM messages") == 1

    may_end.set()
    async with asyncio.timeout(PATIENCE):
        while await bus.store.pool.fetch("SELECT FROM messages"):  # noqa: ASYNC110 - only the row tells
            await asyncio.sleep(0.01)


async def test_a_consumer_that_was_away_gets_it_after_a_restart_and_the_other_does_not(url: str) -> None:
    first, second, away = Shelf(), Shelf(), Shelf(is_away=True)
    bus = InProcessBus(url, pause=0.05)
    await bus.start()
    await bus.subscribe("first", [TYPE], first)
    await bus.subscribe("second", [TYPE], away)
    await bus.publish(message(b"once each"))
    await bus.stop()
    assert first.came.get_nowait() == b"once each"

    bus = InProcessBus(url, pause=0.05)
    await bus.start()
    await bus.subscribe("first", [TYPE], first)
    await bus.subscribe("second", [TYPE], second)
    async with asyncio.timeout(PATIENCE):
        assert await second.came.get() == b"once each"
    await bus.stop()
    assert first.came.empty()
