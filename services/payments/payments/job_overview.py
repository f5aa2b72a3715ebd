"""What the whole shop does by the clock to set right what went wrong, in one place for staff.

Each service keeps how its jobs ended (`job_runs`); here the others are asked for theirs. One that does not answer is a
gap in the overview and no reason to show nothing.
"""

import asyncio
from collections.abc import Mapping

from pydantic import ValidationError

from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.operations import JobRuns
from chassis.telemetry import get_logger
from payments.schemas import JobAnswer, Reconciliation

PATIENCE = 2.0
"""Seconds that another service gets for one answer."""


class JobOverview:
    """Asks every other service at the same time."""

    def __init__(self, others: Mapping[str, InternalClient]) -> None:
        self._others = others

    async def with_own(self, own: JobRuns) -> Reconciliation:
        """The overview: the jobs of this service first, then those of the others."""
        found = await asyncio.gather(*(self._runs_of(name) for name in self._others))
        told = {"payments": own, **dict(zip(self._others, found, strict=True))}
        items = [
            JobAnswer(service=service, **run.model_dump())
            for service, runs in told.items()
            if runs is not None
            for run in runs.items
        ]
        gaps = [service for service, runs in told.items() if runs is None]
        return Reconciliation(
            items=items,
            gaps=gaps,
            unresolved=sum(item.unresolved for item in items),
            failing=sum(item.error is not None for item in items),
            late=sum(item.is_late for item in items),
        )

    async def _runs_of(self, service: str) -> JobRuns | None:
        try:
            reply = await self._others[service].call("GET", "/internal/jobs", timeout=PATIENCE)
            if reply.is_ok:
                return JobRuns.model_validate(reply.data)
            get_logger().error("jobs not told", upstream=service, status=reply.status)
        except (UpstreamUnavailable, ValidationError) as error:
            get_logger().warning("jobs not told", upstream=service, error=type(error).__name__)
        return None
