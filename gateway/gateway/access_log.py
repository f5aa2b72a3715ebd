"""One line and a few counts per request. Routes and sizes only: never a query value, a token or a body."""

from collections.abc import Iterable
from typing import Any

from chassis.telemetry import Metrics, get_logger
from gateway.routes import GATEWAY
from gateway.steps import Context, Head, Outcome

NO_ROUTE = "none"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class AccessLog:
    """Writes the lines and counts, for operators."""

    def __init__(self, metrics: Metrics, services: Iterable[str] = ()) -> None:
        self._requests = metrics.requests
        self._durations = metrics.durations
        self._refusals = metrics.counter("haat_gateway_refusals_total", "Problems answered by the gateway.", ["code"])
        self._retries = metrics.counter("haat_gateway_upstream_retries_total", "Requests sent twice.", ["upstream"])
        for service in services:
            self._retries.labels(service)
        self._outcomes = metrics.counter(
            "haat_gateway_upstream_requests_total", "Requests sent to services.", ["upstream", "outcome"]
        )
        self._cached = metrics.counter(
            "haat_gateway_cache_requests_total", "Public reads, by what the cache had for them.", ["upstream", "result"]
        )
        self._children: dict[tuple[object, ...], tuple[Any, Any, Any]] = {}
        # Bound once: making a logger costs more than a line.
        self._log = get_logger().bind(service=GATEWAY)

    def record(
        self,
        context: Context,
        head: Head,
        *,
        status: int,
        size: int,
        seconds: float,
        code: str = "",
        outcome: Outcome | None = None,
        attempts: int = 1,
    ) -> None:
        """Note one request that is over."""
        route = context.route.prefix if context.route else NO_ROUTE
        upstream = context.route.service if context.route else NO_ROUTE
        method = head.method if head.method in METHODS else "other"
        requests, durations, outcomes = self._counts(method, route, status, upstream, outcome)
        requests.inc()
        durations.observe(seconds)
        if outcomes is not None:
            outcomes.inc()
        extra: dict[str, Any] = {}
        if context.cache:
            self._cached.labels(upstream, context.cache).inc()
            extra["cache"] = context.cache
        if code:
            self._refusals.labels(code).inc()
            extra["code"] = code
        if attempts > 1:
            self._retries.labels(upstream).inc()
            extra["attempts"] = attempts
        if outcome not in (None, Outcome.ANSWERED):
            extra["outcome"] = outcome
        self._log.info(
            "request",
            request_id=context.request_id,
            method=method,
            route=route,
            status=status,
            bytes=size,
            ms=round(seconds * 1000, 2),
            **extra,
        )

    def count_refresh(self, upstream: str, outcome: Outcome, *, attempts: int) -> None:
        """Note a request to a service that no client waited for."""
        self._outcomes.labels(upstream, outcome).inc()
        if attempts > 1:
            self._retries.labels(upstream).inc()

    def _counts(
        self, method: str, route: str, status: int, upstream: str, outcome: Outcome | None
    ) -> tuple[Any, Any, Any]:
        key = (method, route, status, outcome)
        found = self._children.get(key)
        if found is None:
            outcomes = self._outcomes.labels(upstream, outcome) if outcome else None
            requests = self._requests.labels(method, route, str(status))
            found = self._children[key] = (requests, self._durations.labels(method, route), outcomes)
        return found
