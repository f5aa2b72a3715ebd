"""What one service did about one correlation, as entries that fall into one line with those of the others.

Nothing is written for it: what was published is in the outbox, and whether an event was applied is asked of the inbox
by the event's id. No entry holds what a person wrote or a secret.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import Field

from chassis.events import Envelope
from chassis.strict import Answer, Time

JOB = "job "
"""How `by` begins where a job did it."""

ONE_RUN = timedelta(seconds=10)
"""What a job did within this time it did in one run."""


class Kind(StrEnum):
    """What an entry is about; of the same moment, in this order."""

    COMMAND = "command"
    JOB = "job"
    WEBHOOK = "webhook"
    EVENT_CONSUMED = "event_consumed"
    PROVIDER_CALL = "provider_call"
    OBSERVATION = "observation"
    TRANSITION = "transition"
    EVENT_PUBLISHED = "event_published"


class TraceEntry(Answer):
    """One thing that happened."""

    at: Time
    kind: Kind
    what: str
    by: str | None = None
    """Who caused it: customer, staff, provider, another service, or `job <name>`."""
    outcome: str | None = None
    id: str | None = None
    """Its own id, by which others name it."""
    caused_by: str | None = None
    """The event, webhook or request behind it; a request's id finds its log lines."""
    details: dict[str, Any] = Field(default_factory=dict)


class Trace(Answer):
    """What a service did, in time order."""

    items: list[TraceEntry]


_PUBLISHED = "SELECT created_at, published_at, attempts, body FROM outbox WHERE correlation_id = $1 ORDER BY position"

_APPLIED = "SELECT event_id, type, received_at FROM inbox WHERE event_id = ANY ($1::uuid[])"


async def published(reads: asyncpg.Pool, correlation_id: UUID) -> list[TraceEntry]:
    """The events of this correlation that the outbox still has: it forgets what was published a week ago."""
    return [_published(Envelope.decode(row["body"]), row) for row in await reads.fetch(_PUBLISHED, str(correlation_id))]


def _published(event: Envelope, row: asyncpg.Record) -> TraceEntry:
    is_out: datetime | None = row["published_at"]
    return TraceEntry(
        at=row["created_at"],
        kind=Kind.EVENT_PUBLISHED,
        what=event.type,
        outcome="published" if is_out else "waiting",
        id=str(event.id),
        caused_by=event.causationid,
        details={"subject": event.subject, "sequence": event.sequence}
        | ({"published_after_ms": round((is_out - row["created_at"]).total_seconds() * 1000)} if is_out else {})
        | ({"attempts": row["attempts"]} if row["attempts"] else {}),
    )


async def applied(reads: asyncpg.Pool, event_ids: Iterable[UUID]) -> list[TraceEntry]:
    """Those of these events that the inbox has."""
    return [
        TraceEntry(at=row["received_at"], kind=Kind.EVENT_CONSUMED, what=row["type"], caused_by=str(row["event_id"]))
        for row in await reads.fetch(_APPLIED, list(event_ids))
    ]


def with_jobs(entries: Iterable[TraceEntry]) -> list[TraceEntry]:
    """The entries in time order, and for each run of a job that caused some an entry before them."""
    found: list[TraceEntry] = []
    since: dict[str, datetime] = {}
    for entry in by_time(entries):
        by = entry.by or ""
        if by.startswith(JOB) and (by not in since or entry.at - since[by] > ONE_RUN):
            found.append(TraceEntry(at=entry.at, kind=Kind.JOB, what=by.removeprefix(JOB)))
        if by.startswith(JOB):
            since[by] = entry.at
        found.append(entry)
    return found


def by_time(entries: Iterable[TraceEntry]) -> Sequence[TraceEntry]:
    """By time; of one moment what causes comes before what follows."""
    kinds = list(Kind)
    return sorted(entries, key=lambda entry: (entry.at, kinds.index(entry.kind)))
