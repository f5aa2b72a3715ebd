"""HTTP as the rest of the simulator sees it: a request read whole, and an answer, well-behaved or not."""

import socket
import struct
from asyncio import Transport, sleep
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct, field

from razorpay_simulator.errors import ProviderRefusal

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Ending = Literal["complete", "reset", "truncate", "trickle"]
MOST_BODY_BYTES = 1_000_000


class Request(Struct, kw_only=True):
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    params: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The body as an object; an absent body is an empty one."""
        if not self.body.strip():
            return {}
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProviderRefusal("The request body is not valid JSON.") from None
        if not isinstance(value, dict):
            raise ProviderRefusal("The request body must be a JSON object.")
        return value

    def form(self) -> dict[str, str]:
        text = self.body.decode("utf-8", "replace")
        try:
            fields = parse_qs(text, max_num_fields=50)
        except ValueError:
            raise ProviderRefusal("The form has too many fields.") from None
        return {name: values[-1] for name, values in fields.items()}


class Answer(Struct, kw_only=True):
    status: int = 200
    body: bytes = b""
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    ending: Ending = "complete"
    seconds: float = 0.0


def json_answer(value: Any, *, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(value))


def refusal_answer(refusal: ProviderRefusal) -> Answer:
    return json_answer(refusal.body(), status=refusal.status)


async def read(scope: Scope, receive: Receive) -> Request:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ProviderRefusal("The caller went away before the request was complete.")
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise ProviderRefusal("The request body is too large.", status=413)
        if not message.get("more_body"):
            break
    try:
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=50)
    except ValueError:
        raise ProviderRefusal("The query string has too many fields.") from None
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=query,
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def write(answer: Answer, *, scope: Scope, send: Send) -> None:
    transport: Transport | None = scope.get("simulator.transport")
    if answer.ending == "reset" and transport is not None:
        _reset(transport)
        return
    headers = {"content-type": answer.media_type, "content-length": str(len(answer.body)), **answer.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if answer.ending == "trickle":
        await _trickle(answer, send)
    elif answer.ending == "truncate" and transport is not None:
        await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
        transport.close()
        await sleep(0.01)
    else:
        await send({"type": "http.response.body", "body": answer.body})


async def _trickle(answer: Answer, send: Send) -> None:
    pieces = [answer.body[start : start + 16] for start in range(0, len(answer.body), 16)]
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await sleep(answer.seconds / len(pieces))
    await send({"type": "http.response.body", "body": b""})


def _reset(transport: Transport) -> None:
    """A closed connection would be polite. Lingering for no time makes the kernel send a reset."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
