"""Two ways to reach another service, and no caller can tell them apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from chassis.auth import ServiceIdentity, generate_key
from chassis.clients import (
    RENEW_EVERY,
    AsgiUpstream,
    Breaker,
    HttpUpstream,
    InternalClient,
    Upstream,
    UpstreamBroken,
    UpstreamRequest,
    UpstreamTimedOut,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from chassis.runner import Listener, bind, serve
from chassis.telemetry import request_id
from chassis.testing import FakeUpstream


class Neighbour:
    """A service that answers, hangs, breaks off and remembers what it saw."""

    def __init__(self) -> None:
        self.peers: set[tuple[str, int]] = set()
        self.produced = 0
        self.seen: list[bytes] = []
        self.left = asyncio.Event()
        self.go = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/echo/{rest:path}", self.echo, methods=["GET", "POST"]),
                Route("/endless", self.endless),
                Route("/hang", self.hang),
                Route("/break", self.break_off),
                Route("/redirect", self.redirect),
                Route("/upload", self.upload, methods=["POST"]),
                Route("/context", self.context),
            ]
        )

    async def echo(self, request: Request) -> Response:
        assert request.client is not None
        self.peers.add((request.client.host, request.client.port))
        body = await request.body()
        raw = (request.scope["raw_path"] + b"?" + request.scope["query_string"]).decode()
        return JSONResponse({"target": raw, "body": body.decode(), "x": request.headers.get("x-x")}, 201)

    async def endless(self, _request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    self.produced += 1
                    yield b"x" * 65536
                    await asyncio.sleep(0)  # uvicorn writes to a client that left without ever waiting
            finally:
                self.left.set()

        return StreamingResponse(chunks())

    async def hang(self, _request: Request) -> Response:
        await self.go.wait()
        return Response("late")

    async def break_off(self, _request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"half"
            raise ConnectionError("told to")

        return StreamingResponse(chunks(), headers={"content-length": "8"})

    async def redirect(self, _request: Request) -> Response:
        return Response(status_code=307, headers={"location": "/echo/elsewhere"})

    async def upload(self, request: Request) -> Response:
        try:
            async for chunk in request.stream():
                self.seen.append(chunk)
        except ClientDisconnect:
            self.left.set()
            raise
        return Response(str(sum(map(len, self.seen))))

    async def context(self, _request: Request) -> Response:
        return Response(request_id.get() or "none")


class Quiet:
    """Keeps what the neighbour breaks on purpose out of uvicorn's log."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except (ConnectionError, ClientDisconnect):
            return


@asynccontextmanager
async def served(neighbour: Neighbour) -> AsyncIterator[HttpUpstream]:
    socket = bind("127.0.0.1", 0)
    stopping = asyncio.Event()
    listening = asyncio.Event()
    listener = Listener(Quiet(neighbour.app), "127.0.0.1", 0, drain=1, bound=socket)
    upstream = HttpUpstream(f"http://127.0.0.1:{socket.getsockname()[1]}")
    server = asyncio.create_task(serve([listener], stopping, on_ready=listening.set))
    await listening.wait()
    yield upstream
    await upstream.close()
    stopping.set()
    await server


@pytest.fixture
def neighbour() -> Neighbour:
    return Neighbour()


@pytest.fixture(params=["http", "asgi"])
async def upstream(request: pytest.FixtureRequest, neighbour: Neighbour) -> AsyncIterator[Upstream]:
    if request.param == "asgi":
        yield AsgiUpstream(Quiet(neighbour.app), host="neighbour")
    else:
        async with served(neighbour) as over_the_wire:
            yield over_the_wire


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await event.wait()


async def test_bytes_arrive_as_they_were_sent(upstream: Upstream) -> None:
    request = UpstreamRequest(
        "POST", b"/echo/a%2Fb%20c?q=%C3%A4&q=2", [(b"x-x", b"1"), (b"content-length", b"2")], b"hi"
    )
    response = await upstream.send(request)
    assert response.status == 201
    assert (b"content-type", b"application/json") in response.headers
    assert b'"target":"/echo/a%2Fb%20c?q=%C3%A4&q=2","body":"hi","x":"1"' in await response.read()


async def test_a_redirect_is_an_answer(upstream: Upstream) -> None:
    response = await upstream.send(UpstreamRequest("GET", b"/redirect"))
    assert (response.status, dict(response.headers)[b"location"]) == (307, b"/echo/elsewhere")
    await response.aclose()


async def test_an_answer_that_does_not_come_in_time_is_told_as_that(upstream: Upstream) -> None:
    with pytest.raises(UpstreamTimedOut):
        await upstream.send(UpstreamRequest("GET", b"/hang", timeout=0.1))


async def test_an_answer_that_breaks_off_is_noticed(upstream: Upstream) -> None:
    response = await upstream.send(UpstreamRequest("GET", b"/break"))
    with pytest.raises(UpstreamBroken):
        await response.read()


