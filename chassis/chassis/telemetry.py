"""What an operator sees: JSON log lines, Prometheus metrics, and the ids that tie them together."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.ids import new_id

request_id: ContextVar[str] = ContextVar("request_id", default="")
correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")
causation_id: ContextVar[str] = ContextVar("causation_id", default="")
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
service_name: ContextVar[str] = ContextVar("service_name", default="")

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _add_ids(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name, variable in (
        ("service", service_name),
        ("request_id", request_id),
        ("correlation_id", correlation_id),
    ):
        value = variable.get()
        if value:
            event.setdefault(name, value)
    return event


def _to_json(event: Any, **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def configure_logging(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line of the process, ours and the libraries', as one JSON object per line to `stream`."""
    target = stream or sys.stderr
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_ids,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, structlog.processors.JSONRenderer(serializer=_to_json)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *processors],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_to_json),
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(max(_LEVELS[level], logging.INFO))
    # One line per statement or connection says nothing that our own lines do not.
    for noisy in ("uvicorn.access", "aio_pika", "aiormq", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger() -> structlog.stdlib.BoundLogger:
    """The logger; the ids of the request or message under way are added to each line."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


class Metrics:
    """The metrics of one service, in a registry of its own so that several services share a process."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self._made: dict[str, Any] = {}
        labels = ("method", "route", "status")
        self.requests = self.counter("haat_http_requests_total", "Requests answered.", labels)
        self.durations = self.histogram("haat_http_request_duration_seconds", "Time to answer.", ("method", "route"))

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """A counter; the same name gives the same one."""
        made: Counter = self._make(Counter, name, text, labels)
        return made

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """A gauge; the same name gives the same one."""
        made: Gauge = self._make(Gauge, name, text, labels)
        return made

    def histogram(self, name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
        """A histogram of seconds; the same name gives the same one."""
        made: Histogram = self._make(Histogram, name, text, labels, buckets=_BUCKETS)
        return made

    def _make(self, kind: Any, name: str, text: str, labels: Sequence[str], **options: Any) -> Any:
        if name not in self._made:
            self._made[name] = kind(name, text, labels, registry=self.registry, **options)
        return self._made[name]

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)


class RequestTelemetry:
    """Gives every request its id, an access-log line and its place in the metrics. Pure ASGI."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, service: str) -> None:
        self._app = app
        self._metrics = metrics
        self._service = service
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._log = get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with its ids in the context."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        rid = headers.get(b"x-request-id", b"").decode("latin-1")[:64] or new_id().hex
        service_name.set(self._service)
        request_id.set(rid)
        correlation_id.set(headers.get(b"x-correlation-id", b"").decode("latin-1")[:64] or rid)
        traceparent.set(headers.get(b"traceparent", b"").decode("latin-1")[:64])
        status = 500
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", rid.encode("latin-1"))]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        key = (scope["method"], route, status)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._metrics.requests.labels(key[0], route, str(status)),
                self._metrics.durations.labels(key[0], route),
            )
        children[0].inc()
        children[1].observe(seconds)
        self._log.info("request", method=key[0], route=route, status=status, ms=round(seconds * 1000, 2))
