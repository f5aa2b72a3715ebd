"""One request is one transaction: whatever ends the request early, nothing of it stays and no connection is lost."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from toy.app import Stage, ThingMade, ToySettings, build

from chassis.clients import AsgiUpstream, UpstreamRequest, UpstreamTimedOut
from chassis.ids import new_id
from chassis.outbox import record
from chassis.plain_sql import driver_connection, end_with
from chassis.testing import Databases, Harness, ServiceFactory
from localservers import ports
from localservers.postgres import PostgresServer

THINGS = "/api/v1/things"
DRAFT = b'{"name":"a"}'


def stage(toy: Harness) -> Stage:
    found: Stage = toy.service.fastapi.state.stage
    return found


async def nothing_stays(toy: Harness) -> None:
    """No row, no event, and no connection that is still in use."""
    async with asyncio.timeout(5):
        assert await toy.fetch("SELECT * FROM things") == []
        assert await toy.events() == []
        await nothing_is_open(toy)


async def nothing_is_open(toy: Harness) -> None:
    """No connection is in use or in a transaction."""
    async with asyncio.timeout(5):
        while toy.database.engine.pool.checkedout():  # noqa: ASYNC110 - the pool tells only when asked
            await asyncio.sleep(0.01)
        busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        while (await toy.fetch(busy))[0][0]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_a_refusal_after_writing_takes_the_writing_back(toy: Harness) -> None:
    answer = await toy.client.post(THINGS, json={"name": "one too many"}, headers=toy.as_user())
    assert (answer.status_code, answer.json()["code"]) == (409, "no_more_things")
    await nothing_stays(toy)


async def test_the_answer_leaves_after_the_commit(toy: Harness) -> None:
    """Whoever reads the answer finds what it tells, on any connection."""
    for _ in range(20):
        made = (await toy.client.post(THINGS, json={"name": "a"}, headers=toy.as_user())).json()
        assert (await toy.client.get(f"{THINGS}/{made['id']}")).status_code == 200
    assert len(await toy.events("thing.made.v1")) == 20


async def test_a_handler_that_is_cancelled_leaves_nothing(toy: Harness) -> None:
    making = asyncio.create_task(toy.client.post(f"{THINGS}/slowly", json={"name": "a"}, headers=toy.as_user()))
    await stage(toy).reached.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    await nothing_stays(toy)


async def test_a_statement_that_is_cancelled_frees_its_connection(toy: Harness, somebody: asyncpg.Connection) -> None:
    """Cancelled while PostgreSQL works on it, more often than there are connections."""
    thing = (await toy.client.post(THINGS, json={"name": "a"}, headers=toy.as_user())).json()
    async with somebody.transaction():
        await somebody.execute("SELECT * FROM things FOR UPDATE")
        for _ in range(12):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await toy.client.patch(f"{THINGS}/{thing['id']}", json={"name": "b"}, headers=toy.as_user("staff"))
    answer = await toy.client.patch(f"{THINGS}/{thing['id']}", json={"name": "c"}, headers=toy.as_user("staff"))
    assert answer.json()["name"] == "c"
    assert toy.database.engine.pool.checkedout() == 0


async def test_a_caller_in_the_same_process_that_gives_up_leaves_nothing(toy: Harness) -> None:
    upstream = AsgiUpstream(toy.service.app, host="toy")
    token = toy.as_user()["authorization"].encode()
    headers = [(b"authorization", token), (b"content-type", b"application/json")]
    with pytest.raises(UpstreamTimedOut):
        await upstream.send(UpstreamRequest("POST", b"/api/v1/things/slowly", headers, DRAFT, timeout=0.2))
    await nothing_stays(toy)


async def test_a_lock_that_is_not_given_is_busy(toy: Harness, somebody: asyncpg.Connection) -> None:
    thing = (await toy.client.post(THINGS, json={"name": "a"}, headers=toy.as_user())).json()
    async with somebody.transaction():
        await somebody.execute("SELECT * FROM things FOR UPDATE")
        answer = await toy.client.patch(f"{THINGS}/{thing['id']}", json={"name": "b"}, headers=toy.as_user("staff"))
    assert (answer.status_code, answer.json()["code"]) == (409, "busy")


async def test_one_of_a_deadlock_is_busy_and_the_other_done(service_factory: ServiceFactory) -> None:
    async with service_factory(ToySettings, build, lock_timeout=5.0) as toy:
        headers = toy.as_user()
        ids = [(await toy.client.post(THINGS, json={"name": "a"}, headers=headers)).json()["id"] for _ in range(2)]
        answers = await asyncio.gather(
            toy.client.post(f"{THINGS}/swap", json={"first": ids[0], "second": ids[1]}, headers=headers),
            toy.client.post(f"{THINGS}/swap", json={"first": ids[1], "second": ids[0]}, headers=headers),
        )
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert next(answer for answer in answers if answer.status_code == 409).json()["code"] == "busy"


async def test_no_connection_left_is_503_within_seconds(service_factory: ServiceFactory) -> None:
    async with service_factory(ToySettings, build, db_pool_size=1, db_max_overflow=0) as toy:
        headers = toy.as_user()
        slow = asyncio.create_task(toy.client.post(f"{THINGS}/slowly", json={"name": "a"}, headers=headers))
        await stage(toy).reached.wait()
        async with asyncio.timeout(6):
            answer = await toy.client.post(THINGS, json={"name": "b"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "2"
        stage(toy).go.set()
        assert (await slow).status_code == 201
        assert (await toy.client.post(THINGS, json={"name": "c"}, headers=headers)).status_code == 201


async def test_no_connection_left_for_a_read_is_503_within_seconds(service_factory: ServiceFactory) -> None:
    async with service_factory(ToySettings, build, read_pool_max=1) as toy:
        async with toy.database.reads.acquire(), asyncio.timeout(6):
            assert (await toy.client.get(f"{THINGS}/{new_id()}")).status_code == 503
        assert (await toy.client.get(f"{THINGS}/{new_id()}")).status_code == 404


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that a test may kill; it comes back on the same port."""
    server = PostgresServer(Path(tmp_path_factory.mktemp("mortal")), port=ports.free_port(), durable=False)
    server.start()
    yield server
    server.stop()


