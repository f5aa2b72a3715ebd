"""A connection that PostgreSQL or the network has ended looks open for a while: nothing may be made of it but a 503."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import asyncpg
import pytest
from toy.app import ToySettings

from chassis.database import Database, is_outage
from chassis.plain_sql import driver_connection
from chassis.testing import Databases

Work = Callable[[Database], Awaitable[None]]

END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"


class Wire:
    """Between a service and PostgreSQL: the end of a connection, or all that comes back on it, never arrives."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._silent: set[asyncio.StreamWriter] = set()
        self._callers: set[asyncio.StreamWriter] = set()
        self._servers: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()
        """PostgreSQL has said all that it will say on some connection."""

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        """The way to the database over this wire."""
        listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        place = f"{self._server.netloc.rpartition('@')[0]}@127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield self._server._replace(netloc=place).geturl()
        listener.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        for side in (*self._callers, *self._servers):
            side.close()
            with suppress(OSError):
                await side.wait_closed()

    def fall_silent(self) -> None:
        """Nothing comes back any more, on the connections that there are."""
        self._silent |= self._callers

    def let_go(self) -> None:
        """Every connection ends, and its caller hears of it."""
        for caller in self._callers:
            caller.close()

    async def _connect(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        self._callers.add(caller)
        answers, server = await asyncio.open_connection(self._server.hostname, self._server.port)
        self._servers.add(server)
        self._carrying |= {
            asyncio.create_task(self._carry_back(answers, caller)),
            asyncio.create_task(self._carry_there(reader, server)),
        }

    async def _carry_there(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            server.write(chunk)
        server.close()

    async def _carry_back(self, answers: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        while chunk := await answers.read(65536):
            if caller not in self._silent:
                caller.write(chunk)
                await caller.drain()
        self.ended.set()


@pytest.fixture
async def url(databases: Databases) -> str:
    return await databases.for_service(ToySettings)


@pytest.fixture
async def wire(url: str) -> Wire:
    return Wire(url)


@pytest.fixture
async def database(wire: Wire) -> AsyncIterator[Database]:
    async with wire.url() as over_the_wire:
        database = Database(ToySettings(database_url=over_the_wire))  # type: ignore[arg-type]  # pydantic reads the text
        await database.start()
        yield database
        wire.let_go()
        await database.stop()


async def write(database: Database) -> None:
    async with database.transaction() as session:
        await (await driver_connection(session)).execute("SELECT 1")


async def write_in_one_statement(database: Database) -> None:
    async with database.one_statement() as session:
        await (await driver_connection(session)).execute("SELECT 1")


@pytest.mark.parametrize("work", [write, write_in_one_statement])
async def test_a_connection_that_was_ended_and_looks_open_is_an_outage(
    database: Database, wire: Wire, url: str, work: Work
) -> None:
    """The driver refuses it with an error of its own kind: for whoever asked, the database was away for a moment."""
    await work(database)
    elsewhere = await asyncpg.connect(url)
    await elsewhere.execute(END_ALL)
    await elsewhere.close()
    await wire.ended.wait()
    (refusal,) = await asyncio.gather(work(database), return_exceptions=True)
    assert refusal is not None
    assert is_outage(refusal), repr(refusal)
    await work(database)


@pytest.mark.parametrize("work", [write, write_in_one_statement])
async def test_a_connection_without_an_answer_is_given_to_nobody_else(
    database: Database, wire: Wire, work: Work
) -> None:
    await work(database)
    wire.fall_silent()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await work(database)
    async with asyncio.timeout(5):
        await work(database)
