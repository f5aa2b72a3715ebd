"""Calls between services: one port ("send this request to service X") and the client that services use.

`HttpUpstream` speaks HTTP to another process, `AsgiUpstream` calls an application in the same one. Both stream
bodies both ways and fail with the same exceptions, so nobody who calls can tell them apart.
"""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import aiohttp
import msgspec
from starlette.types import ASGIApp, Message
from yarl import URL

from chassis import tracing
from chassis.auth import ServiceIdentity
from chassis.crash_points import crash_point
from chassis.problems import Unavailable
from chassis.telemetry import correlation_id, get_logger, request_id, traceparent

CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 3.0
KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: fewer than the listeners' 15 and than the grace of a process that ends (5), so
that none is used while it is being closed."""
RENEW_EVERY = 500
"""Requests after which one ends its connection. Where one name stands for several processes, a connection stays with
the process it was given, so one that joined later would never be asked."""

FAREWELL = (b"connection", b"close")
"""The header of an answer after which a connection ends: so a process that is about to end says farewell."""

Headers = list[tuple[bytes, bytes]]


class UpstreamFailure(Exception):
    """No answer. Raised before a response exists."""


class UpstreamUnreachable(UpstreamFailure):
    """Nothing was sent: the other side cannot be connected to."""


class UpstreamTimedOut(UpstreamFailure):
    """The answer did not come in time; the other side may have acted."""


class UpstreamBroken(UpstreamFailure):
    """The connection ended before an answer; the other side may have acted."""


@dataclass(slots=True)
class UpstreamRequest:
    """A request as bytes; `target` is the raw path with its query."""

    method: str
    target: bytes
    headers: Headers = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""
    timeout: float = READ_TIMEOUT
    """Seconds until the answer's head."""


@dataclass(slots=True)
class UpstreamResponse:
    """An answer whose body is still arriving. Always `await aclose()`."""

    status: int
    headers: Headers
    body: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]

    async def read(self) -> bytes:
        """The whole body."""
        try:
            return b"".join([chunk async for chunk in self.body])
        finally:
            await self.aclose()


class Upstream(Protocol):
    """Sends requests to one service."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """The answer's head. Raises UpstreamFailure."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


Upstreams = Mapping[str, Upstream]


class HttpUpstream:
    """A service in another process, over pooled HTTP/1.1 connections."""

    def __init__(self, base_url: str, *, limit: int = 100) -> None:
        self._base_url = base_url.rstrip("/")
        self._limit = limit
        self._sent = 0
        self._session: aiohttp.ClientSession | None = None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=KEEP_ALIVE),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Forward the bytes of the target as they are; redirects are answers, not instructions."""
        url = URL(self._base_url + request.target.decode("latin-1"), encoded=True)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        self._sent += 1
        if self._sent % RENEW_EVERY == 0:
            headers.append(("connection", "close"))
        try:
            async with asyncio.timeout(request.timeout):
                response = await self._connected().request(
                    request.method, url, headers=headers, data=request.body or None, allow_redirects=False
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UpstreamUnreachable(str(error)) from error
        except TimeoutError as error:
            raise UpstreamTimedOut(f"no answer within {request.timeout} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamBroken(str(error)) from error

        async def close() -> None:
            response.close()

        return UpstreamResponse(
            status=response.status,
            headers=[(name.lower(), value) for name, value in response.raw_headers],
            body=_chunks(response),
            aclose=close,
        )

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
        response.release()
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamBroken(str(error)) from error


class AsgiUpstream:
    """A service in this process. Each call runs in a fresh context, as if it came over the wire."""

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self._app = app
        self._host = host.encode()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Call the application; the body streams through a queue of a few chunks."""
        call = _AsgiCall(self._app, self._scope(request), request.body)
        try:
            async with asyncio.timeout(request.timeout):
                await call.answered.wait()
        except TimeoutError as error:
            await call.leave()
            raise UpstreamTimedOut(f"no answer within {request.timeout} s") from error
        except BaseException:
            await call.leave()
            raise
        if call.status is None or call.is_broken:
            await call.leave()
            raise UpstreamBroken("the application ended without an answer, or the body of the request broke off")
        return UpstreamResponse(call.status, call.headers, call.chunks(), call.leave)

    def _scope(self, request: UpstreamRequest) -> dict[str, Any]:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", self._host), *request.headers],
            "client": ("127.0.0.1", 0),
            "server": (self._host.decode(), None),
            "state": {},
        }

    async def close(self) -> None:
        """Nothing is held."""