async def test_a_reader_that_stops_stops_the_writer(upstream: Upstream, neighbour: Neighbour) -> None:
    response = await upstream.send(UpstreamRequest("GET", b"/endless"))
    async for _ in response.body:
        break
    await response.aclose()
    await soon(neighbour.left)
    assert neighbour.produced < 200, "nothing is produced far ahead of the reader"


async def test_a_body_streams_up(upstream: Upstream, neighbour: Neighbour) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1000

    response = await upstream.send(UpstreamRequest("POST", b"/upload", body=body()))
    assert await response.read() == b"5000"


async def test_a_body_that_breaks_off_is_a_client_that_left(upstream: Upstream, neighbour: Neighbour) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionResetError("the client is gone")

    with pytest.raises(UpstreamBroken):
        await upstream.send(UpstreamRequest("POST", b"/upload", body=body()))
    await soon(neighbour.left)


async def test_nothing_of_the_caller_leaks_into_the_called(upstream: Upstream) -> None:
    token = request_id.set("mine")
    response = await upstream.send(UpstreamRequest("GET", b"/context"))
    request_id.reset(token)
    assert await response.read() == b"none"


async def test_a_connection_is_used_again_unless_an_answer_was_left_unread(neighbour: Neighbour) -> None:
    async with served(neighbour) as upstream:
        for _ in range(5):
            await (await upstream.send(UpstreamRequest("GET", b"/echo/"))).read()
        assert len(neighbour.peers) == 1
        unread = await upstream.send(UpstreamRequest("GET", b"/endless"))
        await unread.aclose()
        await (await upstream.send(UpstreamRequest("GET", b"/echo/"))).read()
        assert len(neighbour.peers) == 2


async def test_connections_are_renewed_so_that_a_process_which_joined_later_gets_its_share(
    neighbour: Neighbour,
) -> None:
    """A name of Kubernetes leads each new connection, not each request, to any of several processes."""
    async with served(neighbour) as upstream:
        for _ in range(2 * RENEW_EVERY + 1):
            response = await upstream.send(UpstreamRequest("GET", b"/echo/"))
            await response.read()
            assert response.status == 201
        assert len(neighbour.peers) == 3


async def test_nobody_listening_is_unreachable() -> None:
    socket = bind("127.0.0.1", 0)
    upstream = HttpUpstream(f"http://127.0.0.1:{socket.getsockname()[1]}")
    socket.close()
    with pytest.raises(UpstreamUnreachable):
        await upstream.send(UpstreamRequest("GET", b"/"))
    await upstream.close()


def client(fake: FakeUpstream) -> InternalClient:
    identity = ServiceIdentity("orders", generate_key("orders.1"), issuer="haat")
    return InternalClient(fake.upstream(), target="catalog", identity=identity)


def flaky(*answers: Any) -> FakeUpstream:
    """Answers each in turn, then goes on with the last."""
    left = list(answers)

    def answer(_request: Request, _body: Any) -> Any:
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, Exception):
            raise now
        return now

    return FakeUpstream({(method, "/x"): answer for method in ("GET", "POST")})


async def test_a_refusal_is_an_answer() -> None:
    reply = await client(flaky((409, {"code": "sold_out"}))).call("POST", "/x", json={"a": 1})
    assert (reply.status, reply.is_ok, reply.data) == (409, False, {"code": "sold_out"})


@pytest.mark.parametrize("first", [ConnectionResetError(), (503, {}), Response(b"<html>", 200)])
async def test_what_may_be_repeated_is_tried_twice(first: Any) -> None:
    fake = flaky(first, (200, {"ok": True}))
    assert (await client(fake).call("GET", "/x")).data == {"ok": True}
    assert len(fake.calls) == 2


async def test_what_must_not_be_repeated_is_not() -> None:
    fake = flaky(ConnectionResetError(), (200, {}))
    with pytest.raises(UpstreamUnavailable) as refusal:
        await client(fake).call("POST", "/x", idempotent=False)
    assert len(fake.calls) == 1
    assert (refusal.value.status, refusal.value.headers) == (503, {"retry-after": "2"})


async def test_a_service_that_stays_silent_is_left_alone_for_a_while() -> None:
    fake = flaky(ConnectionResetError())
    orders = client(fake)
    for _ in range(10):
        with pytest.raises(UpstreamUnavailable):
            await orders.call("GET", "/x")
    assert len(fake.calls) == 5


async def test_after_its_pause_the_breaker_lets_one_through() -> None:
    breaker = Breaker(failures=2, pause=0.05)
    breaker.failed()
    seen = [breaker.is_open]
    breaker.failed()
    seen.append(breaker.is_open)
    await asyncio.sleep(0.06)
    seen += [breaker.is_open, breaker.is_open]  # one is let through, and holds back the rest
    breaker.succeeded()
    seen.append(breaker.is_open)
    assert seen == [False, True, False, True, False]
