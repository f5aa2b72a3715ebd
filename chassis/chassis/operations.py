"""What other services may ask of any service, so that staff see the whole shop in one place: how its jobs are doing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from chassis.job_runs import last_runs
from chassis.jobs import Job
from chassis.routes import Router, access
from chassis.strict import Answer, Time

if TYPE_CHECKING:
    from chassis.service import Service

GRACE = 60.0
"""Seconds beyond three periods after which a job that has not run again is late."""


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


def operations_router(*, callers: Sequence[str]) -> Router:
    """The routes, for the services that show them to staff."""
    router = Router(prefix="/internal", tags=["internal"])

    @router.get("/jobs", openapi_extra=access("service", callers=callers))
    async def read_job_runs(request: Request) -> JobRuns:
        """Every job of this service and how its last run ended."""
        return await job_runs(request.app.state.service)

    return router
