"""A collector of traces for tests: what an OTLP exporter sends, kept to be looked at."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WHOLE_PURCHASE = (
    ("gateway", "POST /api/v1/orders"),
    ("orders", "POST /api/v1/orders"),
    ("orders", "PUT catalog"),
    ("catalog", "PUT /internal/reservations/{order_id}"),
    ("orders", "publish order.placed.v1"),
    ("catalog", "process order.placed.v1"),
    ("cart", "process order.placed.v1"),
    ("payments", "process order.placed.v1"),
    ("payments", "observed by webhook"),
    ("payments", "publish payment.captured.v1"),
    ("orders", "process payment.captured.v1"),
    ("catalog", "process order.paid.v1"),
)
"""Who does what in the trace of an order, as service and name of a span."""

OPENED_IN_IT = ("payments", "razorpay create_order")
"""The same, for a shopper who is not faster than the event that tells payments of the order."""


@dataclass(frozen=True)
class Seen:
    """One span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    links: tuple[str, ...]
    """Traces of the spans that led here."""
    is_failed: bool


@dataclass
class Collector:
    """Listens at `url` until it is closed."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """The bodies as they came, to be searched for what must not be in them."""

    def trace(self, trace_id: str) -> list[Seen]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def traces_with(self, service: str, name: str) -> set[str]:
        """The traces that have such a span."""
        return {span.trace_id for span in self.spans if (span.service, span.name) == (service, name)}

    def missing_of_a_purchase(self) -> list[tuple[str, str]]:
        """What the most complete trace of an order lacks."""
        gaps = []
        for trace_id in self.traces_with("gateway", "POST /api/v1/orders"):
            there = {(span.service, span.name) for span in self.trace(trace_id)}
            gaps.append([wanted for wanted in WHOLE_PURCHASE if wanted not in there])
        return min(gaps, key=len, default=[])

    def take(self, body: bytes) -> None:
        """One export."""
        self.raw.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                self.spans += [_seen(service, span) for span in scope.spans]


def _seen(service: str, span: Any) -> Seen:
    values = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
    return Seen(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        attributes=values,
        links=tuple(link.trace_id.hex() for link in span.links),
        is_failed=span.status.code == 2,
    )


@contextmanager
def listening_collector() -> Iterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                collector.take(body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
