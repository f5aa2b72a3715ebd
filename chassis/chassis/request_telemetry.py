"""What each request leaves behind: an id, a span, a line in the log, and its place in the metrics."""

import re
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import tracing
from chassis.ids import new_id
from chassis.telemetry import Metrics, correlation_id, get_logger, request_id, service_name, traceparent

_FOREIGN_ID = re.compile(rb"[\x21-\x7e]{1,64}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class RequestTelemetry:
    """Gives every request its id, an access-log line and its place in the metrics. Pure ASGI."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, service: str) -> None:
        self._app = app
        self._metrics = metrics
        self._service = service
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._log = get_logger().bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with its ids in the context."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        rid = _foreign(headers, b"x-request-id") or new_id().hex
        service_name.set(self._service)
        request_id.set(rid)
        correlation_id.set(_foreign(headers, b"x-correlation-id") or rid)
        traceparent.set(_foreign(headers, b"traceparent"))
        with tracing.start(scope["method"], "server") as span:
            await self._serve(scope, receive, send, rid=rid, span=span)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, rid: str, span: tracing.Span) -> None:
        status = 500
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", rid.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            span.tell(scope["method"], route, status)
            self._record(scope, route, status, time.perf_counter() - started)

    def _record(self, scope: Mapping[str, Any], route: str, status: int, seconds: float) -> None:
        key = (scope["method"], route, status)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._metrics.requests.labels(key[0], route, str(status)),
                self._metrics.durations.labels(key[0], route),
            )
        children[0].inc()
        children[1].observe(seconds)
        named = [value for value in scope.get("path_params", {}).values() if _ID.fullmatch(str(value))]
        ids = {"ids": named} if named else {}
        self._log.info("request", method=key[0], route=route, status=status, ms=round(seconds * 1000, 2), **ids)


def _foreign(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """An id that somebody else made, when it is fit for headers and logs."""
    value = headers.get(name, b"")
    return value.decode() if _FOREIGN_ID.fullmatch(value) else ""
