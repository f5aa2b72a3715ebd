"""What became of each job's last run, kept where every replica sees it and a restart forgets nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import BigInteger, Column, DateTime, Double, MetaData, Table, Text, text

from chassis.locks import LockConnection
from chassis.telemetry import get_logger
from chassis.transactions import DRIVER_OUTAGES

if TYPE_CHECKING:
    from chassis.jobs import Job, JobOutcome


def job_runs_table(metadata: MetaData) -> Table:
    """One row per job, written after each of its runs."""
    if "job_runs" in metadata.tables:
        return metadata.tables["job_runs"]
    counts = [
        Column(name, BigInteger, nullable=False, server_default=text("0"))
        for name in ("found", "repaired", "unresolved", "found_total", "repaired_total")
    ]
    return Table(
        "job_runs",
        metadata,
        Column("job", Text, primary_key=True),
        Column("ran_at", DateTime(timezone=True), nullable=False),
        Column("seconds", Double, nullable=False),
        Column("succeeded_at", DateTime(timezone=True)),
        Column("repaired_at", DateTime(timezone=True)),
        Column("error", Text),
        *counts,
        # Written every few seconds: room on the page, so that no run moves its row.
        postgresql_with={"fillfactor": "50"},
    )


_RECORD = """
INSERT INTO job_runs AS run (
    job, ran_at, seconds, error, succeeded_at, repaired_at, found, repaired, unresolved, found_total, repaired_total
)
SELECT
    $1, now, $2, $3::text, CASE WHEN $3::text IS NULL THEN now END, CASE WHEN $5::bigint > 0 THEN now END,
    $4::bigint, $5::bigint, $6::bigint, $4::bigint, $5::bigint
FROM clock_timestamp() AS now
ON CONFLICT (job) DO UPDATE SET
    ran_at = excluded.ran_at, seconds = excluded.seconds, error = excluded.error,
    succeeded_at = coalesce(excluded.succeeded_at, run.succeeded_at),
    repaired_at = coalesce(excluded.repaired_at, run.repaired_at),
    found = CASE WHEN excluded.error IS NULL THEN excluded.found ELSE run.found END,
    repaired = CASE WHEN excluded.error IS NULL THEN excluded.repaired ELSE run.repaired END,
    unresolved = CASE WHEN excluded.error IS NULL THEN excluded.unresolved ELSE run.unresolved END,
    found_total = run.found_total + excluded.found_total,
    repaired_total = run.repaired_total + excluded.repaired_total"""

_READ = "SELECT *, extract(epoch FROM clock_timestamp() - ran_at)::float8 AS age FROM job_runs"


async def record_run(
    locks: LockConnection, job: "Job", *, outcome: "JobOutcome", seconds: float, error: Exception | None = None
) -> None:
    """Keep how a run ended; of a failure its kind only, and the counts stay those of the last success.

    What the job did is done: that it could not be noted is no failure of the job.
    """
    told = type(error).__name__ if error else None
    try:
        await locks.fetch(_RECORD, job.name, seconds, told, outcome.found, outcome.repaired, outcome.unresolved)
    except (asyncpg.PostgresError, *DRIVER_OUTAGES) as failure:
        get_logger().warning("job_run_not_recorded", job=job.name, error=repr(failure))


async def last_runs(reads: asyncpg.Pool) -> Mapping[str, Mapping[str, Any]]:
    """The last run of every job that ever ran, by the job's name; `age` is in seconds."""
    return {row["job"]: dict(row) for row in await reads.fetch(_READ)}
