"""Readers of the catalogue at a gateway that keeps answers, over real sockets and behind both shells."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.testing import Front, Reply, Seen, eventually

PRODUCTS = "/api/v1/products"
LAMP, CHAIR = "01990000-0000-7000-8000-000000000001", "01990000-0000-7000-8000-000000000002"
STOCK_CHANGED = "stock.changed.v1"


class Catalogue:
    """Answers with the version it is at, as catalog does; `held` makes it think."""

    def __init__(self) -> None:
        self.version = 1
        self.lifetime = "public, max-age=30, stale-while-revalidate=60"
        self.names = LAMP
        self.padding = 0
        self.held: asyncio.Event | None = None
        self.thinking = 0

    async def __call__(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        version = self.version
        if self.held is not None:
            self.thinking += 1
            await self.held.wait()
        tag = f'"{version}"'.encode()
        head = b"etag: %s\r\ncache-control: %s\r\n" % (tag, self.lifetime.encode())
        if seen.header("if-none-match") == tag.decode():
            writer.write(b"HTTP/1.1 304 Not Modified\r\n" + head + b"\r\n")
        else:
            body = b'{"id":"%s","version":%d,"text":"%s"}' % (self.names.encode(), version, b"x" * self.padding)
            head += b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
            writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
        await writer.drain()


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
    writer.close()


@pytest.fixture
async def keeping(front_factory: Any, shell: str) -> AsyncIterator[Front]:
    async with front_factory(shell=shell) as front:
        yield front


@pytest.fixture
def catalogue(keeping: Front) -> Catalogue:
    catalogue = Catalogue()
    keeping.services["catalog"].answer = catalogue
    return catalogue


async def read_until(front: Front, condition: Callable[[Reply], bool]) -> Reply:
    """Read the list again and again."""
    async with asyncio.timeout(10):
        while True:
            reply = await front.ask("GET", PRODUCTS)
            if condition(reply):
                return reply
            await asyncio.sleep(0.05)


def asked(front: Front) -> int:
    """How often the service was."""
    return len(front.services["catalog"].seen)


async def test_one_answer_serves_every_reader_until_the_product_is_sold(keeping: Front, catalogue: Catalogue) -> None:
    first = await keeping.ask("GET", PRODUCTS)
    assert (first.headers["cache-status"], first.headers["age"]) == ("haat; fwd=uri-miss; stored", "0")
    for _ in range(3):
        again = await keeping.ask("GET", PRODUCTS)
        assert again.body == first.body
        assert again.headers["cache-status"].startswith("haat; hit; ttl=")
        assert again.headers["etag"] == '"1"'
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert asked(keeping) == 1
    known = await keeping.ask("GET", PRODUCTS, If_None_Match='"1"')
    assert (known.status, known.body) == (304, b"")
    head = await keeping.ask("HEAD", PRODUCTS)
    assert (head.status, head.headers["content-length"]) == (200, str(len(first.body)))
    assert asked(keeping) == 1

    catalogue.version = 2
    await keeping.bus.say(STOCK_CHANGED, {"product_id": CHAIR, "available": 1})
    assert (await keeping.ask("GET", PRODUCTS)).json["version"] == 1, "the chair is not in it"
    await keeping.bus.say(STOCK_CHANGED, {"product_id": LAMP, "available": 1})
    assert (await keeping.ask("GET", PRODUCTS)).json["version"] == 2


@pytest.mark.parametrize("change", ["product.changed.v1", "product.withdrawn.v1", "reconnected"])
async def test_an_edit_or_a_lost_connection_ends_every_answer(
    keeping: Front, catalogue: Catalogue, change: str
) -> None:
    await keeping.ask("GET", PRODUCTS)
    catalogue.version = 2
    if change == "reconnected":
        await keeping.bus.bind_again()
    else:
        await keeping.bus.say(change, {"product_id": CHAIR, "version": 2})
    assert (await keeping.ask("GET", PRODUCTS)).json["version"] == 2


async def test_a_member_of_staff_sees_the_change_at_once_and_so_does_everybody(
    keeping: Front, catalogue: Catalogue
) -> None:
    staff = keeping.keys.access_token(role="staff")
    await keeping.ask("GET", PRODUCTS)
    catalogue.version = 2
    assert (await keeping.ask("GET", PRODUCTS, token=staff)).json["version"] == 2
    assert (await keeping.ask("GET", PRODUCTS)).json["version"] == 1
    await keeping.ask("PATCH", f"{PRODUCTS}/{LAMP}", token=staff, body=b"{}")
    assert (await keeping.ask("GET", PRODUCTS)).json["version"] == 2


async def test_answers_on_one_connection_do_not_run_into_each_other(keeping: Front, catalogue: Catalogue) -> None:
    plain = f"{PRODUCTS} HTTP/1.1\r\nHost: localhost\r\n"
    known, fresh = 'If-None-Match: "1"\r\n', "Cache-Control: no-cache\r\n"
    sent = [f"HEAD {plain}", f"GET {plain}", f"HEAD {plain}{fresh}", f"GET {plain}{known}", f"GET {plain}"]
    sent += [f"HEAD {plain}{known}", f"GET /nowhere{plain.removeprefix(PRODUCTS)}", f"GET {plain}{fresh}{known}"]
    client = await keeping.connect()
    await client.send("".join(f"{request}\r\n" for request in sent * 3).encode())
    for request in sent * 3:
        reply = await client.read(head_only=request.startswith("HEAD"))
        assert reply is not None
        assert reply.status == (404 if "nowhere" in request else 304 if known in request else 200)
        if reply.status == 200 and request.startswith("GET"):
            assert reply.json["version"] == catalogue.version
        assert ("content-length" in reply.headers) == (reply.status != 304)
        assert (reply.headers["cache-control"] == "no-store") == (reply.status == 404)


async def test_what_one_reader_says_of_himself_reaches_no_other(keeping: Front, catalogue: Catalogue) -> None:
    """A service that looks at headers which are no part of the question: what others get must not depend on them."""

    async def swayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        unasked = ("accept", "if-match", "x-cart-token", "cookie")
        is_odd = any(seen.header(name) is not None for name in unasked)
        catalogue.names = CHAIR if is_odd else LAMP
        await catalogue(reader, writer, seen)

    keeping.services["catalog"].answer = swayed
    odd: dict[str, Any] = {
        "Accept": "text/html",
        "If_Match": '"7"',
        "X_Cart_Token": "mine",
        "Cookie": "cart_token=mine",
    }
    for wish in ("max-age=5", "no-cache"):
        await keeping.ask("GET", PRODUCTS, Cache_Control=wish, **odd)
        reply = await keeping.ask("GET", PRODUCTS)
        assert (reply.json["id"], reply.headers["cache-status"][:9]) == (LAMP, "haat; hit")


async def test_a_gateway_that_closes_waits_for_no_confirmation(front_factory: Any, shell: str) -> None:
    catalogue = Catalogue()
    catalogue.lifetime = "public, max-age=1, stale-while-revalidate=60"
    async with asyncio.timeout(10), front_factory(shell=shell) as front:
        front.services["catalog"].answer = catalogue
        await front.ask("GET", PRODUCTS)
        catalogue.held = asyncio.Event()
        while not catalogue.thinking:
            assert (await front.ask("GET", PRODUCTS)).status == 200
            await asyncio.sleep(0.05)


async def test_a_crowd_asks_once(keeping: Front, catalogue: Catalogue) -> None:
    catalogue.held = asyncio.Event()
    crowd = [asyncio.create_task(keeping.ask("GET", PRODUCTS)) for _ in range(50)]
    await eventually(lambda: catalogue.thinking == 1)
    catalogue.held.set()
    replies = await asyncio.gather(*crowd)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert asked(keeping) == 1
    metrics = keeping.gateway.metrics.exposition().decode()
    assert 'haat_gateway_cache_requests_total{result="miss",upstream="catalog"} 1.0' in metrics
    counted = [line for line in metrics.splitlines() if line.startswith("haat_gateway_cache_requests_total{")]
    assert sum(float(line.split()[1]) for line in counted) == 50
    assert "haat_gateway_cache_answers 1.0" in metrics


async def test_a_crowd_is_not_kept_waiting_by_the_one_who_asked_and_left(keeping: Front, catalogue: Catalogue) -> None:
    catalogue.held = asyncio.Event()
    client = await keeping.connect()
    await client.send(f"GET {PRODUCTS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await eventually(lambda: catalogue.thinking == 1)
    crowd = [asyncio.create_task(keeping.ask("GET", PRODUCTS)) for _ in range(5)]
    client.writer.close()
    await eventually(lambda: catalogue.thinking == 2)
    catalogue.held.set()
    assert {reply.status for reply in await asyncio.gather(*crowd)} == {200}


async def test_a_slow_answer_holds_up_nobody_for_long(keeping: Front, catalogue: Catalogue) -> None:
    catalogue.held = asyncio.Event()
    crowd = [asyncio.create_task(keeping.ask("GET", PRODUCTS)) for _ in range(5)]
    await eventually(lambda: catalogue.thinking == 5)
    catalogue.held.set()
    assert {reply.status for reply in await asyncio.gather(*crowd)} == {200}


async def test_a_reader_who_reads_slowly_keeps_nobody_waiting(keeping: Front, catalogue: Catalogue) -> None:
    catalogue.padding = 200_000
    slow = await keeping.connect()
    await slow.send(f"GET {PRODUCTS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 60)
    await eventually(lambda: asked(keeping) == 1)
    reply = await asyncio.wait_for(keeping.ask("GET", PRODUCTS), 5)
    assert len(reply.body) > 200_000
    assert asked(keeping) == 1


async def test_the_answer_of_before_a_change_is_not_kept_after_it(keeping: Front, catalogue: Catalogue) -> None:
    catalogue.held = asyncio.Event()
    early = asyncio.create_task(keeping.ask("GET", PRODUCTS))
    await eventually(lambda: catalogue.thinking == 1)
    catalogue.version = 2
    await keeping.bus.say(STOCK_CHANGED, {"product_id": LAMP, "available": 1})
    catalogue.held.set()
    assert (await early).json["version"] == 1, "it had been asked before"
    assert (await keeping.ask("GET", PRODUCTS)).json["version"] == 2


async def test_an_old_answer_is_given_at_once_and_confirmed_behind_the_readers_back(
    keeping: Front, catalogue: Catalogue
) -> None:
    catalogue.lifetime = "public, max-age=1, stale-while-revalidate=60"
    seen = keeping.services["catalog"].seen
    await keeping.ask("GET", PRODUCTS)
    await read_until(keeping, lambda reply: len(seen) == 2 or reply.json["version"] != 1)
    assert seen[1].header("if-none-match") == '"1"'
    catalogue.version = 2
    newer = await read_until(keeping, lambda reply: reply.json["version"] == 2)
    assert newer.headers["cache-status"].startswith("haat; hit; ttl="), "nobody waited for it"


async def test_while_catalog_is_down_its_last_answers_are_read(keeping: Front, catalogue: Catalogue) -> None:
    catalogue.lifetime = "public, max-age=1, stale-if-error=60"
    await keeping.ask("GET", PRODUCTS)
    keeping.services["catalog"].answer = hang_up
    late = await read_until(keeping, lambda reply: reply.headers["cache-status"].endswith("detail=stale-if-error"))
    assert (late.status, late.json["version"]) == (200, 1)
    refused = await keeping.ask("GET", PRODUCTS + "?another=question")
    assert refused.code in ("upstream_failed", "upstream_unavailable")
    for _ in range(5):
        assert (await keeping.ask("GET", PRODUCTS)).status == 200, "also once the service is not asked any more"


async def test_an_answer_that_breaks_off_is_not_kept(keeping: Front, catalogue: Catalogue) -> None:
    async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
        head = b"HTTP/1.1 200 OK\r\ncache-control: public, max-age=30\r\ncontent-length: 100\r\n\r\n{"
        writer.write(head)
        await writer.drain()
        writer.close()

    keeping.services["catalog"].answer = half
    reply = await keeping.ask("GET", PRODUCTS)
    assert (reply.status, reply.code) == (502, "upstream_failed"), "nothing of it had been sent yet"
    keeping.services["catalog"].answer = catalogue
    assert (await keeping.ask("GET", PRODUCTS)).status == 200


async def test_a_listed_origin_reads_what_another_one_asked_for(front_factory: Any, shell: str) -> None:
    async with front_factory(shell=shell, cors_origins="https://a.example,https://b.example") as front:
        front.services["catalog"].answer = Catalogue()
        for origin in ("https://a.example", "https://b.example"):
            reply = await front.ask("GET", PRODUCTS, Origin=origin)
            assert (reply.headers["access-control-allow-origin"], reply.headers["vary"]) == (origin, "Origin")
        assert "access-control-allow-origin" not in (await front.ask("GET", PRODUCTS)).headers
        assert asked(front) == 1
