"""Services that are down, slow, or break off: one problem, one retry where it is harmless, and no pile-up."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.guards import Guard
from gateway.policy import Policy
from gateway.routes import ROUTES, RouteTable
from gateway.steps import Failure, Forward, Head, Refuse, Retry
from gateway.testing import Front, Seen, answer_ok, eventually

HOST = [(b"Host", b"localhost")]


def catalogue_within(timeout: float, deadline: float) -> RouteTable:
    """The routes, those of the catalogue with these limits and for everybody."""
    return RouteTable(
        dataclasses.replace(route, timeout=timeout, deadline=deadline, anonymous=True)
        if route.service == "catalog"
        else route
        for route in ROUTES
    )


@pytest.fixture
async def strained(front_factory: Any) -> AsyncIterator[Front]:
    """A gateway whose catalogue route waits 0.3 s, with small guards and no cache, and cart down."""
    table = catalogue_within(0.3, 1.5)
    async with front_factory(
        routes=table, down=("cart",), max_in_flight=2, breaker_failures=3, breaker_pause=1, cache_size=0
    ) as front:
        yield front


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
    writer.close()


async def test_a_dead_service_is_503_and_the_others_go_on(strained: Front) -> None:
    for _ in range(5):
        reply = await strained.ask("GET", "/api/v1/cart")
        assert (reply.status, reply.code, reply.json["upstream"]) == (503, "upstream_unavailable", "cart")
        assert int(reply.headers["retry-after"]) >= 1
    ready = await strained.ask("GET", "/readyz")
    assert ready.json["ready"] is True
    assert ready.json["services"]["cart"] == "failing"
    assert (await strained.ask("GET", "/api/v1/products")).status == 200


async def test_a_read_is_repeated_once_when_the_connection_breaks(strained: Front) -> None:
    catalog = strained.services["catalog"]
    calls = 0

    async def once_broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            writer.close()
            return
        catalog.forget()
        await catalog.answer(reader, writer, seen)

    # The first request opens a fresh connection; on a kept one the client library itself would repeat.
    catalog.answer = once_broken
    reply = await strained.ask("GET", "/api/v1/products")
    assert reply.status == 200
    assert calls == 2


async def test_a_write_is_never_repeated(strained: Front) -> None:
    catalog = strained.services["catalog"]
    catalog.answer = hang_up
    token = strained.keys.access_token(role="staff")
    reply = await strained.ask("POST", "/api/v1/products", token=token, body=b"{}")
    assert (reply.status, reply.code) == (502, "upstream_failed")
    assert len(catalog.seen) == 1


async def test_no_answer_in_time_is_504_and_not_repeated(strained: Front) -> None:
    catalog = strained.services["catalog"]

    async def sleep(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _seen: Seen) -> None:
        await reader.read()

    catalog.answer = sleep
    reply = await strained.ask("GET", "/api/v1/products")
    assert (reply.status, reply.code) == (504, "upstream_timeout")
    assert len(catalog.seen) == 1


class Half:
    """Announces an answer and sends the beginning of it; then it hangs up, or does nothing more."""

    def __init__(self, length: int, *, hangs_up: bool) -> None:
        self._length, self._hangs_up = length, hangs_up

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nhalf" % self._length)
        await writer.drain()
        if not self._hangs_up:
            await reader.read()
        writer.close()


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(strained: Front) -> None:
    catalog = strained.services["catalog"]
    catalog.answer = Half(100, hangs_up=True)
    reply = await strained.ask("GET", "/api/v1/products")
    assert (reply.status, reply.code) == (502, "upstream_failed"), "nothing of it had been sent yet"
    catalog.answer = Half(300_000, hangs_up=True)
    with pytest.raises(asyncio.IncompleteReadError):
        await strained.ask("GET", "/api/v1/products")


async def test_an_answer_that_stalls_ends_at_the_deadline(strained: Front) -> None:
    catalog = strained.services["catalog"]
    async with asyncio.timeout(8):
        catalog.answer = Half(100, hangs_up=False)
        reply = await strained.ask("GET", "/api/v1/products")
        assert (reply.status, reply.code) == (504, "upstream_timeout")
        catalog.answer = Half(300_000, hangs_up=False)
        with pytest.raises(asyncio.IncompleteReadError):
            await strained.ask("GET", "/api/v1/products")


async def test_slow_clients_do_not_make_a_service_look_as_if_it_failed(front_factory: Any) -> None:
    """What a client takes for its body is not taken from the time that the service has."""

    async def think(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await asyncio.sleep(0.5)
        await answer_ok(reader, writer, seen)

    async def post_slowly(front: Front) -> int:
        client = await front.connect()
        await client.send(b"POST /api/v1/products HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
        await asyncio.sleep(2.8)
        await client.send(b"}")
        reply = await client.read()
        assert reply is not None
        return reply.status

    async with front_factory(routes=catalogue_within(1.0, 3.0), breaker_failures=3) as front:
        front.services["catalog"].answer = think
        statuses = set(await asyncio.gather(*(post_slowly(front) for _ in range(3))))
        # 200 where the machine was so slow that to the gateway the client was not.
        assert statuses <= {408, 200}
        assert not front.gateway.guards["catalog"].is_failing()


async def test_more_than_a_service_takes_is_refused_at_once(strained: Front) -> None:
    catalog = strained.services["catalog"]
    go, waiting = asyncio.Event(), 0

    async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
        nonlocal waiting
        waiting += 1
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    catalog.answer = wait
    slow = [asyncio.create_task(strained.ask("GET", "/api/v1/products")) for _ in range(2)]
    await eventually(lambda: waiting == 2, within=0.25)
    third = await strained.ask("GET", "/api/v1/products")
    go.set()
    assert (third.status, third.code) == (503, "overloaded")
    assert [reply.status for reply in await asyncio.gather(*slow)] == [200, 200]


async def test_the_breaker_opens_and_closes_again(strained: Front) -> None:
    catalog = strained.services["catalog"]
    catalog.answer = hang_up
    token = strained.keys.access_token(role="staff")
    codes = [(await strained.ask("POST", "/api/v1/products", token=token, body=b"{}")).code for _ in range(4)]
    assert codes == ["upstream_failed"] * 3 + ["upstream_unavailable"]
    assert len(catalog.seen) == 3, "an open breaker asks nobody"
    catalog.forget()
    await eventually(lambda: not strained.gateway.guards["catalog"].is_open(time.monotonic()))
    assert (await strained.ask("GET", "/api/v1/products")).status == 200
    assert not strained.gateway.guards["catalog"].is_failing()


async def test_redirects_are_answers_and_name_no_inner_host(strained: Front) -> None:
    async def redirect(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
        writer.write(
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://catalog:8102/api/v1/products/x\r\n"
            b"set-cookie: a=1\r\ncontent-length: 0\r\nx-powered-by: us\r\n\r\n"
        )

    strained.services["catalog"].answer = redirect
    reply = await strained.ask("GET", "/api/v1/products")
    assert (reply.status, reply.headers["location"]) == (307, "/api/v1/products/x")
    assert not {"set-cookie", "x-powered-by"} & set(reply.headers)


def test_a_retry_needs_budget_and_a_safe_method(policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(guard=Guard(failures_to_open=1000))
    outcomes = []
    for _ in range(30):
        step = policy.on_request(Head("GET", b"/api/v1/products", HOST, peer="127.0.0.1"), now=1.0)
        assert isinstance(step, Forward)
        assert policy.on_send(step.plan, 1.0) is None
        outcomes.append(policy.on_failure(step.plan, Failure.BROKEN, 1.0))
        policy.on_done(step.plan)
        assert isinstance(policy.on_failure(step.plan, Failure.BROKEN, 1.0), Refuse), "once is enough"
    retries = [step for step in outcomes if isinstance(step, Retry)]
    assert len(retries) in range(10, 14), "ten in store, and a tenth of the requests"


def test_an_open_breaker_lets_one_through_after_its_pause() -> None:
    guard = Guard(failures_to_open=1, pause=2.0)
    guard.failed(0.0)
    assert guard.is_open(1.9)
    assert not guard.is_open(2.0)
    guard.enter(2.0)
    assert guard.is_open(2.1), "while one tries, the others wait"
    guard.succeeded()
    assert not guard.is_open(2.2)
