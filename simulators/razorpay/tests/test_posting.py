"""The time a webhook has to answer, and addresses that do not speak HTTP."""

import asyncio

import pytest

from razorpay_simulator import posting


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
        status, told = await posting.post(f"http://127.0.0.1:{port}/", body=b"{}", headers={}, seconds=0.2)
    assert status is None
    assert told is not None
    assert error in told


def test_a_webhook_has_five_seconds() -> None:
    assert posting.SECONDS_TO_ANSWER == 5
