"""Work that a service does by the clock: each job on one process at a time, found and repaired counted.

Jobs are idempotent. One that fails is logged, counted and run again at its next turn. How the last run of each ended
is kept in the database (`job_runs`).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from chassis.job_runs import record_run
from chassis.locks import LockConnection
from chassis.telemetry import Metrics, get_logger, job_name

if TYPE_CHECKING:
    from chassis.database import Database  # the database module builds on the outbox, which has a job

Case = TypeVar("Case")

MOST_BATCHES = 50
"""Of one run that goes on past the cases it cannot solve."""


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What one run came across."""

    found: int = 0
    repaired: int = 0
    unresolved: int = 0
    """Left for the next run, or for people: an alarm when it stays above zero."""


@dataclass(frozen=True, slots=True)
class Job:
    """A process and how often it runs, in seconds."""

    name: str
    every: float
    run: "Callable[[Database], Awaitable[JobOutcome | None]]"


async def work_through(
    find: Callable[[int], Awaitable[Sequence[Case]]], solve: Callable[[Case], Awaitable[bool]], *, batch: int
) -> JobOutcome:
    """Take one case after the other, and go on past those that cannot be solved: none keeps another from its turn.

    `find` gives the next `batch` of them after so many that were left; `solve` tells whether a case is done with.
    """
    solved = left = 0
    for _ in range(MOST_BATCHES):
        cases = await find(left)
        for case in cases:
            if await solve(case):
                solved += 1
            else:
                left += 1
        if len(cases) < batch:
            break
    return JobOutcome(found=solved + left, repaired=solved, unresolved=left)


class JobRunner:
    """Runs the jobs of one service."""

    def __init__(
        self,
        database: "Database",
        jobs: Sequence[Job],
        *,
        locks: LockConnection,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._jobs = {job.name: job for job in jobs}
        self._locks = locks
        self._tasks: list[asyncio.Task[None]] = []
        self._log = get_logger()
        metrics = metrics or Metrics("jobs")
        labels = ("job_name",)
        self._runs = metrics.counter("haat_job_runs_total", "Runs of a job.", (*labels, "outcome"))
        self._seconds = metrics.histogram("haat_job_duration_seconds", "How long a run took.", labels)
        self._last = metrics.gauge(
            "haat_job_last_success_timestamp_seconds", "When a job last succeeded, or began to wait for it.", labels
        )
        self._found = metrics.counter("haat_job_cases_found_total", "Cases a job looked at.", labels)
        self._repaired = metrics.counter("haat_job_cases_repaired_total", "Cases a job repaired.", labels)
        self._unresolved = metrics.gauge("haat_job_cases_unresolved", "Cases a job's last run had to leave.", labels)
        period = metrics.gauge("haat_job_period_seconds", "How often a job is to run.", labels)
        for job in jobs:
            period.labels(job.name).set(job.every)
            self._unresolved.labels(job.name)
            for outcome in ("succeeded", "failed"):
                self._runs.labels(job.name, outcome)

    @property
    def table(self) -> Mapping[str, Job]:
        """Every job of the service by its name, also those that run in another process."""
        return self._jobs

    async def start(self) -> None:
        """Begin; each job's first run comes within its first period."""
        for name in self._jobs:
            # As long as it has not succeeded here it is waited for since now, so that one that never does is missed.
            self._last.labels(name).set(time.time())
        self._tasks = [asyncio.create_task(self._repeat(job), name=f"job {job.name}") for job in self._jobs.values()]

    async def stop(self) -> None:
        """End at once: jobs are idempotent, and an interrupted transaction is rolled back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def run_once(self, name: str) -> JobOutcome | None:
        """Run a job now, whatever its lock and clock say; errors are the caller's. For tests and operators."""
        return await self._run(self._jobs[name])

    async def _repeat(self, job: Job) -> None:
        # Replicas and jobs that start together must not stay together.
        await asyncio.sleep(job.every * random.uniform(0.1, 1.0))  # noqa: S311 - spreads load, keeps no secret
        while True:
            try:
                # Kept between runs: as long as this process lives, the job is its own.
                if await self._locks.hold(f"job:{job.name}"):
                    await self._run(job)
                else:
                    # Whoever runs it tells how it stands; what this process once found must not stay an alarm.
                    self._unresolved.labels(job.name).set(0)
            except Exception as error:  # noqa: BLE001 - no failure may end a job for good
                self._runs.labels(job.name, "failed").inc()
                self._log.warning("job_failed", job=job.name, error=repr(error), exc_info=error)
            await asyncio.sleep(job.every * random.uniform(0.9, 1.1))  # noqa: S311 - as above

    async def _run(self, job: Job) -> JobOutcome | None:
        started = time.perf_counter()
        name = job_name.set(job.name)
        try:
            with self._seconds.labels(job.name).time():
                outcome = await job.run(self._database)
        except Exception as error:
            seconds = time.perf_counter() - started
            await record_run(self._locks, job, outcome=JobOutcome(), seconds=seconds, error=error)
            raise
        finally:
            job_name.reset(name)
        self._runs.labels(job.name, "succeeded").inc()
        self._last.labels(job.name).set(time.time())
        counted = outcome or JobOutcome()
        self._found.labels(job.name).inc(counted.found)
        self._repaired.labels(job.name).inc(counted.repaired)
        self._unresolved.labels(job.name).set(counted.unresolved)
        await record_run(self._locks, job, outcome=counted, seconds=time.perf_counter() - started)
        if counted.repaired or counted.unresolved:
            self._log.info("job_done", job=job.name, **_counts(counted))
        return outcome


def _counts(outcome: JobOutcome) -> dict[str, int]:
    return {"found": outcome.found, "repaired": outcome.repaired, "unresolved": outcome.unresolved}
