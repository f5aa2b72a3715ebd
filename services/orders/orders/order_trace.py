"""Following one order through the whole shop: what every service did about it, in one line of time.

1. Every service is asked at the same time what it did: its transitions, what it was asked for, what it published.
2. Every service is asked which of all those events it has applied.

One that does not answer leaves a gap that is named; what the others know is shown. Times are those of each service's
own database.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from pydantic import ValidationError

from chassis.clients import InternalClient, Reply, UpstreamUnavailable
from chassis.operations import MOST_EVENTS
from chassis.telemetry import get_logger
from chassis.traces import JOB, Kind, Trace, TraceEntry, applied, published, with_jobs
from orders.models import ActorKind, Order
from orders.schemas import OrderTrace, TraceGap, TraceItem

PATIENCE = 2.0
"""Seconds that another service gets for one answer."""

OWN = "orders"

_MOVES = """
SELECT version, move, from_status, to_status, cause, actor_kind, actor_id, attempt_id, at
FROM order_moves WHERE order_id = $1 ORDER BY version"""

_COMMANDS = {
    "placed": "POST /api/v1/orders",
    "placed_for_nothing": "POST /api/v1/orders",
    "cancel_asked": "POST /api/v1/orders/{order_id}/cancel",
}
_STAFF_COMMANDS = {
    "cancel_asked": "POST /api/v1/admin/orders/{order_id}/cancel",
    "shipped": "POST /api/v1/admin/orders/{order_id}/ship",
    "delivered": "POST /api/v1/admin/orders/{order_id}/deliver",
    "reviewed": "POST /api/v1/admin/orders/{order_id}/review",
}
_JOBS = {"deadline_passed": "deadlines", "closing_limit_passed": "closing-limit"}


@dataclass(frozen=True, slots=True)
class Tracing:
    """The services that may have had to do with an order, besides this one."""

    others: Mapping[str, InternalClient]

    async def trace_of(self, reads: asyncpg.Pool, order: Order) -> OrderTrace:
        """Everything that touched the order, and which services could not be asked."""
        path = f"/internal/orders/{order.id}/trace"
        answers = await asyncio.gather(*(self._ask(name, "GET", path) for name in self.others))
        told = {OWN: await _own(reads, order.id), **dict(zip(self.others, answers, strict=True))}
        entries = {service: list(found) for service, found in told.items() if found is not None}
        gaps = [TraceGap(service=service, missing="everything") for service, found in told.items() if found is None]
        events = [UUID(entry.id) for entry in _published_among(entries) if entry.id][:MOST_EVENTS]
        asked = [name for name in entries if name != OWN]
        body = {"ids": [str(event_id) for event_id in events]}
        answers = await asyncio.gather(*(self._ask(name, "POST", "/internal/events/applied", body) for name in asked))
        consumed = {OWN: await applied(reads, events), **dict(zip(asked, answers, strict=True))}
        for service, found in consumed.items():
            if found is None:
                gaps.append(TraceGap(service=service, missing="events consumed"))
            else:
                entries[service] += found
        return OrderTrace(order_id=order.id, number=order.number, items=_in_one_line(entries), gaps=gaps)

    async def _ask(self, service: str, method: str, path: str, body: object = None) -> list[TraceEntry] | None:
        try:
            reply = await self.others[service].call(method, path, json=body, timeout=PATIENCE)
            return _items_of(reply, service)
        except (UpstreamUnavailable, ValidationError) as error:
            get_logger().warning("trace not told", upstream=service, error=type(error).__name__)
            return None


def _items_of(reply: Reply, service: str) -> list[TraceEntry] | None:
    if reply.is_ok:
        return Trace.model_validate(reply.data).items
    get_logger().error("trace not told", upstream=service, status=reply.status)
    return None


def _published_among(entries: Mapping[str, list[TraceEntry]]) -> Iterable[TraceEntry]:
    return (entry for found in entries.values() for entry in found if entry.kind is Kind.EVENT_PUBLISHED)


def _in_one_line(entries: Mapping[str, list[TraceEntry]]) -> list[TraceItem]:
    """Of one moment cause before effect, which `with_jobs` saw to within each service: the sort keeps its order."""
    items = [
        TraceItem(service=service, **entry.model_dump())
        for service, found in entries.items()
        for entry in with_jobs(found)
    ]
    return sorted(items, key=lambda item: item.at)


async def _own(reads: asyncpg.Pool, order_id: UUID) -> list[TraceEntry]:
    """The moves of the order, with the command behind each that had one, and the events that announced them."""
    entries = await published(reads, order_id)
    for move in await reads.fetch(_MOVES, order_id):
        cause, actor = move["cause"], move["actor_kind"]
        commands = _STAFF_COMMANDS if actor == ActorKind.STAFF else _COMMANDS
        job = _JOBS.get(cause)
        if actor != ActorKind.SYSTEM and cause in commands:
            who = {"actor_id": str(move["actor_id"])} if move["actor_id"] else {}
            entries.append(TraceEntry(at=move["at"], kind=Kind.COMMAND, what=commands[cause], by=actor, details=who))
        details = {"move": move["move"], "from": move["from_status"], "cause": cause, "version": move["version"]}
        if move["attempt_id"]:
            details["attempt_id"] = str(move["attempt_id"])
        entries.append(
            TraceEntry(
                at=move["at"],
                kind=Kind.TRANSITION,
                what="order",
                outcome=move["to_status"],
                by=f"{JOB}{job}" if job else (actor if actor != ActorKind.SYSTEM else None),
                id=str(order_id),
                details=details,
            )
        )
    return entries