async def test_postgres_stopped_and_started_again(mortal: PostgresServer, keys: Any) -> None:
    from chassis.migrations import migrate
    from chassis.testing import IdleBus

    url = await Databases(mortal).create("toy")
    settings = ToySettings(database_url=url, jwks=keys.user_jwks, role="web")  # type: ignore[arg-type]  # pydantic reads the text
    await migrate(settings, "toy")
    service = build(settings, IdleBus(), {})
    await service.start()
    headers = {"authorization": f"Bearer {keys.access_token()}"}
    transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://toy", headers=headers) as client:

        async def statuses() -> list[int]:
            read = [client.get(f"{THINGS}/{new_id()}") for _ in range(8)]
            written = [client.post(THINGS, json={"name": "a"}) for _ in range(5)]
            return [answer.status_code for answer in await asyncio.gather(*read, *written)]

        assert await statuses() == [404] * 8 + [201] * 5
        assert all((await service.is_ready()).values())
        mortal.stop()
        async with asyncio.timeout(5):
            assert set(await statuses()) == {503}
        assert (await service.is_ready())["database"] is False
        mortal.start()
        assert await statuses() == [404] * 8 + [201] * 5, "no request pays for a restart that is over"
        assert all((await service.is_ready()).values())
    await service.stop()


async def test_what_the_driver_sends_first_belongs_to_the_transaction(toy: Harness) -> None:
    """SQLAlchemy sends BEGIN with its own first statement; the driver's may come before that."""

    async def insert_and_fail() -> None:
        async with toy.database.transaction() as session:
            connection = await driver_connection(session)
            await connection.execute("INSERT INTO inbox (event_id, consumer, type) VALUES ($1, 'toy', 'x')", new_id())
            raise RuntimeError("after the statement")

    with pytest.raises(RuntimeError):
        await insert_and_fail()
    assert await toy.fetch("SELECT * FROM inbox") == []