class _AsgiCall:
    """One call under way: a task running the application, and the queue through which its answer comes."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], body: bytes | AsyncIterator[bytes]) -> None:
        self.status: int | None = None
        self.headers: Headers = []
        self.answered = asyncio.Event()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)
        self._body = body
        self._sent = False
        self.is_broken = False
        self._gone = asyncio.Event()
        self._whole = False
        # A fresh context: ids and principals of the caller must reach the callee through headers only.
        self._task = asyncio.create_task(self._run(app, scope), context=contextvars.Context())

    async def _run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - it must not end the caller's process; a broken answer tells enough
            get_logger().warning("application failed", error=repr(error))
        finally:
            self.answered.set()
            await self._put(None)

    async def _receive(self) -> Message:
        if not self._sent and not self._gone.is_set():
            if isinstance(self._body, bytes):
                self._sent = True
                return {"type": "http.request", "body": self._body, "more_body": False}
            try:
                async for chunk in self._body:
                    return {"type": "http.request", "body": chunk, "more_body": True}
            except Exception:  # noqa: BLE001 - whoever sends the body is gone: over the wire the connection would end
                self.is_broken = True
                return {"type": "http.disconnect"}
            self._sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.lower(), value) for name, value in message.get("headers", ())]
        elif message["type"] == "http.response.body":
            self.answered.set()
            if message.get("body"):
                await self._put(message["body"])
            self._whole = not message.get("more_body")

    async def _put(self, chunk: bytes | None) -> None:
        """Wait for a place among the chunks, unless nobody reads them any more."""
        if not self._gone.is_set():
            await self._chunks.put(chunk)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        if not self._whole:
            raise UpstreamBroken("the application ended in the middle of its answer")

    async def leave(self) -> None:
        """The caller has read everything, or is gone: then the application is stopped and its work rolled back."""
        self._gone.set()
        while not self._chunks.empty():
            self._chunks.get_nowait()
        if not self._whole and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)


class UpstreamUnavailable(Unavailable):
    """Another part of the shop does not answer. Nothing is lost: repeat after `Retry-After` seconds."""

    code = "upstream_unavailable"
    title = "A part of the shop does not answer"

    def __init__(self, target: str) -> None:
        super().__init__(f"The {target} service does not answer; repeat in a moment.", retry_after=2, upstream=target)


@dataclass(frozen=True, slots=True)
class Reply:
    """Another service's answer, decoded."""

    status: int
    data: Any

    @property
    def is_ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300


class Breaker:
    """Stops calling a service that does not answer, and tries one call after a pause."""

    def __init__(self, *, failures: int = 5, pause: float = 2.0) -> None:
        self._limit = failures
        self._pause = pause
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are refused right now; passing the pause lets one through and holds back the rest."""
        now = time.monotonic()
        if self._failures < self._limit:
            return False
        if now >= self._open_until:
            self._open_until = now + self._pause
            return False
        return True

    def succeeded(self) -> None:
        """The service answered."""
        self._failures = 0

    def failed(self) -> None:
        """The service did not answer."""
        self._failures += 1
        if self._failures == self._limit:
            self._open_until = time.monotonic() + self._pause


class InternalClient:
    """Calls one other service in this one's name."""

    def __init__(self, upstream: Upstream, *, target: str, identity: ServiceIdentity) -> None:
        self._upstream = upstream
        self._target = target
        self._identity = identity
        self._breaker = Breaker()

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        idempotent: bool = True,
        timeout: float = READ_TIMEOUT,
    ) -> Reply:
        """The answer, whatever its status below 500. One retry when repeating is harmless.

        Raises UpstreamUnavailable when there is no answer, or a 5xx twice.
        """
        with tracing.start(f"{method} {self._target}", "client", server__address=self._target) as span:
            reply = await self._reply(method, path, json=json, idempotent=idempotent, timeout=timeout)
            span.note(http__request__method=method, http__response__status_code=reply.status)
        return reply

    async def _reply(self, method: str, path: str, *, json: Any, idempotent: bool, timeout: float) -> Reply:
        for attempt in (1, 2):
            if self._breaker.is_open:
                break
            try:
                crash_point("call.before")
                response = await self._upstream.send(self._request(method, path, json, timeout))
                async with asyncio.timeout(timeout):
                    body = await response.read()
                crash_point("call.after")
                data = msgspec.json.decode(body) if body else None
            except (UpstreamFailure, TimeoutError, msgspec.DecodeError) as error:
                self._breaker.failed()
                if attempt == 2 or not (idempotent or isinstance(error, UpstreamUnreachable)):
                    break
                continue
            self._breaker.succeeded()
            if response.status < 500:
                return Reply(response.status, data)
            if not idempotent:
                break
        raise UpstreamUnavailable(self._target)

    def _request(self, method: str, path: str, json: Any, timeout: float) -> UpstreamRequest:
        headers = [
            (b"authorization", f"Bearer {self._identity.token_for(self._target)}".encode()),
            (b"x-request-id", request_id.get().encode()),
            (b"x-correlation-id", correlation_id.get().encode()),
        ]
        if traceparent.get():
            headers.append((b"traceparent", traceparent.get().encode()))
        body = b""
        if json is not None:
            body = msgspec.json.encode(json)
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        return UpstreamRequest(method, path.encode(), headers, body, timeout)
