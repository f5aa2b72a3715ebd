"""What catalog did about one order, for whoever follows the order through the shop: the path of its reservation, of
which `committed` took the items from the shelf and `returned` put them back, and what was published about it.
"""

from collections.abc import Mapping
from uuid import UUID

import asyncpg

from chassis.traces import JOB, Kind, TraceEntry, published

_PATH = """
SELECT step.at, from_status, to_status, cause, hold FROM reservation_history AS step
WHERE order_id = $1 ORDER BY number"""

_ITEMS = "SELECT variant_id, quantity FROM reservation_items WHERE order_id = $1 ORDER BY variant_id"

_CALLS = {"put": "PUT /internal/reservations/{order_id}", "release": "DELETE /internal/reservations/{order_id}"}
_JOBS: Mapping[str, str] = {"orphan": "orphan-holds", "expired_hold": "expired-holds"}


async def trace_of(reads: asyncpg.Pool, order_id: UUID) -> list[TraceEntry]:
    """Everything, in no order yet; nothing about an order that catalog has not heard of."""
    entries = await published(reads, order_id)
    items = [
        {"variant_id": str(item["variant_id"]), "quantity": item["quantity"]}
        for item in await reads.fetch(_ITEMS, order_id)
    ]
    for step in await reads.fetch(_PATH, order_id):
        cause, job = step["cause"], _JOBS.get(step["cause"])
        if cause in _CALLS:
            entries.append(TraceEntry(at=step["at"], kind=Kind.COMMAND, what=_CALLS[cause], by="orders"))
        entries.append(
            TraceEntry(
                at=step["at"],
                kind=Kind.TRANSITION,
                what="reservation",
                outcome=step["to_status"],
                by=f"{JOB}{job}" if job else None,
                details={"from": step["from_status"], "cause": cause, "hold": step["hold"], "items": items},
            )
        )
    return entries