async def test_driver_and_session_see_each_other(toy: Harness) -> None:
    event_id = new_id()
    async with toy.database.transaction() as session:
        await session.execute(text("SELECT 1"))
        connection = await driver_connection(session)
        await connection.execute("INSERT INTO inbox (event_id, consumer, type) VALUES ($1, 'toy', 'x')", event_id)
        seen = await session.scalar(text("SELECT count(*) FROM inbox WHERE event_id = :id"), {"id": event_id})
    assert seen == 1
    assert len(await toy.fetch("SELECT * FROM inbox")) == 1


async def test_a_failure_that_was_passed_over_is_not_taken_for_a_commit(toy: Harness) -> None:
    """PostgreSQL answers the COMMIT of such a transaction with ROLLBACK, and with no error."""

    async def pass_over_a_failure() -> None:
        async with toy.database.transaction() as session:
            driver = await driver_connection(session)
            await driver.execute("INSERT INTO things (id, name, quantity) VALUES ($1, 'lost', 1)", new_id())
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await driver.execute("SELECT 1 / 0")

    with pytest.raises(RuntimeError, match="nothing of it was committed"):
        await pass_over_a_failure()
    await nothing_stays(toy)


async def test_values_that_go_with_the_commit_arrive_as_they_are(toy: Harness) -> None:
    """They are sent as literals: none may be read as SQL or as the place of another."""
    event_id, texts = new_id(), ["$1'); DROP TABLE inbox; --", "\\' ₹ $2", ""]
    async with toy.database.transaction() as session:
        fill = (
            "INSERT INTO inbox (event_id, consumer, type) SELECT $1, coalesce($2::text, $3), array_to_json($4::text[])"
        )
        end_with(session, fill, event_id, None, texts[0], texts)
        end_with(session, "DELETE FROM inbox WHERE event_id = ANY ($1::uuid[])", [])
    ((found, consumer, told),) = await toy.fetch("SELECT event_id, consumer, type FROM inbox")
    assert (found, consumer, json.loads(told)) == (event_id, texts[0], texts)


async def test_one_statement_is_committed_without_a_transaction_around_it(toy: Harness) -> None:
    sent: list[str] = []
    async with toy.database.one_statement() as session:
        connection = await driver_connection(session)
        connection.add_query_logger(lambda logged: sent.append(logged.query))
    event_id = new_id()
    async with toy.database.one_statement() as session:
        connection = await driver_connection(session)
        await connection.execute("INSERT INTO inbox (event_id, consumer, type) VALUES ($1, 'toy', 'x')", event_id)
    await asyncio.sleep(0)  # the driver tells of a statement in the loop's next turn
    assert len(sent) == 1
    assert [row["event_id"] for row in await toy.fetch("SELECT event_id FROM inbox")] == [event_id]


async def test_a_second_statement_is_refused_where_one_was_promised(toy: Harness) -> None:
    async def send_two() -> None:
        async with toy.database.one_statement() as session:
            connection = await driver_connection(session)
            await connection.execute("INSERT INTO inbox (event_id, consumer, type) VALUES ($1, 'toy', 'x')", new_id())
            await connection.execute("DELETE FROM inbox")

    with pytest.raises(RuntimeError):
        await send_two()
    assert len(await toy.fetch("SELECT * FROM inbox")) == 1
    await nothing_is_open(toy)


async def test_a_session_is_refused_where_one_statement_was_promised(toy: Harness) -> None:
    with pytest.raises(RuntimeError):
        async with toy.database.one_statement() as session:
            await session.execute(text("SELECT 1"))
    await nothing_is_open(toy)


async def test_an_event_is_not_lost_silently_where_one_statement_was_promised(toy: Harness) -> None:
    with pytest.raises(RuntimeError):
        async with toy.database.one_statement() as session:
            await record(session, ThingMade(name="a"), subject="a", sequence=1)
    await nothing_stays(toy)


async def test_a_session_that_only_adds_is_written_at_the_commit(toy: Harness) -> None:
    """The unit of work connects at the commit, when nothing was asked before."""
    made = (await toy.client.post(THINGS, json={"name": "a"}, headers=toy.as_user())).json()
    assert [str(row["id"]) for row in await toy.fetch("SELECT id FROM things")] == [made["id"]]
