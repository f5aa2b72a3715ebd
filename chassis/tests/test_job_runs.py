"""What became of a job's last run is known to every process, and still known after a restart."""

import asyncpg
import pytest
from toy.app import ThingMade

from chassis.database import Database
from chassis.event_alarms import events_late, events_unpublished
from chassis.ids import new_id
from chassis.job_runs import last_runs
from chassis.jobs import Job, JobOutcome, JobRunner
from chassis.locks import LockConnection
from chassis.outbox import record
from chassis.testing import Harness


class Rounds:
    """A job whose runs end as told, one after the other."""

    def __init__(self, *ends: JobOutcome | Exception) -> None:
        self._ends = list(ends)

    async def __call__(self, _database: Database) -> JobOutcome:
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


async def run(database: Database, *ends: JobOutcome | Exception) -> None:
    """One process: it runs the job so many times, and ends."""
    locks = LockConnection(database.url)
    runner = JobRunner(database, [Job("rounds", 3600, Rounds(*ends))], locks=locks)
    try:
        for end in ends:
            if isinstance(end, Exception):
                with pytest.raises(type(end)):
                    await runner.run_once("rounds")
            else:
                await runner.run_once("rounds")
    finally:
        await locks.stop()


async def test_a_run_is_remembered_beyond_the_process_that_made_it(database: Database) -> None:
    await run(database, JobOutcome(found=5, repaired=3, unresolved=2))
    await run(database, JobOutcome(found=1))

    told = (await last_runs(database.primary_reads))["rounds"]
    assert (told["found"], told["repaired"], told["unresolved"]) == (1, 0, 0)
    assert (told["found_total"], told["repaired_total"]) == (6, 3)
    assert told["repaired_at"] < told["succeeded_at"] == told["ran_at"]


async def test_a_failure_is_told_by_its_kind_and_takes_nothing_away_from_the_last_success(database: Database) -> None:
    """What an exception says may quote a row, so only its kind is kept."""
    await run(database, JobOutcome(found=2, unresolved=2), ValueError("somebody@example.com"))

    told = (await last_runs(database.primary_reads))["rounds"]
    assert (told["error"], told["found"], told["unresolved"]) == ("ValueError", 2, 2)
    assert told["succeeded_at"] < told["ran_at"]

    await run(database, JobOutcome())
    assert (await last_runs(database.primary_reads))["rounds"]["error"] is None


async def test_a_job_is_no_failure_because_its_run_could_not_be_noted(database: Database) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("ALTER TABLE job_runs RENAME TO job_runs_away")
    await connection.close()
    await run(database, JobOutcome(found=1))


async def test_another_service_is_told_of_every_job_also_of_those_that_never_ran(toy: Harness) -> None:
    await toy.run_job("events-unpublished")
    answer = await toy.client.get("/internal/jobs", headers=toy.as_service("teddy"))
    told = {run["job"]: run for run in answer.json()["items"]}
    assert set(told) == set(toy.service.jobs.table)
    assert told["events-unpublished"]["last_run"] == told["events-unpublished"]["last_success"]
    assert told["outbox-cleanup"]["last_run"] is None
    assert not told["events-unpublished"]["is_late"]

    await toy.execute("UPDATE job_runs SET ran_at = ran_at - interval '3 minutes'")
    answer = await toy.client.get("/internal/jobs", headers=toy.as_service("teddy"))
    assert {run["job"] for run in answer.json()["items"] if run["is_late"]} == {"events-unpublished"}


async def test_jobs_are_no_business_of_other_services_or_people(toy: Harness) -> None:
    client = toy.client
    assert (await client.get("/internal/jobs", headers=toy.as_service("doll"))).status_code == 403
    assert (await client.get("/internal/jobs", headers=toy.as_user("admin"))).status_code == 401


async def test_an_event_that_waits_for_the_relay_too_long_is_unresolved(toy: Harness) -> None:
    async with toy.database.transaction() as session:
        for name in ("old", "new"):
            await record(session, ThingMade(name=name), subject=name, sequence=1)
    await toy.execute("UPDATE outbox SET created_at = created_at - interval '2 minutes' WHERE subject = 'old'")
    assert await events_unpublished(toy.database) == JobOutcome(found=2, unresolved=1)


async def test_an_event_that_was_long_under_way_is_unresolved(toy: Harness) -> None:
    """Its id tells when it was made."""
    now = new_id()
    then = f"{(now.int >> 80) - 120_000:012x}"
    for event_id in (str(now), f"{then[:8]}-{then[8:]}{str(now)[13:]}"):
        received = f"INSERT INTO inbox (event_id, consumer, type) VALUES ('{event_id}', 'toy', 'thing.made.v1')"
        await toy.execute(received)
    assert await events_late(toy.database) == JobOutcome(found=2, unresolved=1)
