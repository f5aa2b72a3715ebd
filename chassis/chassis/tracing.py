"""Spans for whoever collects them: off, and then free, unless OTEL_EXPORTER_OTLP_ENDPOINT names a collector.

A span is a `with` block. Its parent is what `telemetry.traceparent` holds, which travels in the headers of calls and in
the envelopes of events anyway, so a trace goes wherever a request and its events go. Nothing is instrumented behind
anybody's back: what a span says is written where it begins, and that is never a query value, a header, a statement or
the text of an error.
"""

import re
import threading
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from chassis import telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import SpanContext

    from chassis.events import Envelope, Message  # whose modules begin spans

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | bool

_IN_ENVELOPE = re.compile(rb'"traceparent":"([0-9a-f-]{55})"')
FAREWELL = 2.0
"""Seconds that the last spans get to leave when a process ends."""


class Span:
    """A span as a block of code sees it. This one records nothing: it stands in while tracing is off."""

    traceparent = ""
    """For whoever is to continue the trace; empty when tracing is off."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; an error that leaves the block is noted by its kind."""

    def note(self, **attributes: Value) -> None:
        """Add attributes; in their names `__` stands for a dot."""

    def tell(self, method: str, route: str, status: int) -> None:
        """Say how a request ended. The span is named after its route, never after its path."""


OFF = Span()
_tracing: "_Tracing | None" = None


def start(
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    link: str = "",
    root: str = "",
    **attributes: Value,
) -> Span:
    """A span, to be entered at once. Its parent is the current one unless `parent` says otherwise.

    `link` names a span of another trace that led here. `root` is the id of a trace that begins here.
    """
    if _tracing is None:
        return OFF
    return _Recorded(_tracing, name, kind, parent=parent, link=link, root=root, attributes=attributes)


def resumed(name: str, stored: str | None) -> Span:
    """A span of the trace in which a matter began, as it was stored then; a link leads to what brings it up again."""
    here = telemetry.traceparent.get()
    if not stored or stored[:35] == here[:35]:
        return start(name)
    return start(name, parent=stored, link=here)


def publishing(message: "Message") -> Span:
    """An event on its way to the bus, below what recorded it."""
    if _tracing is None:
        return OFF
    written = _IN_ENVELOPE.search(message.body)
    return start(
        f"publish {message.type}",
        "producer",
        parent=written[1].decode() if written else "",
        messaging__message__id=str(message.id),
        haat__correlation_id=message.headers.get("correlationid", ""),
    )


def processing(envelope: "Envelope", attempt: int) -> Span:
    """An event that a consumer applies, below what recorded it."""
    if _tracing is None:
        return OFF
    return start(
        f"process {envelope.type}",
        "consumer",
        messaging__message__id=str(envelope.id),
        haat__correlation_id=envelope.correlationid,
        haat__attempt=attempt,
    )


def is_on() -> bool:
    """Whether anybody collects spans."""
    return _tracing is not None


def current() -> str:
    """The traceparent to store for what happens later; empty when tracing is off."""
    return telemetry.traceparent.get() if _tracing is not None else ""


def configure_tracing(endpoint: str) -> None:
    """Send spans to the collector at this address (OTLP over HTTP, below /v1/traces); nothing changes without one."""
    global _tracing  # noqa: PLW0603 - one exporter per process, as for logs
    if not endpoint:
        return
    try:
        _tracing = _Tracing(endpoint)
    except ImportError:
        telemetry.get_logger().warning("not traced", reason="install haat-chassis[telemetry]")


def stop_tracing() -> None:
    """Hand over what was recorded, for at most FAREWELL seconds."""
    global _tracing
    tracing, _tracing = _tracing, None
    if tracing is not None:
        last = threading.Thread(target=tracing.processor.shutdown, daemon=True)
        last.start()
        last.join(FAREWELL)


class _Tracing:
    """One exporter for the process, and a tracer for each service in it."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self.processor: SpanProcessor = BatchSpanProcessor(exporter)
        self._providers: dict[str, TracerProvider] = {}
        self.next_trace_id = 0

    def tracer(self, service: str) -> Any:
        """The tracer whose spans carry the service's name."""
        provider = self._providers.get(service)
        if provider is None:
            provider = self._providers[service] = self._provider(service)
        return provider.get_tracer("haat")

    def _provider(self, service: str) -> "TracerProvider":
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        tracing = self

        class Ids(RandomIdGenerator):
            """A trace that begins with a request has the request's id."""

            def generate_trace_id(self) -> int:
                chosen, tracing.next_trace_id = tracing.next_trace_id, 0
                return chosen or super().generate_trace_id()

        version = telemetry.release(service)
        names = {"service.namespace": "haat", "service.name": service, "service.version": version}
        provider = TracerProvider(resource=Resource(names), id_generator=Ids(), shutdown_on_exit=False)
        provider.add_span_processor(self.processor)
        return provider


class _Recorded(Span):
    """A span that somebody will see."""

    def __init__(
        self,
        tracing: _Tracing,
        name: str,
        kind: Kind,
        *,
        parent: str | None,
        link: str,
        root: str,
        attributes: dict[str, Value],
    ) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context

        context = Context()
        above = _context_of(telemetry.traceparent.get() if parent is None else parent)
        if above is not None and not root:
            context = trace.set_span_in_context(trace.NonRecordingSpan(above), context)
        linked = _context_of(link)
        tracing.next_trace_id = int(root, 16) if root else 0
        self._span: Any = tracing.tracer(telemetry.service_name.get() or "unnamed").start_span(
            name,
            context,
            kind=trace.SpanKind[kind.upper()],
            links=[trace.Link(linked)] if linked is not None else [],
            attributes=_named(attributes),
        )
        tracing.next_trace_id = 0
        is_sampled = self._span.get_span_context().trace_flags.sampled
        ids = self._span.get_span_context()
        self.traceparent = f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{'01' if is_sampled else '00'}"
        self._outer: Token[str] | None = None

    def __enter__(self) -> Self:
        self._outer = telemetry.traceparent.set(self.traceparent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._fail(kind.__name__)
        self._span.end()
        if self._outer is not None:
            telemetry.traceparent.reset(self._outer)

    def note(self, **attributes: Value) -> None:
        self._span.set_attributes(_named(attributes))

    def tell(self, method: str, route: str, status: int) -> None:
        self._span.update_name(f"{method} {route}")
        ids = {"request_id": telemetry.request_id.get(), "correlation_id": telemetry.correlation_id.get()}
        self.note(http__request__method=method, http__route=route, http__response__status_code=status)
        self.note(**{f"haat__{name}": value for name, value in ids.items()})
        if status >= 500:
            self._fail(str(status))

    def _fail(self, kind: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)


def _named(attributes: dict[str, Value]) -> dict[str, Value]:
    return {name.replace("__", "."): value for name, value in attributes.items() if value != ""}


def _context_of(traceparent: str) -> "SpanContext | None":
    """The remote span that a traceparent names; None for a text that is none."""
    from opentelemetry.trace import SpanContext, TraceFlags

    parts = traceparent.split("-")
    try:
        _, trace_id, span_id, flags = parts
        context = SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
        )
    except ValueError:
        return None
    return context if context.is_valid else None
