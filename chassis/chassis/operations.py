"""What other services may ask of any service, so that staff see the whole shop in one place.

How its jobs are doing, and which events it has applied.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from starlette.requests import Request

from chassis.job_runs import last_runs
from chassis.jobs import Job
from chassis.routes import Db, Router, access
from chassis.strict import Answer, Id, RequestBody, Time
from chassis.traces import Trace, applied

if TYPE_CHECKING:
    from chassis.service import Service

GRACE = 60.0
"""Seconds beyond three periods after which a job that has not run again is late."""

MOST_EVENTS = 500
"""Of one question."""


class JobRun(Answer):
    """How a job's last run ended. Counts are those of the last success; the totals those of all runs."""

    job: str
    every: float
    """Seconds between two runs."""
    last_run: Time | None
    """Null as long as it never ran."""
    last_success: Time | None
    seconds: float | None
    """How long the last run took."""
    error: str | None
    """The kind of failure, if the last run failed; the log has the rest."""
    is_late: bool
    found: int
    repaired: int
    unresolved: int
    found_total: int
    repaired_total: int
    last_repair: Time | None


class JobRuns(Answer):
    """Every job of a service."""

    items: list[JobRun]


async def job_runs(service: "Service") -> JobRuns:
    """Every job of the service, in the order of its table, with its last run in whichever process that was."""
    runs = await last_runs(service.database.primary_reads)
    return JobRuns(items=[_job_run(job, runs.get(job.name)) for job in service.jobs.table.values()])


def _job_run(job: Job, run: Mapping[str, Any] | None) -> JobRun:
    def moment(column: str) -> datetime | None:
        return run[column] if run else None

    counts = ("found", "repaired", "unresolved", "found_total", "repaired_total")
    return JobRun(
        job=job.name,
        every=job.every,
        last_run=moment("ran_at"),
        last_success=moment("succeeded_at"),
        seconds=round(run["seconds"], 3) if run else None,
        error=run["error"] if run else None,
        is_late=run is not None and run["age"] > 3 * job.every + GRACE,
        last_repair=moment("repaired_at"),
        **{name: run[name] if run else 0 for name in counts},
    )


class EventIds(RequestBody):
    """Events that somebody published."""

    ids: Annotated[list[Id], Field(max_length=MOST_EVENTS)]


def operations_router(*, jobs_for: Sequence[str], events_for: Sequence[str]) -> Router:
    """The routes, for the services that show what they are told to staff."""
    router = Router(prefix="/internal", tags=["internal"])

    @router.get("/jobs", openapi_extra=access("service", callers=jobs_for))
    async def read_job_runs(request: Request) -> JobRuns:
        """Every job of this service and how its last run ended."""
        return await job_runs(request.app.state.service)

    @router.post("/events/applied", openapi_extra=access("service", callers=events_for, idempotency="none"))
    async def read_applied_events(database: Db, body: EventIds) -> Trace:
        """Those of these events that this service has applied, and when."""
        return Trace(items=await applied(database.primary_reads, body.ids))

    return router
