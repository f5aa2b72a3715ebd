"""The fast shell: what needs no service is answered where it was read, without a scope, a task or a message.

Kept answers and refusals of plain reads leave this way. Everything else goes to the ASGI shell, with what was decided
about it: a request is judged, and counted against its caller, once.
"""

import time
from typing import Any, ClassVar, cast

import httptools

from chassis.clients import FAREWELL
from gateway.asgi import DECIDED, AsgiShell
from gateway.headers import Headers
from gateway.protocol import GatewayProtocol, as_bytes
from gateway.steps import Head, Refuse, Serve

METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
SPEAKS_OF_MORE = frozenset({b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers of requests that have a body, or want something before it."""
IN_A_ROW = 16
"""Requests of one read that are answered before others get their turn: a client may send thousands at once."""


class FastShell(GatewayProtocol):
    """One connection of a client."""

    shell: ClassVar[AsgiShell]

    _in_a_row = 0
    _has_answered = False
    """Whether an answer is the last thing that came of what was read."""

    @classmethod
    def before(cls, shell: AsgiShell, *, head: float, write: float) -> type["FastShell"]:
        """The protocol in front of this shell, with these time-outs in seconds, for uvicorn's `http` setting."""
        return cast(
            "type[FastShell]", type("FastShell", (cls.with_timeouts(head=head, write=write),), {"shell": shell})
        )

    def data_received(self, data: bytes) -> None:
        """Parse, and answer what can be answered at once."""
        self._in_a_row = 0
        self._has_answered = False
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._has_answered = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """The request is whole. Of one that is answered already uvicorn hears nothing."""
        if not self._has_answered:
            super().on_message_complete()

    def answered_at_once(self) -> bool:
        """Decide about a request whose head is whole, and answer it when that takes nobody else."""
        self._unset_keepalive_if_required()
        if not self._is_plain():
            return False
        started = time.perf_counter()
        head = self._request_head()
        try:
            step = self.shell.decide(head)
        except Exception:  # noqa: BLE001 - the ASGI shell meets it again, where it is logged and answered with 500
            return False
        if not isinstance(step, Serve | Refuse):
            cast("dict[str, Any]", self.scope)[DECIDED] = step
            return False
        self.shell.refresh(step)
        self._write(step.head.status, step.head.headers, b"" if head.method == "HEAD" else step.body)
        self._in_a_row += 1
        self._has_answered = True
        self.shell.on_answered(step, head, started=started)
        self.on_response_complete()
        return True

    def _is_plain(self) -> bool:
        """Whether the request is all there, its turn has come, and its connection stays."""
        parser = self.parser
        return (
            parser.get_method() in METHODS
            and not self._is_answering()
            and self._in_a_row < IN_A_ROW
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and FAREWELL not in self.server_state.default_headers
            and SPEAKS_OF_MORE.isdisjoint([name for name, _ in self.headers])
        )

    def _request_head(self) -> Head:
        target = httptools.parse_url(self.url)
        return Head(
            method=self.parser.get_method().decode(),
            target=target.path + b"?" + target.query if target.query else target.path,
            headers=self.headers,
            peer=self.client[0] if self.client else "",
        )

    def _write(self, status: int, headers: Headers, body: bytes) -> None:
        self.transport.write(as_bytes(status, (*self.server_state.default_headers, *headers), body))

    def _bound(self, received: int) -> None:
        if not self._has_answered:
            super()._bound(received)
