"""Reads that need no service, one after the other on one connection: in order, counted once, and bounded."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from chassis.runner import bind, serve
from gateway.app import listeners
from gateway.testing import Client, Front, Reply, Seen, eventually

KEPT = "/api/v1/products"
HOST = b"Host: localhost\r\n"
READ = b"GET /api/v1/products HTTP/1.1\r\n" + HOST
WHOLE = READ + b"\r\n"


class Shelf:
    """Answers what may be kept, of this size."""

    def __init__(self, size: int = 100) -> None:
        self.size = size

    async def __call__(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        body = seen.target.encode().ljust(self.size, b".")
        lives = b'cache-control: public, max-age=3600\r\netag: "1"\r\n'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % len(body) + lives + b"\r\n" + body)
        await writer.drain()


@pytest.fixture
async def front(front_factory: Any, shell: str) -> AsyncIterator[Front]:
    """A gateway that keeps one answer already, and waits 0.5 s for heads and 1 s between requests."""
    async with front_factory(shell=shell, head_timeout=0.5, idle_timeout=1) as front:
        front.services["catalog"].answer = Shelf()
        await front.ask("GET", KEPT)
        yield front


async def read(client: Client, *, head_only: bool = False) -> Reply:
    reply = await client.read(head_only=head_only)
    assert reply is not None
    return reply


def answered(front: Front, route: str = KEPT, status: str = "200") -> float:
    """How many answers the access log has counted."""
    labels = {"method": "GET", "route": route, "status": status}
    return front.gateway.metrics.registry.get_sample_value("haat_http_requests_total", labels) or 0.0


def has_answered(front: Front, count: int) -> bool:
    return answered(front) >= count


async def test_kept_and_other_answers_keep_the_order_of_their_requests(front: Front) -> None:
    """Also when one of them takes the way through a service, and those after it would be ready at once."""
    gate, shelf = asyncio.Event(), Shelf()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await gate.wait()
        await shelf(reader, writer, seen)

    front.services["catalog"].answer = slowly
    client = await front.connect()
    other = b"GET /api/v1/products/7 HTTP/1.1\r\n" + HOST + b"\r\n"
    head = b"HEAD /api/v1/products HTTP/1.1\r\n" + HOST + b"\r\n"
    write = b"POST /api/v1/auth/login HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}"
    nowhere = b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n"
    await client.send(WHOLE + other + WHOLE + head + write + nowhere + WHOLE)
    assert (await read(client)).body.startswith(KEPT.encode() + b"..")
    gate.set()
    assert (await read(client)).body.startswith(b"/api/v1/products/7..")
    assert (await read(client)).body.startswith(KEPT.encode() + b"..")
    assert (await read(client, head_only=True)).headers["content-length"] == "100"
    assert (await read(client)).json == {"ok": True}
    assert (await read(client)).code == "route_not_found"
    assert (await read(client)).body.startswith(KEPT.encode() + b"..")


async def test_thousand_requests_in_one_piece_are_all_answered(front: Front) -> None:
    client = await front.connect()
    await client.send(WHOLE * 1000)
    for _ in range(1000):
        assert (await read(client)).headers["cache-status"].startswith("haat; hit")


async def test_who_asks_for_thousands_lets_others_in_between(front: Front) -> None:
    greedy, other = await front.connect(), await front.connect()
    await greedy.send(WHOLE * 2000)
    await other.send(WHOLE)
    assert (await read(other)).status == 200
    assert answered(front) < 1000


async def test_who_asks_and_never_reads_is_not_written_to_without_end(front_factory: Any, shell: str) -> None:
    async with front_factory(shell=shell, limit_read="1000000/60") as front:
        front.services["catalog"].answer = Shelf(50_000)
        await front.ask("GET", KEPT)
        client, asked = await front.connect(), 0
        with suppress(TimeoutError):
            while asked < 2000:
                await client.send(WHOLE * 10)
                asked += 10
                await eventually(partial(has_answered, front, 1 + asked), within=0.5)
        assert asked < 1000, "50 MB are neither in the sockets nor in memory"
        for _ in range(asked):
            assert len((await read(client)).body) == 50_000


async def test_each_is_counted_once_against_its_caller(front_factory: Any, shell: str) -> None:
    async with front_factory(shell=shell, limit_read="10/3600") as front:
        front.services["catalog"].answer = Shelf()
        client = await front.connect()
        statuses = []
        for number in range(12):
            await client.send(WHOLE if number % 2 else WHOLE.replace(b"products", b"products/%d" % number))
            statuses.append((await read(client)).status)
        assert statuses == [200] * 10 + [429] * 2


async def test_between_requests_there_is_as_much_time_as_ever(front: Front, shell: str) -> None:
    """More than for a head; and half a head ends the connection with a word, which stock uvicorn never does."""
    client = await front.connect()
    for _ in range(2):
        await client.send(WHOLE)
        assert (await read(client)).status == 200
        assert not await client.is_closed(within=0.7)
    if shell == "fast":
        await client.send(READ)
        assert (await read(client)).code == "request_timeout"
        assert await client.is_closed(within=2.0)


async def test_answer_that_takes_long_is_waited_for_after_one_that_took_nothing(front: Front) -> None:
    """The silence between requests ends with the next request, also when both came in one piece."""
    shelf = Shelf()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await asyncio.sleep(1.5)
        await shelf(reader, writer, seen)

    front.services["catalog"].answer = slowly
    client = await front.connect()
    await client.send(WHOLE + b"GET /api/v1/products/7 HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (await read(client)).status == 200
    assert (await read(client)).body.startswith(b"/api/v1/products/7..")


@pytest.mark.parametrize("last", [b"Connection: close\r\n", b"HTTP/1.0"])
async def test_who_wants_one_answer_gets_one_and_the_end(front: Front, last: bytes) -> None:
    client = await front.connect()
    request = READ.replace(b"HTTP/1.1", last) + b"\r\n" if last == b"HTTP/1.0" else READ + last + b"\r\n"
    await client.send(request + WHOLE)
    assert (await read(client)).headers["connection"] == "close"
    assert await client.is_closed(within=0.5)
    assert answered(front) == 2


async def test_a_gateway_that_takes_leave_says_so_with_kept_answers_too(front: Front) -> None:
    """Whoever holds a connection to it would come again."""
    bound, ready, leaving, hurried = bind("127.0.0.1", 0), asyncio.Event(), asyncio.Event(), asyncio.Event()
    public = dataclasses.replace(listeners(front.gateway)[0], bound=bound, drain=1)
    serving = asyncio.create_task(serve([public], leaving, grace=60, hurried=hurried, on_ready=ready.set))
    await ready.wait()
    client = Client(*await asyncio.open_connection(*bound.getsockname()))
    await client.send(WHOLE)
    assert "connection" not in (await read(client)).headers
    leaving.set()
    async with asyncio.timeout(10):
        reply = await read_again(client)
        while "connection" not in reply.headers:
            reply = await read_again(client)
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await client.is_closed(within=1.0)
    client.writer.close()
    hurried.set()
    await serving


async def read_again(client: Client) -> Reply:
    await client.send(WHOLE)
    return await read(client)
