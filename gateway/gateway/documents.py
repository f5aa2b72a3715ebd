"""One OpenAPI and one AsyncAPI document for the whole shop, merged from those of the services."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chassis.clients import UpstreamRequest, Upstreams
from chassis.problems import table
from chassis.telemetry import get_logger
from gateway.errors import PROBLEMS
from gateway.merging import merge_asyncapi, merge_openapi, merge_problems
from gateway.routes import GATEWAY, RouteTable

LIFETIME = 60.0
"""Seconds until the services are asked again."""
INCOMPLETE_LIFETIME = 2.0
"""The same while one of them did not answer."""
TIMEOUT = 3.0


@dataclass(slots=True)
class _Kind:
    """One kind of document: where services publish it, what they last said, and the merged text."""

    path: bytes
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    merged: bytes = b""
    good_until: float = 0.0


class Documents:
    """The merged documents, kept for a minute. A service that is down keeps its last known part."""

    def __init__(self, upstreams: Upstreams, routes: RouteTable) -> None:
        self._upstreams = upstreams
        self._routes = routes
        self._lock = asyncio.Lock()
        self._openapi = _Kind(b"/openapi.json")
        self._asyncapi = _Kind(b"/internal/asyncapi.json")

    async def openapi(self) -> bytes:
        """Every public route, as OpenAPI 3.1."""
        return await self._current(self._openapi)

    async def asyncapi(self) -> bytes:
        """Every event, as AsyncAPI 3."""
        return await self._current(self._asyncapi)

    async def problems(self) -> list[dict[str, Any]]:
        """The table of codes."""
        await self._current(self._openapi)
        return merge_problems(self._openapi.parts, table(PROBLEMS))

    async def _current(self, kind: _Kind) -> bytes:
        async with self._lock:
            if time.monotonic() >= kind.good_until:
                await self._renew(kind)
            return kind.merged

    async def _renew(self, kind: _Kind) -> None:
        services = [name for name in self._routes.services if name in self._upstreams]
        found = await asyncio.gather(*(self._fetch(name, kind.path) for name in services))
        answered = {name: part for name, part in zip(services, found, strict=True) if part is not None}
        kind.parts.update(answered)
        missing = sorted(set(self._routes.services) - set(kind.parts))
        if kind is self._openapi:
            document = merge_openapi(kind.parts, self._routes, missing=missing, problems=table(PROBLEMS))
        else:
            document = merge_asyncapi(kind.parts, missing=missing)
        kind.merged = msgspec.json.encode(document)
        lifetime = LIFETIME if len(answered) == len(self._routes.services) else INCOMPLETE_LIFETIME
        kind.good_until = time.monotonic() + lifetime

    async def _fetch(self, service: str, path: bytes) -> dict[str, Any] | None:
        headers = [(b"x-request-id", b"documents"), (b"accept", b"application/json")]
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self._upstreams[service].send(UpstreamRequest("GET", path, headers, timeout=TIMEOUT))
                body = await response.read()
            if response.status == 200:
                return msgspec.json.decode(body, type=dict[str, Any])
        except Exception as error:  # noqa: BLE001 - the document goes without this service's part
            get_logger().info("document not read", service=GATEWAY, upstream=service, error=str(error))
        return None
