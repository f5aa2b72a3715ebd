"""Services in the gateway's own process, as the embedded shop has them: the same behaviour without a wire between."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.routes import ROUTES, RouteTable
from gateway.testing import Front, eventually

MIB = 1024 * 1024


class Service:
    """An application that echoes, breaks off, breaks down, or thinks for long."""

    def __init__(self) -> None:
        self.was_cancelled = asyncio.Event()
        self.is_thinking = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Behave as the last segment of the path says."""
        manner = scope["path"].rpartition("/")[2]
        if manner == "broken":
            raise RuntimeError("told to break")
        if manner == "thinking":
            self.is_thinking.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.was_cancelled.set()
                raise
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Seen", scope["raw_path"])]})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": True})
        if manner == "half":
            raise RuntimeError("told to break off")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
async def embedded(front_factory: Any, service: Service) -> AsyncIterator[Front]:
    cart = next(route for route in ROUTES if route.prefix == "/api/v1/cart")
    roomy = RouteTable((*ROUTES, dataclasses.replace(cart, prefix="/api/v1/cart/upload", body_limit=4 * MIB)))
    async with front_factory(routes=roomy, in_process={"cart": service}) as front:
        yield front


async def test_bodies_pass_both_ways(embedded: Front) -> None:
    small = await embedded.ask("POST", "/api/v1/cart/echo", body=b'{"a": 1}')
    assert small.body == b'{"a": 1}'
    large = bytes(range(256)) * (2 * MIB // 256)
    reply = await embedded.ask("POST", "/api/v1/cart/upload/echo", body=large)
    assert reply.body == large


async def test_a_body_over_the_limit_is_refused(embedded: Front) -> None:
    client = await embedded.connect()
    head = b"POST /api/v1/cart/upload/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.send(head)
    sending = asyncio.create_task(client.send((b"10000\r\n" + b"a" * 65536 + b"\r\n") * 100))
    reply = await client.read(head_only=True)
    sending.cancel()
    assert reply is not None
    assert reply.status in (413, 200), "an answer that had begun is cut short instead"
    assert await client.is_closed(within=5)


async def test_a_breakdown_is_a_problem(embedded: Front) -> None:
    reply = await embedded.ask("POST", "/api/v1/cart/broken", body=b"{}")
    assert (reply.status, reply.code) == (502, "upstream_failed")


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(embedded: Front) -> None:
    with pytest.raises((asyncio.IncompleteReadError, ValueError)):
        await embedded.ask("POST", "/api/v1/cart/half", body=b'{"a": 1}')


async def test_a_client_that_leaves_ends_the_call(embedded: Front, service: Service) -> None:
    client = await embedded.connect()
    await client.send(b"GET /api/v1/cart/thinking HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await service.is_thinking.wait()
    client.writer.close()
    async with asyncio.timeout(5):
        await service.was_cancelled.wait()
    await eventually(lambda: embedded.gateway.guards["cart"].in_flight == 0)
