"""Clients that connect and say little: each silence ends after its limit, and with a word where one is possible."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.testing import Front, Seen, eventually

PRODUCTS = b"GET /api/v1/products HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
async def impatient(front_factory: Any) -> AsyncIterator[Front]:
    """A gateway that waits 0.4 s for heads and 1 s between requests."""
    async with front_factory(head_timeout=0.4, idle_timeout=1, write_timeout=0.5) as front:
        yield front


async def test_silence_after_connecting_ends(impatient: Front) -> None:
    client = await impatient.connect()
    assert not await client.is_closed(within=0.2)
    assert await client.is_closed(within=1.0)


async def test_half_a_head_is_told_so(impatient: Front) -> None:
    client = await impatient.connect()
    await client.send(PRODUCTS)
    reply = await client.read()
    assert reply is not None
    assert (reply.status, reply.code) == (408, "request_timeout")
    assert await client.is_closed(within=2.0)


async def test_a_dripping_head_does_not_extend_its_time(impatient: Front) -> None:
    client = await impatient.connect()
    started = time.monotonic()
    await client.send(PRODUCTS)
    for _ in range(20):
        await client.send(b"X-Drip: 1\r\n")
        if await client.is_closed(within=0.1):
            break
    assert time.monotonic() - started < 1.5


async def test_empty_lines_between_requests_do_not_extend_its_time(impatient: Front) -> None:
    client = await impatient.connect()
    await client.send(PRODUCTS + b"\r\n")
    assert await client.read() is not None
    started = time.monotonic()
    for _ in range(30):
        await client.send(b"\r\n")
        if await client.is_closed(within=0.1):
            break
    assert time.monotonic() - started < 2.5


async def test_a_kept_connection_serves_again_and_then_ends(impatient: Front) -> None:
    client = await impatient.connect()
    for _ in range(3):
        await client.send(PRODUCTS + b"\r\n")
        reply = await client.read()
        assert reply is not None
        assert reply.status == 200
        # Idle for longer than a head may take: that limit is for heads only.
        assert not await client.is_closed(within=0.6)
    assert await client.is_closed(within=2.0)


async def test_requests_in_a_row_are_answered_in_order(impatient: Front) -> None:
    client = await impatient.connect()
    heads = [b"GET /api/v1/products/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number for number in range(3)]
    impatient.services["catalog"].forget()
    await client.send(b"".join(heads))
    for _ in heads:
        reply = await client.read()
        assert reply is not None
        assert reply.status == 200
    targets = [seen.target for seen in impatient.services["catalog"].seen]
    assert targets == ["/api/v1/products/0", "/api/v1/products/1", "/api/v1/products/2"]


async def test_a_head_without_end_is_refused_while_it_comes(impatient: Front) -> None:
    client = await impatient.connect()
    await client.send(PRODUCTS + b"X-Endless: ")
    for _ in range(30):
        await client.send(b"a" * 50_000)
    reply = await client.read()
    assert reply is None or reply.code == "head_too_large"


async def test_trailers_are_no_headers(impatient: Front) -> None:
    impatient.services["cart"].forget()
    head = b"POST /api/v1/cart/items HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = await impatient.raw(head + b"2\r\n{}\r\n0\r\nX-Cart-Token: stolen\r\nHost: evil\r\n\r\n")
    assert reply is not None
    assert reply.status == 200
    assert impatient.services["cart"].seen[0].header("x-cart-token") is None


async def test_trailers_without_end_are_refused(impatient: Front) -> None:
    client = await impatient.connect()
    head = b"POST /api/v1/cart/items HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.send(head + b"2\r\n{}\r\n0\r\n")
    for _ in range(10):
        await client.send(b"X-T: " + b"a" * 40_000 + b"\r\n")
    reply = await client.read()
    assert reply is None or reply.code == "framing_refused"


async def test_an_answer_that_nobody_reads_ends(impatient: Front) -> None:
    catalog = impatient.services["catalog"]

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b"a" * 65536 + b"\r\n")
            await writer.drain()

    catalog.answer = endless
    before = catalog.disconnects
    client = await impatient.connect()
    await client.send(PRODUCTS + b"\r\n")
    await eventually(lambda: catalog.disconnects > before, within=8)
    catalog.forget()


async def test_a_client_who_reads_slowly_holds_no_place_at_a_service(front_factory: Any) -> None:
    async def answer_at_length(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000)
        await writer.drain()

    async with front_factory(cache_size=0, max_in_flight=2) as front:
        catalog = front.services["catalog"]
        catalog.answer = answer_at_length
        for _ in range(2):
            slow = await front.connect()
            await slow.send((PRODUCTS + b"\r\n") * 60)
        await eventually(lambda: len(catalog.seen) >= 2)
        answered = 0
        while answered != len(catalog.seen):
            answered = len(catalog.seen)
            await asyncio.sleep(0.3)
        assert 0 < answered < 120, "they had to stop"
        async with asyncio.timeout(10):
            while True:
                if (await front.ask("GET", "/api/v1/products")).status == 200:
                    break
                await asyncio.sleep(0.05)


async def test_one_slow_client_does_not_hold_up_another(impatient: Front) -> None:
    slow = await impatient.connect()
    await slow.send(PRODUCTS)
    reply = await impatient.ask("GET", "/api/v1/products")
    assert reply.status == 200
