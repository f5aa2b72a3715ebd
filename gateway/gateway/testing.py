"""The gateway's test kit: services that write down what they read from the wire, and a client that sends raw bytes."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from chassis.events import Envelope
from chassis.ids import new_id
from chassis.testing import FakeUpstream, IdleBus, Keys
from gateway.app import Gateway

SERVICES = ("accounts", "catalog", "cart", "orders", "payments")
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Seen"], Awaitable[None]]


@dataclasses.dataclass
class Seen:
    """A request as a service read it from the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Its only value."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} arrived {len(values)} times"
        return values[0] if values else None


async def answer_ok(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _seen: Seen) -> None:
    """A plain good answer."""
    body = b'{"ok":true}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: secret/1\r\nx-internal-node: 7\r\n"
    writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def eventually(condition: Callable[[], bool], *, within: float = 5.0) -> None:
    """Return once it holds. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


class RecordingService:
    """A service on a socket that parses strictly, keeps what it got, and answers as told."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answer: Answer = answer_ok
        self.url = ""
        self.connections = 0
        self.disconnects = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def forget(self) -> None:
        """Nothing seen, and good answers again."""
        self.seen.clear()
        self.answer = answer_ok

    async def stop(self) -> None:
        """Hang up."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                seen = await self._read(reader)
                if seen is None:
                    break
                self.seen.append(seen)
                await self.answer(reader, writer, seen)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.disconnects += 1
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        with suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].decode("latin-1").split("\r\n")
            method, target, version = line.split(" ")
            assert version == "HTTP/1.1"
            headers = [(name.lower(), value.strip()) for name, value in (row.split(":", 1) for row in lines)]
            seen = Seen(method, target, headers)
            if seen.header("transfer-encoding"):
                assert seen.header("content-length") is None
                seen.body = await self._chunks(reader)
            elif length := seen.header("content-length"):
                seen.body = await reader.readexactly(int(length))
            return seen
        return None

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            assert await reader.readline() == b"\r\n"
        assert await reader.readline() == b"\r\n"
        return body


class LocalBus(IdleBus):
    """A bus whose listeners hear what a test says."""

    def __init__(self) -> None:
        self._listeners: list[tuple[frozenset[str], Callable[[bytes, int], Awaitable[None]]]] = []
        self._on_bound: list[Callable[[], Awaitable[None]]] = []

    async def listen(self, name: str, types: Iterable[str], handler: Any, *, on_bound: Any) -> Any:  # noqa: ARG002 - the port's signature
        """Bound at once."""
        self._listeners.append((frozenset(types), handler))
        self._on_bound.append(on_bound)
        await on_bound()
        return self

    async def bind_again(self) -> None:
        """The connection was lost and is back."""
        for bound in self._on_bound:
            await bound()

    async def say(self, type_: str, data: dict[str, Any]) -> None:
        """Something happened in a service."""
        event = Envelope(
            id=new_id(),
            source="/services/somebody",
            type=type_,
            subject=str(new_id()),
            time=datetime.now(UTC),
            sequence=2,
            data=data,
            correlationid=str(new_id()),
        )
        for types, handler in self._listeners:
            if type_ in types:
                await handler(event.encode(), 1)

    async def say_revoked(self, session_id: UUID, *, expires_at: int) -> None:
        """A session was ended in accounts."""
        told = {"session_id": str(session_id), "user_id": str(session_id), "expires_at": expires_at}
        await self.say("session.revoked.v1", told)


@dataclasses.dataclass
class Reply:
    """An answer as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Which problem it is."""
        problem = self.headers.get("content-type") == "application/problem+json"
        return self.json["code"] if problem else None


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Bytes, as they are. A door that closed meanwhile is for `read` to find."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def read(self, *, head_only: bool = False) -> Reply | None:
        """One answer; None when the connection ended instead."""
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for row in lines:
            name, _, value = row.partition(": ")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = int(line.split(" ")[1])
        body = b"" if head_only or status in (204, 304) else await self._body(headers)
        return Reply(status, headers, body)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    async def is_closed(self, within: float) -> bool:
        """Whether the other side hangs up in that time."""
        try:
            return await asyncio.wait_for(self.reader.read(), within) is not None
        except TimeoutError:
            return False
        except ConnectionError:
            return True


class Front:
    """A gateway that runs, and what stands behind it."""

    def __init__(self, gateway: Gateway, keys: Keys, bus: LocalBus, port: int) -> None:
        self.gateway = gateway
        self.keys = keys
        self.bus = bus
        self.port = port
        self.services: dict[str, RecordingService] = {}
        self.accounts: FakeUpstream | None = None
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        """A raw connection."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def raw(self, data: bytes, *, head_only: bool = False) -> Reply | None:
        """Send bytes on a connection of their own and read one answer."""
        client = await self.connect()
        await client.send(data)
        return await client.read(head_only=head_only)

    async def ask(self, method: str, target: str, *, token: str = "", body: bytes = b"", **headers: str) -> Reply:
        """An ordinary request."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        reply = await self.raw("\r\n".join([*lines, "", ""]).encode() + body, head_only=method == "HEAD")
        assert reply is not None
        return reply

    async def close(self) -> None:
        """Close what tests opened."""
        for client in self._clients:
            client.writer.close()
