"""Jobs that notice events which do not get on: not published, or applied long after they were made."""

from typing import TYPE_CHECKING

from sqlalchemy import text

from chassis.jobs import Job, JobOutcome

if TYPE_CHECKING:
    from chassis.database import Database  # the database module builds on tables that have jobs

LATE = 60
"""Seconds an event may take to the broker, and from its making to its effect."""

_UNPUBLISHED = """
SELECT count(*), count(*) FILTER (WHERE created_at < clock_timestamp() - make_interval(secs => :late))
FROM outbox WHERE published_at IS NULL"""

# An event's id is a UUIDv7, so it tells the millisecond in which the event was made.
_APPLIED = """
SELECT count(*), count(*) FILTER (WHERE received_at - to_timestamp(
    ('x' || substr(replace(event_id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0
) > make_interval(secs => :late))
FROM inbox WHERE received_at > clock_timestamp() - interval '1 minute' AND substr(event_id::text, 15, 1) = '7'"""


async def events_unpublished(database: "Database") -> JobOutcome:
    """Found: events that wait for the relay. Unresolved: those that wait too long."""
    return await _count(database, _UNPUBLISHED)


async def events_late(database: "Database") -> JobOutcome:
    """Found: events applied in the last minute. Unresolved: those that were long under way."""
    return await _count(database, _APPLIED)


async def _count(database: "Database", query: str) -> JobOutcome:
    async with database.transaction() as session:
        found, late = (await session.execute(text(query), {"late": LATE})).one()
    return JobOutcome(found=found, unresolved=late)


EVENT_ALARMS = (
    Job(name="events-unpublished", every=15, run=events_unpublished),
    Job(name="events-late", every=60, run=events_late),
)
