"""A message may come any number of times; its effect happens once, and nothing that comes is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import telemetry
from chassis.database import Database
from chassis.events import LADDER, Envelope, Event, NotYet, Poison, Reader, Retry, Subscription, Unavailable, judge
from chassis.ids import new_id
from chassis.inbox import Inbox, delete_received
from chassis.outbox import record
from chassis.settings import ServiceSettings
from localservers.postgres import PostgresServer


class Lamp(Reader):
    lamp_id: UUID


class LampNoted(Event):
    type = "lamp.noted.v1"
    lamp_id: UUID


class ShopSettings(ServiceSettings):
    service = "shop"


def lit(*, id: UUID | None = None, **data: Any) -> Envelope:
    return Envelope(
        id=id or new_id(),
        source="/services/lamps",
        type="lamp.lit.v1",
        subject="lamp",
        time=datetime.now(UTC),
        sequence=3,
        data={"lamp_id": str(new_id()), "colour": "warm", **data},
        correlationid="order-1",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )


@pytest.fixture
async def notes(database: Database) -> Callable[[], Awaitable[int]]:
    """The effect that handlers have, and how often it happened."""
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE notes (lamp_id uuid NOT NULL)"))

    async def count() -> int:
        return int(await database.reads.fetchval("SELECT count(*) FROM notes"))

    return count


async def note(session: AsyncSession, lamp: Lamp) -> None:
    await session.execute(text("INSERT INTO notes VALUES (:lamp)"), {"lamp": lamp.lamp_id})


def inbox(database: Database, handler: Callable[[AsyncSession, Any], Awaitable[None]] = note) -> Inbox:
    return Inbox(database, [Subscription("lamp.lit.v1", Lamp, handler)], consumer="shop")


async def test_a_message_that_comes_five_times_at_once_is_applied_once(
    database: Database, notes: Callable[[], Awaitable[int]]
) -> None:
    body = lit().encode()
    await asyncio.gather(*(inbox(database).handle(body, 1) for _ in range(5)))
    assert await notes() == 1


async def test_a_handler_that_fails_leaves_no_trace_and_may_try_again(
    database: Database, notes: Callable[[], Awaitable[int]]
) -> None:
    failures: list[Exception] = [ValueError("half-way"), NotYet("the order is not here")]

    async def handler(session: AsyncSession, lamp: Lamp) -> None:
        await note(session, lamp)
        if failures:
            raise failures.pop(0)

    body, ours = lit().encode(), inbox(database, handler)
    with pytest.raises(ValueError, match="half-way"):
        await ours.handle(body, 1)
    with pytest.raises(NotYet):
        await ours.handle(body, 2)
    assert await notes() == 0
    await ours.handle(body, 3)
    assert await notes() == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        b'{"specversion":"1.0"}',
        lit().encode().replace(b'"1.0"', b'"2.0"'),
        lit().encode().replace(b"0000000000000000003", b"three"),
        lit(lamp_id="not a uuid").encode(),
        lit(lamp_id=None).encode(),
        b'"' + b"x" * 10_000_000 + b'"',
    ],
    ids=[
        "empty",
        "not text",
        "null",
        "too deep",
        "bare",
        "other specification",
        "sequence",
        "no uuid",
        "null id",
        "huge",
    ],
)
async def test_what_is_no_event_of_ours_is_poison(database: Database, body: bytes) -> None:
    with pytest.raises(Poison):
        await inbox(database).handle(body, 1)


async def test_what_only_a_newer_release_may_know_is_left_for_it(database: Database) -> None:
    """Both take from one queue while the service is updated; parked, the event would be lost to the newer one."""
    body = lit().encode().replace(b"lamp.lit.v1", b"lamp.lit.v2")
    with pytest.raises(NotYet, match="knows no event"):
        await inbox(database).handle(body, 1)


async def test_what_a_handler_records_carries_on_the_correlation(database: Database) -> None:
    async def handler(session: AsyncSession, lamp: Lamp) -> None:
        await record(session, LampNoted(lamp_id=lamp.lamp_id), subject=lamp.lamp_id, sequence=1)

    event = lit()
    await asyncio.create_task(inbox(database, handler).handle(event.encode(), 1))

    recorded = Envelope.decode(await database.reads.fetchval("SELECT body FROM outbox"))
    assert (recorded.correlationid, recorded.causationid) == ("order-1", str(event.id))
    assert (recorded.traceparent, recorded.source) == (event.traceparent, "/services/shop")
    assert telemetry.causation_id.get() == "", "the next message starts afresh"


async def test_two_handlers_in_each_others_way_both_succeed(
    database: Database, notes: Callable[[], Awaitable[int]]
) -> None:
    """They lock two rows in opposite order: PostgreSQL ends one of them, and its transaction runs again."""
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE rows AS SELECT generate_series(1, 2) AS id"))
    both_have_one = asyncio.Barrier(2)
    runs = 0

    def locks(first: int, second: int) -> Callable[[AsyncSession, Lamp], Awaitable[None]]:
        async def handler(session: AsyncSession, lamp: Lamp) -> None:
            nonlocal runs
            runs += 1
            await session.execute(text("SELECT 1 FROM rows WHERE id = :id FOR UPDATE"), {"id": first})
            if runs <= 2:
                await both_have_one.wait()
            await session.execute(text("SELECT 1 FROM rows WHERE id = :id FOR UPDATE"), {"id": second})
            await note(session, lamp)

        return handler

    await asyncio.gather(
        inbox(database, locks(1, 2)).handle(lit().encode(), 1),
        inbox(database, locks(2, 1)).handle(lit().encode(), 1),
    )
    assert (await notes(), runs) == (2, 3)


async def test_a_connection_that_breaks_costs_no_attempt(
    database: Database, notes: Callable[[], Awaitable[int]]
) -> None:
    """The database is there all the time: the handler runs again at once, and no minutes pass on the ladder."""
    breaks = iter([True, False])

    async def handler(session: AsyncSession, lamp: Lamp) -> None:
        await note(session, lamp)
        if next(breaks):
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await inbox(database, handler).handle(lit().encode(), 1)
    assert await notes() == 1


async def test_a_driver_that_cancels_what_waits_for_it_costs_no_message(
    database: Database, notes: Callable[[], Awaitable[int]]
) -> None:
    """Nobody cancelled the handler: its message is tried again, at once or on the ladder, and never left unanswered."""

    async def waits_for_something_given_up(_body: bytes | AsyncSession, _: object) -> None:
        given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        given_up.cancel()
        await given_up

    gives_up = iter([True, False])

    async def handler(session: AsyncSession, lamp: Lamp) -> None:
        await note(session, lamp)
        if next(gives_up):
            await waits_for_something_given_up(session, lamp)

    await inbox(database, handler).handle(lit().encode(), 1)
    assert await notes() == 1
    verdict = await judge(waits_for_something_given_up, b"", attempt=1, ladder=LADDER)
    assert isinstance(verdict, Retry)


async def test_a_handler_that_is_cancelled_itself_ends() -> None:
    async def handler(_body: bytes, _attempt: int) -> None:
        await asyncio.Event().wait()

    handling = asyncio.create_task(judge(handler, b"", attempt=1, ladder=LADDER))
    await asyncio.sleep(0)
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling


async def test_a_database_that_is_away_is_an_outage_and_a_slow_handler_is_not(
    database: Database, tmp_path: Path
) -> None:
    async def slow(_session: AsyncSession, _lamp: Lamp) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await inbox(database, slow).handle(lit().encode(), 1)

    server = PostgresServer(tmp_path / "postgres", durable=False)
    server.start()
    theirs = Database(ShopSettings(database_url=server.admin_url))  # type: ignore[arg-type]  # pydantic reads the text as a secret
    server.stop()
    await theirs.start()
    with pytest.raises(Unavailable):
        await inbox(theirs).handle(lit().encode(), 1)
    await theirs.stop()


async def test_events_received_long_ago_are_forgotten(database: Database, notes: Callable[[], Awaitable[int]]) -> None:
    for _ in range(2):
        await inbox(database).handle(lit().encode(), 1)
    async with database.transaction() as session:
        await session.execute(
            text(
                "UPDATE inbox SET received_at = now() - interval '31 days'"
                " WHERE event_id = (SELECT event_id FROM inbox LIMIT 1)"
            )
        )
    assert (await delete_received(database)).found == 1
    assert await notes() == 2
