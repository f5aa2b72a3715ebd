"""An event is published if and when its transaction commits, at least once, whatever dies in between."""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from chassis import telemetry
from chassis.database import Database
from chassis.events import Envelope, Event, Message, PublishFailed, Unroutable
from chassis.ids import new_id
from chassis.locks import LockConnection
from chassis.outbox import Relay, delete_published, record, republish
from chassis.testing import IdleBus

PATIENCE = 20.0


class LampLit(Event):
    type = "lamp.lit.v1"

    lamp_id: UUID
    lumen: int = 400


class LampSold(LampLit):
    type = "lamp.sold.v1"
    required = False


class FickleBus(IdleBus):
    """Keeps what it confirms, refuses types, and fails when it is told to."""

    def __init__(self) -> None:
        self.confirmed: asyncio.Queue[Message] = asyncio.Queue()
        self.refused_types: set[str] = set()
        self.failures = 0

    async def publish(self, message: Message) -> None:
        if self.failures:
            self.failures -= 1
            raise PublishFailed("no answer")
        if message.type in self.refused_types:
            raise Unroutable(f"Nobody is bound to {message.type}.")
        self.confirmed.put_nowait(message)

    async def next(self) -> Envelope:
        async with asyncio.timeout(PATIENCE):
            return Envelope.decode((await self.confirmed.get()).body)


@pytest.fixture
def fickle() -> FickleBus:
    return FickleBus()


@pytest.fixture
async def locks(database: Database) -> AsyncIterator[LockConnection]:
    locks = LockConnection(database.url)
    yield locks
    await locks.stop()


@pytest.fixture
async def relay(database: Database, locks: LockConnection, fickle: FickleBus) -> AsyncIterator[Relay]:
    """A relay that is woken, and would else look only once a minute."""
    relay = Relay(locks, fickle, poll=60)
    database.wake_relay = relay.wake
    yield relay
    await relay.stop()


async def light(database: Database, event: type[LampLit] = LampLit, *, subject: UUID | None = None) -> UUID:
    lamp = subject or new_id()
    async with database.transaction() as session:
        return await record(session, event(lamp_id=lamp), subject=lamp, sequence=1)


async def unpublished(database: Database) -> list[str]:
    rows = await database.reads.fetch("SELECT type FROM outbox WHERE published_at IS NULL ORDER BY position")
    return [row["type"] for row in rows]


async def test_an_event_is_on_its_way_right_after_the_commit(
    database: Database, relay: Relay, fickle: FickleBus
) -> None:
    await relay.start()
    lamp = new_id()
    async with database.transaction() as session:
        await record(session, LampLit(lamp_id=lamp), subject=lamp, sequence=7)
        assert fickle.confirmed.empty()

    envelope = await fickle.next()
    assert (envelope.type, envelope.subject, envelope.sequence) == ("lamp.lit.v1", str(lamp), 7)
    assert envelope.data == {"lamp_id": str(lamp), "lumen": 400}
    await relay.stop()
    assert await unpublished(database) == []


