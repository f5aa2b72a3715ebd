"""The time a webhook has to answer, addresses that do not speak HTTP, and connections that are used again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from razorpay_simulator import posting
from razorpay_simulator.posting import Posting

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
FAREWELL = OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")


class Shop:
    """Listens on a port, and gives each webhook the next of its answers; b"" closes the connection instead."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.connections: list[asyncio.StreamWriter] = []
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n{}")
            answer = self.answers.pop(0)
            writer.write(answer)
            if not answer:
                break
        writer.close()


@asynccontextmanager
async def listening(*answers: bytes) -> AsyncIterator[tuple[Shop, Posting]]:
    shop, sender = Shop(list(answers)), Posting()
    async with await asyncio.start_server(shop.talk, "127.0.0.1", 0) as server:
        shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield shop, sender
        sender.close()
        for writer in shop.connections:
            writer.close()


async def told(shop: Shop, sender: Posting) -> tuple[int | None, str | None]:
    return await sender.post(shop.url, body=b"{}", headers={})


@pytest.mark.parametrize(
    ("said", "error"),
    [(None, "no answer within 0.2 seconds"), (b"hello\r\n", "ValueError: the answer was not HTTP"), (b"", "Error: ")],
)
async def test_what_is_no_answer_is_told_apart(said: bytes | None, error: str) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if said is None:
            await asyncio.sleep(1)
        else:
            writer.write(said)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        status, reason = await Posting().post(f"http://127.0.0.1:{port}/", body=b"{}", headers={}, seconds=0.2)
    assert status is None
    assert reason is not None
    assert error in reason


async def test_one_connection_carries_one_webhook_after_the_other() -> None:
    async with listening(OK, OK.replace(b"200", b"503"), OK) as (shop, sender):
        assert [(await told(shop, sender))[0] for _ in range(3)] == [200, 503, 200]
        assert len(shop.connections) == 1


@pytest.mark.parametrize(
    "last",
    [FAREWELL, OK.replace(b"1.1", b"1.0"), OK.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")],
)
async def test_a_connection_is_not_used_again_after_its_last_answer(last: bytes) -> None:
    # Whoever closes after such an answer is told apart from nobody who does not: the connection stays open here.
    async with listening(last + b" " * posting.MOST_BODY_BYTES, OK) as (shop, sender):
        assert [await told(shop, sender) for _ in range(2)] == [(200, None), (200, None)]
        assert len(shop.connections) == 2


async def test_a_shop_that_closed_an_idle_connection_is_told_over_a_new_one() -> None:
    async with listening(OK, b"", OK) as (shop, sender):
        assert [await told(shop, sender) for _ in range(2)] == [(200, None), (200, None)]
        assert len(shop.connections) == 2


async def test_a_shop_that_closes_new_connections_too_is_not_asked_for_ever() -> None:
    async with listening(OK, b"", b"") as (shop, sender):
        assert (await told(shop, sender))[0] == 200
        status, reason = await told(shop, sender)
        assert status is None
        assert reason is not None
        assert len(shop.connections) == 2


async def test_simultaneous_webhooks_have_a_connection_each() -> None:
    async with listening(OK, OK, OK) as (shop, sender):
        assert await asyncio.gather(*(told(shop, sender) for _ in range(3))) == [(200, None)] * 3
        assert len(shop.connections) == 3


def test_a_webhook_has_five_seconds() -> None:
    assert posting.SECONDS_TO_ANSWER == 5
