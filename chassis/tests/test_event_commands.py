"""What operators type when messages were given up or a broker lost its data, on a real RabbitMQ."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from chassis.database import Database
from chassis.event_commands import moment, parse, run
from chassis.events import Event, Message, Poison
from chassis.ids import new_id
from chassis.outbox import record
from chassis.rabbitmq import RabbitBus
from chassis.settings import ServiceSettings
from localservers.broker import RunningBroker

pytestmark = pytest.mark.broker
TYPE = "thing.happened.v1"


class OperatedSettings(ServiceSettings):
    service = "operated"


class ThingHappened(Event):
    type = TYPE
    thing: str


@dataclass
class Operator:
    """Somebody at a terminal, beside a running service that parks what is poisonous."""

    settings: OperatedSettings
    bus: RabbitBus
    make_bus: Callable[[], RabbitBus]
    screen: pytest.CaptureFixture[str]

    async def types(self, *words: str) -> str:
        """What the command prints. Fails when it does."""
        status, printed, complaint = await self.tries(*words)
        assert status == 0, complaint
        return printed

    async def tries(self, *words: str) -> tuple[int, str, str]:
        status = await run(self.settings, self.make_bus(), parse(words, service="operated"))
        return status, *self.screen.readouterr()


@pytest.fixture
async def operator(
    database: Database, broker: RunningBroker, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Operator]:
    def make_bus() -> RabbitBus:
        return RabbitBus(broker.amqp_url, name="operated", ladder=(), pause=0.05)

    settings = OperatedSettings(database_url=database.url)  # type: ignore[arg-type]  # pydantic reads the text as a secret
    bus = make_bus()
    await bus.start()
    yield Operator(settings, bus, make_bus, capsys)
    await bus.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the port of the bus has no event to wait for
            await asyncio.sleep(0.02)


async def test_a_given_up_message_is_found_understood_and_delivered_again(operator: Operator) -> None:
    is_mended, delivered = False, asyncio.Event()

    async def handle(_body: bytes, _attempt: int) -> None:
        if not is_mended:
            raise Poison("the thing has no name")
        delivered.set()

    await operator.bus.subscribe("operated", [TYPE], handle)
    await until(operator.bus.is_ready)
    first, second = (Message(TYPE, new_id(), b'{"thing":"lamp"}') for _ in range(2))
    for message in (first, second):
        await operator.bus.publish(message)
    async with asyncio.timeout(20):
        while await operator.bus.parked("operated").count() < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)

    listed = await operator.types("list")
    assert [line.split()[0] for line in listed.splitlines()] == [str(first.id), str(second.id)]
    assert "the thing has no name" in listed

    assert '"thing": "lamp"' in await operator.types("show", str(first.id))

    is_mended = True
    await operator.types("replay", str(first.id))
    async with asyncio.timeout(20):
        await delivered.wait()

    await operator.types("drop", str(second.id))
    assert await operator.types("list") == ""


async def test_an_unknown_message_is_a_sentence_and_not_a_trace(operator: Operator) -> None:
    async def handle(_body: bytes, _attempt: int) -> None:
        return

    await operator.bus.subscribe("operated", [TYPE], handle)
    await until(operator.bus.is_ready)
    status, _, complaint = await operator.tries("show", str(new_id()))
    assert status == 1
    assert complaint.startswith("operated has no parked message")


async def test_what_a_broker_lost_goes_out_again(operator: Operator, database: Database) -> None:
    for age in ("1 hour", "3 days"):
        async with database.transaction() as session:
            id = await record(session, ThingHappened(thing="lamp"), subject=new_id(), sequence=1)
        async with database.transaction() as session:
            published = f"UPDATE outbox SET published_at = clock_timestamp() - interval '{age}' WHERE id = :id"
            await session.execute(text(published), {"id": id})

    assert (await operator.types("republish", "--since", "2h")).startswith("1 events")

    async with database.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM outbox WHERE published_at IS NULL")) == 1


def test_a_time_without_a_zone_is_refused() -> None:
    assert moment("2026-11-23T09:00:00Z") == datetime(2026, 11, 23, 9, tzinfo=UTC)
    ago = moment("90m")
    assert timedelta(minutes=90) <= datetime.now(UTC) - ago < timedelta(minutes=91)
    for unclear in ("2026-11-23T09:00:00", "yesterday", "2w"):
        with pytest.raises(argparse.ArgumentTypeError):
            moment(unclear)