async def test_an_event_of_a_transaction_that_failed_never_happened(database: Database) -> None:
    async def lights_and_fails() -> None:
        async with database.transaction() as session:
            await record(session, LampLit(lamp_id=new_id()), subject="lamp", sequence=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lights_and_fails()
    assert await unpublished(database) == []


async def test_what_was_recorded_is_counted_once_it_is_committed(database: Database) -> None:
    counted: list[Event] = []
    database.count_events = counted.extend
    lit, again = LampLit(lamp_id=new_id()), LampLit(lamp_id=new_id())

    async def lights(*, fails: bool) -> None:
        async with database.transaction() as session:
            await record(session, lit, subject="lamp", sequence=1)
            await record(session, again.again(), subject="lamp", sequence=2)
            assert counted == []
            if fails:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lights(fails=True)
    await lights(fails=False)
    assert counted == [lit]


async def test_the_envelope_is_a_cloud_event_that_says_what_led_to_it(database: Database) -> None:
    context = contextvars.copy_context()
    context.run(telemetry.service_name.set, "shop")
    context.run(telemetry.correlation_id.set, "order-1")
    context.run(telemetry.causation_id.set, "event-0")
    context.run(telemetry.traceparent.set, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    id = await asyncio.create_task(light(database), context=context)

    body = await database.reads.fetchval("SELECT body FROM outbox")
    envelope = Envelope.decode(body)
    assert envelope.id == id
    assert (envelope.source, envelope.correlationid, envelope.causationid) == ("/services/shop", "order-1", "event-0")
    assert b'"specversion":"1.0"' in body
    assert b'"sequence":"0000000000000000001"' in body, "the extension is a string that sorts as its number does"


async def test_a_batch_in_which_one_publish_failed_is_repeated_for_that_one(
    database: Database, relay: Relay, fickle: FickleBus
) -> None:
    ids = {await light(database) for _ in range(3)}
    fickle.failures = 1
    with pytest.raises(PublishFailed):
        await relay.publish_batch()
    assert len(await unpublished(database)) == 1

    await relay.publish_batch()

    assert {(await fickle.next()).id for _ in range(3)} == ids
    assert await unpublished(database) == []


async def test_an_event_nobody_is_bound_to_waits_and_the_others_go_on(
    database: Database, relay: Relay, fickle: FickleBus
) -> None:
    fickle.refused_types.add("lamp.lit.v1")
    await light(database)
    sold = await light(database, LampSold)

    await relay.publish_batch()
    assert (await fickle.next()).id == sold
    assert await unpublished(database) == ["lamp.lit.v1"]
    assert await relay.publish_batch() == 0, "it is not tried again at once"

    fickle.refused_types.clear()
    async with database.transaction() as session:
        row = (
            await session.execute(text("UPDATE outbox SET next_try_at = now() RETURNING attempts, last_error"))
        ).all()
    assert (1, "Nobody is bound to lamp.lit.v1.") in [tuple(each) for each in row]
    assert await relay.publish_batch() == 1


async def test_events_of_one_subject_keep_their_order_past_a_failure(
    database: Database, relay: Relay, fickle: FickleBus
) -> None:
    lamp = new_id()
    ids = [await light(database, subject=lamp) for _ in range(3)]
    fickle.failures = 1
    with pytest.raises(PublishFailed):
        await relay.publish_batch()
    assert fickle.confirmed.empty(), "the later ones wait for the first"

    await relay.publish_batch()
    assert [(await fickle.next()).id for _ in range(3)] == ids


async def test_a_slower_transaction_is_not_overtaken_for_good(
    database: Database, relay: Relay, fickle: FickleBus
) -> None:
    async with database.transaction() as slow:
        first = await record(slow, LampLit(lamp_id=new_id()), subject="slow", sequence=1)
        await slow.flush()
        second = await light(database)
        await relay.publish_batch()
        assert (await fickle.next()).id == second
    await relay.publish_batch()
    assert (await fickle.next()).id == first


async def test_only_one_relay_works_and_the_next_takes_over(database: Database, fickle: FickleBus) -> None:
    first_locks, second_locks = LockConnection(database.url), LockConnection(database.url)
    try:
        assert await first_locks.hold("relay")
        assert not await second_locks.hold("relay")
        await first_locks.stop()
        second = Relay(second_locks, fickle, poll=0.01)
        await second.start()
        id = await light(database)
        assert (await fickle.next()).id == id
        await second.stop()
    finally:
        await first_locks.stop()
        await second_locks.stop()


async def test_the_relay_outlives_its_connection(database: Database, relay: Relay, fickle: FickleBus) -> None:
    await relay.start()
    await light(database)
    await fickle.next()
    async with database.transaction() as session:
        killed = await session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'haat-locks' AND datname = current_database()"
            )
        )
        assert killed.all()
    id = await light(database)
    seen = await fickle.next()
    while seen.id != id:  # one whose mark was lost with the connection is published again
        seen = await fickle.next()


async def test_a_bus_that_is_down_for_a_while_gets_everything_later(
    database: Database, locks: LockConnection, fickle: FickleBus
) -> None:
    fickle.failures = 3
    relay = Relay(locks, fickle, poll=0.01)
    await relay.start()
    ids = {await light(database) for _ in range(5)}
    assert {(await fickle.next()).id for _ in range(5)} == ids
    await relay.stop()


async def test_published_events_are_kept_a_week_and_can_be_published_again(
    database: Database, relay: Relay, fickle: FickleBus
) -> None:
    old, recent = await light(database), await light(database)
    await relay.publish_batch()
    async with database.transaction() as session:
        aged = text("UPDATE outbox SET published_at = now() - interval '8 days' WHERE id = :id")
        await session.execute(aged, {"id": old})

    assert (await delete_published(database)).found == 1
    async with database.transaction() as session:
        assert await republish(session, since=datetime.now(UTC) - timedelta(days=10)) == 1
    await relay.publish_batch()
    assert [(await fickle.next()).id for _ in range(3)][-1] == recent
