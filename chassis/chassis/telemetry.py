"""What an operator sees: JSON log lines, Prometheus metrics, and the ids that tie them together."""

import logging
import re
import sys
import traceback
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TextIO

import msgspec
import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

request_id: ContextVar[str] = ContextVar("request_id", default="")
correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")
causation_id: ContextVar[str] = ContextVar("causation_id", default="")
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
service_name: ContextVar[str] = ContextVar("service_name", default="")
job_name: ContextVar[str] = ContextVar("job_name", default="")
"""The job under way, empty while a request or a message is."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_IDS = (("service", service_name), ("request_id", request_id), ("correlation_id", correlation_id), ("job", job_name))
_QUOTED_ROW = re.compile("DETAIL:.*")
"""PostgreSQL quotes the row it refuses: e-mail addresses and password hashes, which are no matter for a log."""
# The moment at which each series began: twice the series, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library declares no types for it
_encode_line = msgspec.json.Encoder(enc_hook=str).encode


def configure_logging(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line of the process, ours and the libraries', as one JSON object per line to `stream`."""
    target = stream or sys.stderr
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=target),
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(_JsonLines())
    logging.root.handlers = [handler]
    logging.root.setLevel(max(_LEVELS[level], logging.INFO))
    # One line per statement or connection says nothing that our own lines do not.
    for noisy in ("uvicorn.access", "uvicorn.error", "aio_pika", "aiormq", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _render(_logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """All of structlog's chain in one step: an access-log line is written for every request."""
    return _line(event.pop("event"), level=method, **event)


class _JsonLines(logging.Formatter):
    """What libraries log through the standard library, in the form of our own lines."""

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        return _line(record.getMessage(), level=level, logger=record.name, exc_info=record.exc_info)


def _line(event: Any, *, level: str, exc_info: Any = None, **fields: Any) -> str:
    line = {"event": event, "level": level, "timestamp": datetime.now(UTC)}
    for name, variable in _IDS:
        if value := variable.get():
            line[name] = value
    if trace := traceparent.get():
        line["trace_id"] = trace[3:35]
    line.update(fields)
    if error := _error(exc_info):
        line["exception"] = _QUOTED_ROW.sub("DETAIL: left out", "".join(traceback.format_exception(error)))
    return _encode_line(line).decode("utf-8")


def _error(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    error: BaseException | None = (exc_info if isinstance(exc_info, tuple) else sys.exc_info())[1] if exc_info else None
    return error


@contextmanager
def about(matter: object) -> Iterator[None]:
    """Lines of the log in this block carry the id of what they are about as their correlation."""
    before = correlation_id.set(str(matter))
    try:
        yield
    finally:
        correlation_id.reset(before)


def get_logger() -> structlog.stdlib.BoundLogger:
    """The logger; the ids of the request or message under way are added to each line."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


def release(service: str) -> str:
    """The version of a part, as its package has it."""
    try:
        return version(f"haat-{service}")
    except PackageNotFoundError:
        return "0"


class Metrics:
    """The metrics of one service, in a registry of its own so that several services share a process."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._made: dict[str, Any] = {}
        self.gauge("haat_build_info", "The version that runs.", ("version",)).labels(release(service)).set(1)
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
