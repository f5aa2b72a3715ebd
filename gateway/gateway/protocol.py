"""uvicorn's httptools protocol with what it leaves open: time-outs, bounded heads, and refusals a client can read.

Every request that fast_shell.py does not answer is handed to the ASGI shell. What is refused here never becomes a
request at all.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import ClassVar, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from chassis.problems import MEDIA_TYPE, Problem
from gateway.errors import FramingRefused, HeadTooLarge, PathRefused, RequestMalformed, RequestTooSlow, TargetTooLong
from gateway.headers import MAX_HEADER_BYTES, MAX_HEADERS, NOTHING_RUNS, SECURITY, Headers
from gateway.paths import MAX_TARGET

OVERHEAD = 64 * 1024
"""Bytes of chunk lines and trailers that a body may have beyond eight times its own."""
LINGER_TIMEOUT = 1.0
LINGER_BYTES = 1024 * 1024
"""How long and how much is still read after an early answer: closing at once would destroy it on its way."""


class Outgoing:
    """The transport as a response sees it: its head leaves with what follows at once, and closing is polite."""

    def __init__(self, protocol: "GatewayProtocol", *, has_body: bool) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._head: bytes | None = None
        # Only what is followed by a body, be it an empty one, may wait: nobody overtakes it then.
        self.write: Callable[[bytes], None] = self._hold if has_body else self._transport.write
        self.is_closing = protocol.transport.is_closing

    def _hold(self, head: bytes) -> None:
        self._head = head
        self.write = self._write_both
        self._protocol.loop.call_soon(self.flush)

    def _write_both(self, body: bytes) -> None:
        self.write = self._transport.write
        if self._head is not None:
            self._transport.writelines([self._head, body])
            self._head = None

    def flush(self) -> None:
        """What follows takes longer, or there is nothing more. A client who left meanwhile gets nothing."""
        if self._head is not None and not self.is_closing():
            self._write_both(b"")

    def close(self) -> None:
        """End the connection, politely when the client is still sending."""
        self.flush()
        self._protocol.finish()


class GatewayProtocol(HttpToolsProtocol):
    """One connection of a client."""

    head_timeout: ClassVar[float] = 10.0
    write_timeout: ClassVar[float] = 30.0

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _refusal: Problem | None = None
    _head_size = 0
    _header_count = 0
    _received = 0
    _body_size = 0
    _lingered = 0

    @classmethod
    def with_timeouts(cls, *, head: float, write: float) -> type["GatewayProtocol"]:
        """The protocol with these time-outs, for uvicorn's `http` setting."""
        return type("GatewayProtocol", (cls,), {"head_timeout": head, "write_timeout": write})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """A client has connected, and must now say something."""
        super().connection_made(transport)
        self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing may fire any more."""
        for timer in (self._head_timer, self._write_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = self._linger_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and answer what is no request with a problem."""
        if self._linger_timer is not None:
            self._discard(data)
            return
        self._unset_keepalive_if_required()
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is ever upgraded; what follows the request is not HTTP to us.
            self.flow.pause_reading()
        except httptools.HttpParserError:
            self._refuse(self._refusal or RequestMalformed("Send a well-formed HTTP/1.1 request."))
        else:
            self._bound(len(data))

    def _bound(self, received: int) -> None:
        """Limits on what the parser reports late or never: endless lines, chunk lines and trailers."""
        if self._in_body:
            if self._received > 8 * self._body_size + OVERHEAD + MAX_HEADER_BYTES:
                self._refuse(FramingRefused("Send larger chunks and no trailers."))
            return
        if self._in_head or not self._is_answering():
            self._head_size += received
            if self._head_size > MAX_HEADER_BYTES + MAX_TARGET + received:
                self._refuse(HeadTooLarge(f"Send at most {MAX_HEADER_BYTES} bytes of headers."))
            elif self._head_timer is None and not self.transport.is_closing():
                self._arm_head_timer()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._header_count = 0

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET:
            self._stop(TargetTooLong(f"Keep the URL below {MAX_TARGET} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line. Trailers come this way too: too late to be believed, they are dropped."""
        if self._in_body:
            return
        self._header_count += 1
        if self._header_count > MAX_HEADERS:
            self._stop(HeadTooLarge(f"Send at most {MAX_HEADERS} headers."))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: hand it to the shell, unless the target would arrive there as another one."""
        self._disarm_head_timer()
        self._in_head = False
        self._head_size = 0
        if not self.url.startswith(b"/") or b"#" in self.url:
            self._stop(PathRefused("Start the request target with a slash and leave out fragments."))
        if self.answered_at_once():
            return
        super().on_headers_complete()
        self._in_body = True
        self._received = self._body_size = 0
        self.cycle.transport = cast("asyncio.Transport", Outgoing(self, has_body=self.scope["method"] != "HEAD"))
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def answered_at_once(self) -> bool:
        """Whether nothing remains to be done for a request whose head is whole."""
        return False

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._body_size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written; the next request may come, unless the connection is ending."""
        if self._linger_timer is None:
            super().on_response_complete()

    def _should_upgrade(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """It caught up."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn itself refuses, in our format."""
        self._refuse(RequestMalformed(msg))

    def finish(self) -> None:
        """End the connection once the client has had its answer."""
        if not self._in_body or self.transport.is_closing():
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._linger_timer = self.loop.call_later(LINGER_TIMEOUT, self.transport.close)

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _discard(self, data: bytes) -> None:
        self._lingered += len(data)
        if self._lingered > LINGER_BYTES:
            self.transport.close()

    def _arm_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout, self._head_timed_out)

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(RequestTooSlow("The head of the request did not arrive in time."))
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop(self, problem: Problem) -> None:
        """Leave the parser's callback with a refusal."""
        self._refusal = problem
        raise problem

    def _refuse(self, problem: Problem) -> None:
        """Answer by ourselves, and end the connection; an answer already under way only ends with it."""
        self._disarm_head_timer()
        if self.transport.is_closing():
            return
        if self._is_answering():
            if not self._in_body:
                self.cycle.keep_alive = False
                self.flow.pause_reading()
                return
            if self.cycle.response_started or self.pipeline:
                self.transport.abort()
                return
            # The shell waits for a body that will never be whole: to it, the client has gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_written(problem, self.server_state.default_headers))
        self._in_body = True
        self.finish()


def _written(problem: Problem, default_headers: Headers) -> bytes:
    request_id = os.urandom(16).hex()
    body = msgspec.json.encode(problem.document(instance="", request_id=request_id))
    headers: Headers = [
        *default_headers,
        (b"x-request-id", request_id.encode()),
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        NOTHING_RUNS,
        *SECURITY,
        (b"connection", b"close"),
    ]
    return as_bytes(problem.status, headers, body)


def as_bytes(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """An answer as it goes over the wire."""
    lines = [STATUS_LINE[status]]
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    return b"".join([*lines, b"\r\n", body])
