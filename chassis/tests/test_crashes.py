"""Whatever is killed at whatever moment: no event is lost, and each is applied once."""

import asyncio
import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest
from sqlalchemy import text

from chassis.database import Database
from chassis.events import Bus, Envelope, Event, Message, PublishFailed
from chassis.ids import new_id
from chassis.inprocess import InProcessBus
from chassis.locks import LockConnection
from chassis.outbox import Relay, record
from chassis.testing import Databases
from localservers.postgres import PostgresServer

PROGRAM = Path(__file__).with_name("dying_process.py")
PATIENCE = 60.0


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dying_process", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


dying = _load()


class LampLit(Event):
    type = "lamp.lit.v1"
    lamp_id: UUID


@pytest.fixture(params=["in_process", pytest.param("rabbitmq", marks=pytest.mark.broker)])
async def bus_url(request: pytest.FixtureRequest) -> str:
    if request.param == "rabbitmq":
        return str(request.getfixturevalue("broker").amqp_url)
    databases: Databases = request.getfixturevalue("databases")
    return await databases.create(f"bus_{new_id().hex}")


async def until_ready(bus: Bus) -> None:
    async with asyncio.timeout(PATIENCE):
        while not bus.is_ready():  # noqa: ASYNC110 - the port tells it only when asked
            await asyncio.sleep(0.01)


async def bind(bus_url: str, database: Database) -> None:
    """The consumer was there once, so its queue is."""
    bus = dying.open_bus(bus_url)
    await bus.start()
    await bus.subscribe(dying.queue_of(database.url), [dying.TYPE], dying.open_inbox(database).handle)
    await until_ready(bus)
    await bus.stop()


async def light(database: Database, count: int) -> set[UUID]:
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE notes (lamp_id text NOT NULL)"))
        lamps = [new_id() for _ in range(count)]
        return {await record(session, LampLit(lamp_id=lamp), subject=lamp, sequence=1) for lamp in lamps}


async def die(part: str, bus_url: str, database: Database) -> None:
    """Run the process until it kills itself."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), part, bus_url, database.url)
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == -signal.SIGKILL


async def relay_all(bus: Bus, database: Database) -> int:
    locks = LockConnection(database.url)
    try:
        return await Relay(locks, bus).publish_batch()
    finally:
        await locks.stop()


async def consume(bus: Bus, database: Database, *, until: set[UUID]) -> int:
    """Handle what comes until each of these has come; how many messages that were."""
    inbox, came, arrived = dying.open_inbox(database), [], asyncio.Event()

    async def handle(body: bytes, attempt: int) -> None:
        await inbox.handle(body, attempt)
        came.append(Envelope.decode(body).id)
        if until <= set(came):
            arrived.set()

    await bus.subscribe(dying.queue_of(database.url), [dying.TYPE], handle)
    async with asyncio.timeout(PATIENCE):
        await arrived.wait()
    await bus.stop()
    return len(came)


async def test_a_relay_killed_between_confirmation_and_mark(bus_url: str, database: Database) -> None:
    await bind(bus_url, database)
    events = await light(database, 3)
    await die("relay", bus_url, database)
    assert await database.reads.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 3

    bus = dying.open_bus(bus_url)
    await bus.start()
    await until_ready(bus)
    assert await relay_all(bus, database) == 3

    await consume(bus, database, until=events)
    assert await database.reads.fetchval("SELECT count(*) FROM notes") == 3
    assert await database.reads.fetchval("SELECT count(DISTINCT lamp_id) FROM notes") == 3


async def test_a_consumer_killed_between_commit_and_acknowledgement(bus_url: str, database: Database) -> None:
    await bind(bus_url, database)
    events = await light(database, 3)
    bus = dying.open_bus(bus_url)
    await bus.start()
    await until_ready(bus)
    assert await relay_all(bus, database) == 3
    await bus.stop()
    await die("consumer", bus_url, database)
    applied = await database.reads.fetchval("SELECT count(*) FROM notes")
    assert applied >= 1, "it died after a commit"

    bus = dying.open_bus(bus_url)
    await bus.start()
    assert await consume(bus, database, until=events) >= 3, "none was acknowledged, so each comes again"
    assert await database.reads.fetchval("SELECT count(*) FROM notes") == 3
    assert await database.reads.fetchval("SELECT count(DISTINCT lamp_id) FROM notes") == 3


async def test_a_process_killed_while_it_hands_its_events_to_itself(bus_url: str, database: Database) -> None:
    """The embedded shop: what was handed over in memory has no row, and the outbox still has it."""
    await bind(bus_url, database)
    events = await light(database, 3)
    await die("both", bus_url, database)
    assert await database.reads.fetchval("SELECT count(*) FROM notes") >= 1, "it died after a commit"

    bus = dying.open_bus(bus_url)
    await bus.start()
    await until_ready(bus)
    consumed = asyncio.create_task(consume(bus, database, until=events))
    await relay_all(bus, database)
    await consumed
    assert await database.reads.fetchval("SELECT count(*) FROM notes") == 3
    assert await database.reads.fetchval("SELECT count(DISTINCT lamp_id) FROM notes") == 3


async def test_the_embedded_bus_outlives_a_crash_of_its_database(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    server.start()
    bus = InProcessBus(server.admin_url, ladder=(0.05,), pause=0.05)
    came: asyncio.Queue[bytes] = asyncio.Queue()
    crash, pid = asyncio.Event(), server.pid
    assert pid is not None

    async def handle(body: bytes, _attempt: int) -> None:
        if not crash.is_set():
            crash.set()
            os.kill(pid, signal.SIGKILL)
        came.put_nowait(body)

    await bus.start()
    await bus.subscribe("shop", [dying.TYPE], handle)
    await bus.publish(Message(dying.TYPE, new_id(), b"first"))
    await crash.wait()
    server.stop()
    server = PostgresServer(tmp_path / "postgres")  # on the port that it had
    server.start()

    async with asyncio.timeout(PATIENCE):
        assert await came.get() == b"first"
        for number in range(10):
            await publish_until_confirmed(bus, Message(dying.TYPE, new_id(), str(number).encode()))
        got: set[bytes] = set()
        while len(got) < 10:
            got.add(await came.get())
    await bus.stop()
    server.stop()


async def publish_until_confirmed(bus: Bus, message: Message) -> None:
    """As the relay does."""
    while True:
        try:
            await bus.publish(message)
        except PublishFailed:
            await asyncio.sleep(0.05)
        else:
            return
