"""Jobs run by the clock, on one process at a time, and go on after a failure."""

import asyncio
import json
import re
import time
from collections.abc import Sequence

import pytest
from pydantic import SecretStr
from toy.app import ThingMade, ToySettings

from chassis.database import Database
from chassis.jobs import MOST_BATCHES, Job, JobOutcome, JobRunner, work_through
from chassis.locks import LockConnection
from chassis.outbox import record
from chassis.service import Service
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from chassis.testing import IdleBus, Keys

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
    assert 'haat_job_runs_total{job_name="rounds",outcome="failed"} 1.0' in shown
    assert 'haat_job_cases_unresolved{job_name="rounds"} 1.0' in shown


async def test_a_job_that_never_succeeds_is_waited_for_since_its_process_began(database: Database) -> None:
    """Or the alarm about a job that has not succeeded for long would miss it: it would have no time to look at."""
    rounds, metrics, locks = Rounds(*[ValueError("always")] * 1000), Metrics("shop"), LockConnection(database.url)
    runner = JobRunner(database, [Job("rounds", 0.01, rounds)], locks=locks, metrics=metrics)
    assert _since(metrics) is None, "a process that runs no jobs waits for none"
    began = time.time()
    await runner.start()
    since = _since(metrics)
    await rounds.wait(3)
    await runner.stop()
    await locks.stop()
    assert since is not None
    assert began <= since <= time.time()
    assert _since(metrics) == since


def _since(metrics: Metrics) -> float | None:
    shown = re.search(
        r'haat_job_last_success_timestamp_seconds{job_name="rounds"} (\S+)', metrics.exposition().decode()
    )
    return float(shown[1]) if shown else None


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


async def test_a_run_takes_each_case_once_and_ends_however_many_cannot_be_solved() -> None:
    """Every third is solved, and found no more; there are more of the others than one run looks at."""
    waiting, asked = list(range(3 * MOST_BATCHES)), []

    async def find(skip: int) -> Sequence[int]:
        return waiting[skip:][:2]

    async def solve(case: int) -> bool:
        asked.append(case)
        if case % 3 == 0:
            waiting.remove(case)
        return case % 3 == 0

    outcome = await work_through(find, solve, batch=2)
    assert asked == list(range(2 * MOST_BATCHES))
    assert outcome == JobOutcome(found=100, repaired=34, unresolved=66)


class DollSettings(ServiceSettings):
    service = "doll"


async def test_services_of_one_process_tell_what_their_jobs_did_in_their_own_name(
    database: Database, keys: Keys
) -> None:
    """Embedded, all bind their queues before the first one starts."""

    def service(settings_class: type[ServiceSettings]) -> tuple[Service, asyncio.Event]:
        made, name = asyncio.Event(), settings_class.service

        async def make_thing(database: Database) -> None:
            async with database.transaction() as session:
                await record(session, ThingMade(name=name), subject=name, sequence=1)
            made.set()

        settings = settings_class(database_url=SecretStr(database.url), jwks=keys.user_jwks)
        return Service(settings, bus=IdleBus(), upstreams={}, jobs=[Job(f"make-{name}", 0.1, make_thing)]), made

    toy, doll = service(ToySettings), service(DollSettings)
    for each, _ in (toy, doll):
        await each.listen()
    for each, _ in (toy, doll):
        await each.start()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(toy[1].wait(), doll[1].wait())
    for each, _ in (toy, doll):
        await each.stop()
    told = [json.loads(row["body"]) for row in await database.primary_reads.fetch("SELECT body FROM outbox")]
    assert {(event["data"]["name"], event["source"]) for event in told} == {
        ("toy", "/services/toy"),
        ("doll", "/services/doll"),
    }
