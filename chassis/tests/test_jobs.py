"""Jobs run by the clock, on one process at a time, and go on after a failure."""

import asyncio

import pytest

from chassis.database import Database
from chassis.jobs import Job, JobOutcome, JobRunner
from chassis.locks import LockConnection
from chassis.telemetry import Metrics

PATIENCE = 20.0


class Rounds:
    """A job that counts its runs, fails as told, and can be waited for."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.count = 0
        self._ran = asyncio.Semaphore(0)

    async def __call__(self, _database: Database) -> JobOutcome:
        self.count += 1
        self._ran.release()
        if self.failures:
            raise self.failures.pop(0)
        return JobOutcome(found=3, repaired=2, unresolved=1)

    async def wait(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE):
            for _ in range(times):
                await self._ran.acquire()


async def test_a_job_goes_on_after_a_failure_and_its_metrics_tell(database: Database) -> None:
    rounds, metrics, locks = Rounds(ValueError("once")), Metrics("shop"), LockConnection(database.url)
    runner = JobRunner(database, [Job("rounds", 0.01, rounds)], locks=locks, metrics=metrics)
    await runner.start()
    await rounds.wait(3)
    await runner.stop()
    await locks.stop()

    shown = metrics.exposition().decode()
    assert 'haat_job_runs_total{job="rounds",outcome="failed"} 1.0' in shown
    assert 'haat_job_unresolved{job="rounds"} 1.0' in shown


async def test_of_two_processes_one_runs_the_job_and_the_other_takes_over(database: Database) -> None:
    mine, yours = Rounds(), Rounds()
    my_locks, your_locks = LockConnection(database.url), LockConnection(database.url)
    my_runner = JobRunner(database, [Job("rounds", 0.01, mine)], locks=my_locks)
    your_runner = JobRunner(database, [Job("rounds", 0.01, yours)], locks=your_locks)

    await my_runner.start()
    await mine.wait(1)
    await your_runner.start()
    await mine.wait(10)
    assert yours.count == 0

    await my_runner.stop()
    await my_locks.stop()
    await yours.wait(1)
    await your_runner.stop()
    await your_locks.stop()


async def test_a_job_that_is_run_by_hand_tells_what_it_found(database: Database) -> None:
    locks = LockConnection(database.url)
    runner = JobRunner(database, [Job("rounds", 3600, Rounds(ValueError("told")))], locks=locks)
    with pytest.raises(ValueError, match="told"):
        await runner.run_once("rounds")
    assert await runner.run_once("rounds") == JobOutcome(found=3, repaired=2, unresolved=1)
    await locks.stop()
