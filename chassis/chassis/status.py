"""How a service stands, for the overview that the gateway shows to staff: what runs, and what waits."""

from typing import TYPE_CHECKING

import asyncpg
from starlette.requests import Request

from chassis.migrations import head_revision
from chassis.operations import JobRun, job_runs
from chassis.routes import Router, access
from chassis.strict import Answer
from chassis.telemetry import release

if TYPE_CHECKING:
    from chassis.service import Service

_REVISION = "SELECT version_num FROM alembic_version"

_OUTBOX = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM outbox WHERE published_at IS NULL"""


class Migrations(Answer):
    """The database's revision, and the newest that this release knows."""

    applied: str
    newest: str


class OutboxStatus(Answer):
    """Events that wait to be published, and the age of the oldest in seconds."""

    unpublished: int
    oldest_seconds: float


class QueueStatus(Answer):
    """Messages that wait to be handled, and those given up, when the worker last looked."""

    waiting: int
    parked: int


class ServiceStatus(Answer):
    """One service, as one of its processes sees it."""

    version: str
    migrations: Migrations
    outbox: OutboxStatus
    queue: QueueStatus | None
    """Null for a service that listens to nothing, and before the first look."""
    jobs: list[JobRun]


async def status_of(service: "Service") -> ServiceStatus:
    """What the database tells, so that any process of the service may answer for all of them."""
    reads: asyncpg.Pool[asyncpg.Record] = service.database.primary_reads
    revision = await reads.fetchval(_REVISION)
    unpublished, oldest = await reads.fetchrow(_OUTBOX) or (0, 0.0)
    jobs = (await job_runs(service)).items
    return ServiceStatus(
        version=release(service.name),
        migrations=Migrations(applied=revision, newest=head_revision(service.name)),
        outbox=OutboxStatus(unpublished=unpublished, oldest_seconds=round(oldest, 1)),
        queue=_queue({job.job: job for job in jobs}),
        jobs=jobs,
    )


def _queue(jobs: dict[str, JobRun]) -> QueueStatus | None:
    """The worker's look at the broker is a job like any other."""
    look = jobs.get("parked-messages")
    if look is None or look.last_success is None:
        return None
    return QueueStatus(waiting=look.found, parked=look.unresolved)


def status_router() -> Router:
    """The route, which every service has."""
    router = Router(prefix="/internal", tags=["internal"])

    @router.get("/status", openapi_extra=access("service", callers=("gateway",)))
    async def read_status(request: Request) -> ServiceStatus:
        """How this service stands."""
        return await status_of(request.app.state.service)

    return router
