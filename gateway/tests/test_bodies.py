"""Bodies: counted as they come, streamed where they are large, and never half-believed."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.routes import ROUTES, RouteTable
from gateway.testing import Front, Seen, eventually

MIB = 1024 * 1024
ITEMS = b"POST /api/v1/cart/items HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD = b"POST /api/v1/cart/upload HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
async def roomy(front_factory: Any, shell: str) -> AsyncIterator[Front]:
    """A gateway with one route for uploads, and short deadlines."""
    cart = next(route for route in ROUTES if route.prefix == "/api/v1/cart")
    upload = dataclasses.replace(cart, prefix="/api/v1/cart/upload", body_limit=2 * MIB, deadline=3.0)
    quick = dataclasses.replace(cart, prefix="/api/v1/cart/items", timeout=0.2, deadline=0.7)
    async with front_factory(shell=shell, routes=RouteTable((*ROUTES, upload, quick))) as front:
        yield front


async def test_a_chunked_body_over_the_limit_is_refused_before_the_service_hears_of_it(roomy: Front) -> None:
    cart = roomy.services["cart"]
    cart.forget()
    chunk = b"2000\r\n" + b"a" * 0x2000 + b"\r\n"
    reply = await roomy.raw(ITEMS + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 9)
    assert reply is not None
    assert (reply.status, reply.code, reply.json["limit"]) == (413, "body_too_large", 65536)
    assert cart.seen == []


async def test_an_announced_size_over_the_limit_is_refused_without_reading(roomy: Front) -> None:
    reply = await roomy.raw(ITEMS + b"Content-Length: 999999999999\r\n\r\n")
    assert reply is not None
    assert (reply.status, reply.headers["connection"]) == (413, "close")


async def test_a_refusal_leaves_the_connection_usable(roomy: Front) -> None:
    client = await roomy.connect()
    await client.send(b"POST /api/v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
    first = await client.read()
    await client.send(b"GET /api/v1/products HTTP/1.1\r\nHost: localhost\r\n\r\n")
    second = await client.read()
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (401, 200)


async def test_a_large_body_streams_both_ways(roomy: Front) -> None:
    cart = roomy.services["cart"]
    cart.forget()

    async def echo(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(seen.body), 100_000):
            piece = seen.body[start : start + 100_000]
            writer.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    cart.answer = echo
    body = bytes(range(256)) * (MIB // 256)
    reply = await roomy.raw(UPLOAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert reply is not None
    assert reply.body == body
    chunked = b"".join(b"10000\r\n" + body[start : start + 65536] + b"\r\n" for start in range(0, MIB, 65536))
    reply = await roomy.raw(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n")
    assert reply is not None
    assert reply.body == body
    cart.forget()


async def test_a_streamed_body_over_the_limit_is_refused(roomy: Front, shell: str) -> None:
    if shell == "asgi":
        # uvicorn closes at once, and the reset that follows may overtake the answer; ours waits for the client.
        return
    cart = roomy.services["cart"]
    cart.forget()
    client = await roomy.connect()
    await client.send(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(40):
        await client.send(b"10000\r\n" + b"a" * 65536 + b"\r\n")
    reply = await client.read()
    assert reply is not None
    assert (reply.status, reply.code) == (413, "body_too_large")
    assert cart.seen == [], "the service never saw a whole request"


async def test_half_a_body_and_then_silence_is_told_so(roomy: Front) -> None:
    reply = await roomy.raw(ITEMS + b"Content-Length: 10\r\n\r\n{")
    assert reply is not None
    assert (reply.status, reply.code) == (408, "request_timeout")


async def test_a_client_that_leaves_ends_the_call(roomy: Front) -> None:
    catalog = roomy.services["catalog"]
    asked, left = asyncio.Event(), asyncio.Event()

    async def think(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _seen: Seen) -> None:
        asked.set()
        await reader.read()
        left.set()
        raise ConnectionResetError

    catalog.answer = think
    client = await roomy.connect()
    await client.send(b"GET /api/v1/products HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        await asked.wait()
        client.writer.close()
        await left.wait()
    await eventually(lambda: roomy.gateway.guards["catalog"].in_flight == 0)
    catalog.forget()


async def test_a_webhook_keeps_every_byte(roomy: Front) -> None:
    payments = roomy.services["payments"]
    payments.forget()
    body = b'{"event":  "payment.captured",\r\n "x":"\xe0\xa4\x9a" }\n'
    head = b"POST /api/v1/payments/webhooks/razorpay HTTP/1.1\r\nHost: localhost\r\nX-Razorpay-Signature: s\r\n"
    reply = await roomy.raw(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert reply is not None
    assert reply.status == 200
    assert payments.seen[0].body == body


async def test_head_has_the_headers_of_get_and_no_body(roomy: Front) -> None:
    client = await roomy.connect()
    await client.send(b"HEAD /api/v1/products HTTP/1.1\r\nHost: localhost\r\n\r\n")
    reply = await client.read(head_only=True)
    assert reply is not None
    assert reply.headers["content-length"] == "11"
    await client.send(b"GET /api/v1/products HTTP/1.1\r\nHost: localhost\r\n\r\n")
    following = await client.read()
    assert following is not None
    assert following.json == {"ok": True}
