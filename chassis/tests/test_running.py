"""A service as operators see it: over real sockets, as a process of its own, ready or not, and stopped politely."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from toy.app import ToySettings, build

from chassis.runner import Listener, bind, run, serve
from chassis.testing import Databases, Harness, IdleBus, Keys, ServiceFactory
from localservers import ports

THINGS = "/api/v1/things"


@asynccontextmanager
async def listening(toy: Harness) -> AsyncIterator[int]:
    """The toy's port."""
    socket = bind("127.0.0.1", 0)
    stopping, ready = asyncio.Event(), asyncio.Event()
    listener = Listener(toy.service.app, "127.0.0.1", 0, drain=1, bound=socket)
    server = asyncio.create_task(serve([listener], stopping, on_ready=ready.set))
    await ready.wait()
    try:
        yield socket.getsockname()[1]
    finally:
        stopping.set()
        await server


def head(toy: Harness, *lines: str) -> bytes:
    fields = (f"authorization: {toy.as_user()['authorization']}", "content-type: application/json", "host: toy", *lines)
    return (
        f"POST {THINGS} HTTP/1.1\r\n{chr(10).join(fields)}\r\n\r\n".replace("\n", "\r\n").replace("\r\r", "\r").encode()
    )


async def say(port: int, *parts: bytes) -> bytes:
    """What comes back for these bytes until the server closes or is silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"\r\n")
    writer.close()
    return answer


async def test_sizes_are_counted_whatever_was_announced(toy: Harness) -> None:
    body = b'{"name":"a"}'
    async with listening(toy) as port:
        assert b" 413 " in await say(port, head(toy, "content-length: 99999999"))
        assert b" 413 " in await say(port, head(toy, f"content-length: {'9' * 18}"))
        endless = [b"8000\r\n" + b" " * 0x8000 + b"\r\n"] * 3
        assert b" 413 " in await say(port, head(toy, "transfer-encoding: chunked"), *endless)
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        assert b" 201 " in await say(port, head(toy, "transfer-encoding: chunked"), chunked)
        assert b" 400 " in await say(port, head(toy, "content-length: -1"), body)


async def test_a_client_that_leaves_in_the_middle_is_no_mistake_of_ours(toy: Harness) -> None:
    async with listening(toy) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(toy, "content-length: 100") + b'{"name":')
        await writer.drain()
        writer.close()
        counted = 'haat_http_requests_total{method="POST",route="/api/v1/things",status="499"} 1.0'
        async with asyncio.timeout(5):
            while counted not in toy.service.metrics.exposition().decode():  # noqa: ASYNC110 - metrics tell when asked
                await asyncio.sleep(0.01)
    assert await toy.fetch("SELECT * FROM things") == []


async def test_who_leaves_before_the_answer_has_ordered_all_the_same(toy: Harness) -> None:
    """The request was whole: it is carried out, and its key gives the answer to whoever asks again."""
    stage = toy.service.fastapi.state.stage
    async with listening(toy) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"name":"a"}'
        writer.write(head(toy, f"content-length: {len(body)}").replace(b"/things", b"/things/slowly") + body)
        await writer.drain()
        await stage.reached.wait()
        writer.close()
        await writer.wait_closed()
        stage.go.set()
    assert len(await toy.fetch("SELECT * FROM things")) == 1


async def test_ready_means_database_schema_and_keys(
    databases: Databases, keys: Keys, service_factory: ServiceFactory
) -> None:
    empty = await databases.create("toy_without_tables")
    service = build(ToySettings(database_url=empty, jwks=keys.user_jwks, role="web"), IdleBus(), {})  # type: ignore[arg-type]  # pydantic reads the text
    await service.start()
    assert await service.is_ready() == {"database": True, "migrations": False, "keys": True, "accepting": True}
    await service.stop()
    async with service_factory(ToySettings, build) as toy:
        await toy.execute("UPDATE alembic_version SET version_num = '0002'")
        try:
            assert all((await toy.service.is_ready()).values()), "an older release runs beside a newer schema"
        finally:
            await toy.execute("UPDATE alembic_version SET version_num = '0001'")
        transport = httpx.ASGITransport(toy.service.management)
        async with httpx.AsyncClient(transport=transport, base_url="http://toy") as operator:
            assert (await operator.get("/livez")).json() == {"status": "live"}
            assert (await operator.get("/readyz")).json()["ready"] is True
            assert b"haat_http_requests_total" in (await operator.get("/metrics")).content
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await toy.client.get(path)).status_code == 404, "never on the public port"


async def is_answered(url: str) -> bool:
    """Whether somebody listens there, over a connection of its own."""
    try:
        async with httpx.AsyncClient() as client:
            await client.get(url)
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        return False  # nobody listens, or stopped to at any moment between the connection and the answer
    return True


@asynccontextmanager
async def process(
    toy: Harness, keys: Keys, *, grace: float = 0
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """The toy as a process of its own, on the database of the harness."""
    port, management = ports.free_port(), ports.free_port()
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parent),
        "TOY_DATABASE_URL": toy.database.url,
        "TOY_JWKS": keys.user_jwks,
        "TOY_ROLE": "web",
        "TOY_PORT": str(port),
        "TOY_MANAGEMENT_PORT": str(management),
        "TOY_DRAIN_GRACE": str(grace),
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "toy", env=variables, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(30):
            while not await is_answered(f"http://127.0.0.1:{management}/readyz"):
                assert running.returncode is None, "it ended before it was ready"
                await asyncio.sleep(0.05)
            yield running, client
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_the_request_under_way_finish(
    toy: Harness, somebody: asyncpg.Connection, keys: Keys, number: signal.Signals
) -> None:
    made = (await toy.client.post(THINGS, json={"name": "a"}, headers=toy.as_user())).json()
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with process(toy, keys) as (running, client):
        async with somebody.transaction():
            await somebody.execute("SELECT * FROM things FOR UPDATE")
            headers = toy.as_user("staff")
            slow = asyncio.create_task(client.patch(f"{THINGS}/{made['id']}", json={"name": "b"}, headers=headers))
            while (await toy.fetch(waits))[0][0] == 0:  # noqa: ASYNC110 - the server tells when asked
                await asyncio.sleep(0.01)
            running.send_signal(number)
            while await is_answered(f"{client.base_url}/nothing"):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert (await slow).json()["name"] == "b"
        _, logged = await running.communicate()
    assert running.returncode == 0
    assert b'"level":"error"' not in logged


async def is_ready_to(running: asyncio.subprocess.Process) -> httpx.Response:
    """What its management port says."""
    port = psutil.Process(running.pid).environ()["TOY_MANAGEMENT_PORT"]
    async with httpx.AsyncClient() as operator:
        return await operator.get(f"http://127.0.0.1:{port}/readyz")


async def test_a_process_that_ends_is_not_ready_first_and_says_farewell_with_each_answer(
    toy: Harness, keys: Keys
) -> None:
    async with process(toy, keys, grace=30) as (running, client):
        while not (await is_ready_to(running)).is_success:  # noqa: ASYNC110 - it tells when asked
            await asyncio.sleep(0.05)
        assert "connection" not in (await client.get(THINGS)).headers
        running.terminate()
        while (await is_ready_to(running)).is_success:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        for _ in range(3):
            answer = await client.get(THINGS)
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        running.terminate()  # whoever asks twice does not wait for the grace
        async with asyncio.timeout(15):
            await running.wait()
    assert running.returncode == 0


class Built:
    """A component that makes what a process keeps until its end."""

    def __init__(self) -> None:
        self.kept: list[list[int]] = []

    async def start(self) -> None:
        """Make it."""
        self.kept = [[1]]

    def retire(self) -> None:
        """Nobody comes."""

    async def stop(self) -> None:
        """Nothing to let go."""


async def test_no_garbage_collection_searches_what_a_process_keeps_anyway() -> None:
    """A full one would answer nobody for a fifth of a second, again and again."""
    built, before = Built(), gc.get_threshold()
    searched: list[bool] = []

    def on_ready() -> None:
        searched.append(any(found is built.kept for found in gc.get_objects()))
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        await run(built, [], on_ready=on_ready)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
    assert searched == [False]
