"""How every part of the shop stands, gathered for staff: each service is asked at once, and one that is away is shown
as away.

What a number means is said once, here: `concerns` are the sentences that want a person, the same for JSON and page.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.telemetry import get_logger, release
from gateway.guards import Guard
from gateway.routes import GATEWAY

PATIENCE = 2.0
"""Seconds that a service gets for its answer."""
LATE = 60.0
"""Seconds after which an event that is not published is a concern."""


class Migrations(msgspec.Struct):
    """Where a database is, and where its service wants it."""

    applied: str
    newest: str


class Outbox(msgspec.Struct):
    """Events that wait to be published."""

    unpublished: int
    oldest_seconds: float


class Queue(msgspec.Struct):
    """Messages that wait to be handled, and those given up."""

    waiting: int
    parked: int


class JobRun(msgspec.Struct):
    """How a job's last run ended."""

    job: str
    every: float
    last_run: datetime | None
    error: str | None
    is_late: bool
    found: int
    repaired: int
    unresolved: int


class ServiceStatus(msgspec.Struct):
    """What this gateway reads of a service's answer."""

    version: str
    migrations: Migrations
    outbox: Outbox
    queue: Queue | None
    jobs: list[JobRun]


class Overview:
    """Asks every service, in this gateway's name."""

    def __init__(
        self,
        services: Mapping[str, InternalClient],
        *,
        guards: Mapping[str, Guard],
        readiness: Callable[[], dict[str, bool]],
    ) -> None:
        self._services = services
        self._guards = guards
        self._readiness = readiness

    async def read(self) -> dict[str, Any]:
        """The whole shop, the gateway first."""
        found = await asyncio.gather(*(self._ask(name) for name in self._services))
        parts = [self._own(), *(self._part(name, told) for name, told in zip(self._services, found, strict=True))]
        return {
            "checked_at": datetime.now(UTC),
            "is_well": not any(part["concerns"] for part in parts),
            "parts": parts,
        }

    async def _ask(self, name: str) -> ServiceStatus | None:
        try:
            reply = await self._services[name].call("GET", "/internal/status", timeout=PATIENCE)
            if reply.is_ok:
                return msgspec.convert(reply.data, ServiceStatus)
            get_logger().warning("status not told", upstream=name, status=reply.status)
        except (UpstreamUnavailable, msgspec.ValidationError) as error:
            get_logger().info("status not told", upstream=name, error=type(error).__name__)
        return None

    def _own(self) -> dict[str, Any]:
        checks = self._readiness()
        missing = [name for name, is_there in checks.items() if not is_there]
        concerns = [f"It cannot serve yet: {', '.join(missing)}."] if missing else []
        return {"name": GATEWAY, "state": "answering", "version": release(GATEWAY), "concerns": concerns}

    def _part(self, name: str, told: ServiceStatus | None) -> dict[str, Any]:
        is_refused = name in self._guards and bool(self._guards[name].is_failing())
        if told is None:
            return {"name": name, "state": "away", "concerns": ["It does not answer."]}
        concerns = ["The gateway's breaker is open: its requests failed."] if is_refused else []
        return {
            "name": name,
            "state": "answering",
            "concerns": concerns + _concerns(told),
            **msgspec.structs.asdict(told),
        }


def _concerns(told: ServiceStatus) -> list[str]:
    """Sentences about what is not as it should be."""
    concerns = []
    if told.migrations.applied < told.migrations.newest:
        concerns.append(f"Its database is at {told.migrations.applied}, its code wants {told.migrations.newest}.")
    if told.outbox.oldest_seconds > LATE:
        concerns.append(f"An event has waited {told.outbox.oldest_seconds:.0f} s to be published.")
    if told.queue and told.queue.parked:
        concerns.append(f"{told.queue.parked} messages were given up: see `events list`.")
    for job in told.jobs:
        if job.error:
            concerns.append(f"Its job {job.job} fails with {job.error}.")
        elif job.is_late:
            concerns.append(f"Its job {job.job} has not run for long.")
        elif job.unresolved and job.job != "parked-messages":
            concerns.append(f"Its job {job.job} had to leave {job.unresolved}.")
    return concerns
