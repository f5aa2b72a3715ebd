"""POST over kept connections, for webhooks: without a client library the start is fast."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult, urlsplit

SECONDS_TO_ANSWER = 5.0
KEPT_SECONDS = 4.0
"""Fewer than a server keeps an idle connection, so that none is used while it is being closed."""
MOST_BODY_BYTES = 65536

_trust = cache(ssl.create_default_context)
"""Reading the certificates of this machine takes longer than many webhooks."""


@dataclass(slots=True, eq=False)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    place: str
    expiry: asyncio.TimerHandle | None = None


class NothingCame(EOFError):
    """The connection ended before the first byte of an answer."""


class Posting:
    def __init__(self) -> None:
        self._idle: dict[str, list[Connection]] = {}

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], seconds: float = SECONDS_TO_ANSWER
    ) -> tuple[int | None, str | None]:
        """The status of the answer, or why there was none. Redirects are not followed: they count as failures."""
        try:
            async with asyncio.timeout(seconds):
                return await self._post(urlsplit(url), body=body, headers=headers), None
        except TimeoutError:
            return None, f"no answer within {seconds:g} seconds"
        except (OSError, ValueError, EOFError) as error:
            return None, f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Let go of the connections that wait for their next webhook."""
        for connections in list(self._idle.values()):
            for connection in list(connections):
                self._drop(connection)

    async def _post(self, address: SplitResult, *, body: bytes, headers: Mapping[str, str]) -> int:
        request = _request(address, body=body, headers=headers)
        place = f"{address.scheme}://{address.netloc}"
        while (kept := self._take(place)) is not None:
            try:
                return await self._exchange(kept, request)
            except (NothingCame, ConnectionError):
                # It was closed while it was idle, which says nothing about whether the shop listens.
                continue
        return await self._exchange(await _connect(address, place), request)

    async def _exchange(self, connection: Connection, request: bytes) -> int:
        is_reusable = False
        try:
            connection.writer.write(request)
            line = await connection.reader.readline()
            if not line:
                raise NothingCame("the connection ended without an answer")
            version, _, rest = line.partition(b" ")
            status = rest.split(b" ", 1)[0].strip()
            if not version.startswith(b"HTTP/1.") or not status.isdigit():
                raise ValueError("the answer was not HTTP")
            is_reusable = await _read_to_end(connection.reader, is_kept=version == b"HTTP/1.1")
            return int(status)
        finally:
            if is_reusable:
                self._keep(connection)
            else:
                connection.writer.close()

    def _keep(self, connection: Connection) -> None:
        self._idle.setdefault(connection.place, []).append(connection)
        connection.expiry = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._drop, connection)

    def _take(self, place: str) -> Connection | None:
        while connections := self._idle.get(place):
            connection = connections[-1]
            if not connection.reader.at_eof():
                self._forget(connection)
                return connection
            self._drop(connection)
        return None

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.writer.close()

    def _forget(self, connection: Connection) -> None:
        self._idle[connection.place].remove(connection)
        if connection.expiry is not None:
            connection.expiry.cancel()


async def _connect(address: SplitResult, place: str) -> Connection:
    secure = address.scheme == "https"
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port or (443 if secure else 80), ssl=_trust() if secure else None
    )
    return Connection(reader, writer, place)


def _request(address: SplitResult, *, body: bytes, headers: Mapping[str, str]) -> bytes:
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {address.netloc.rpartition('@')[2]}",
        "User-Agent: Razorpay-Webhook/v1",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def _read_to_end(reader: asyncio.StreamReader, *, is_kept: bool) -> bool:
    """Read what follows the status, which counts whatever comes; whether the connection can carry another request."""
    length = None
    try:
        while line := (await reader.readline()).strip():
            name, _, value = line.lower().partition(b":")
            match name, value.strip():
                case b"content-length", text if text.isdigit():
                    length = int(text)
                case (b"transfer-encoding", _) | (b"connection", b"close"):
                    is_kept = False
        if not is_kept or length is None or length > MOST_BODY_BYTES:
            await reader.read(MOST_BODY_BYTES)
            return False
        await reader.readexactly(length)
    except (OSError, ValueError, EOFError):
        return False
    return True
