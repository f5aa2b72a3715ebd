"""What payments did about one order, for whoever follows the order through the shop.

Everything is read from what payments keeps anyway: the paths of payment and refunds, observations with the webhooks
that brought them, calls of the provider, and the outbox. What people wrote, and raw bodies, stay here.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec

from chassis.traces import JOB, Kind, TraceEntry, published
from payments.models import Rank

_PAYMENT = """
SELECT id, receipt,
    ARRAY(SELECT provider_order_id FROM provider_orders WHERE payment_id = payments.id) AS provider_orders,
    ARRAY(SELECT provider_payment_id FROM attempts WHERE payment_id = payments.id) AS attempts
FROM payments WHERE order_id = $1"""

_PATH = "SELECT status, cause, at FROM payment_history WHERE payment_id = $1 ORDER BY at, id"

_CALLS = "SELECT call, about, outcome, error, seconds, job, request_id, at FROM provider_calls WHERE about = ANY ($1)"

_OBSERVATIONS = """
SELECT provider_payment_id, source, observations.rank, applied, webhook_id, observations.at
FROM observations JOIN attempts ON attempts.id = attempt_id WHERE payment_id = $1 ORDER BY observations.at"""

_WEBHOOKS = """
SELECT id, body, received_at, processed_at, outcome, tries FROM webhook_events
WHERE id = ANY ($1)
UNION ALL
SELECT id, body, received_at, processed_at, outcome, tries FROM (
    SELECT * FROM webhook_events WHERE processed_at IS NULL ORDER BY next_try_at LIMIT 500
) AS waiting
WHERE EXISTS (SELECT FROM unnest($2::text[]) AS name WHERE position(convert_to(name, 'UTF8') IN body) > 0)
    AND id <> ALL ($1)"""

_REFUNDS = """
SELECT refunds.id, kind, refunds.amount, provider_refund_id, provider_payment_id, requested_by,
    step.status, step.at
FROM refund_history AS step JOIN refunds ON refunds.id = refund_id JOIN attempts ON attempts.id = attempt_id
WHERE payment_id = $1 ORDER BY step.at"""

_JOB_OF_CAUSE = {"nothing at the provider": "closing", "closing, and nothing at the provider": "creations"}
_SHOPPER_WANTS_TO_PAY = "shopper wants to pay"


async def trace_of(reads: asyncpg.Pool, order_id: UUID) -> list[TraceEntry]:
    """Everything, in no order yet; also events of an order whose payment is not known (any more)."""
    entries = await published(reads, order_id)
    payment = await reads.fetchrow(_PAYMENT, order_id)
    if payment is None:
        return entries
    for part in (_path, _calls, _refunds, _observations):
        entries += [entry async for entry in part(reads, payment)]
    return entries


async def _path(reads: asyncpg.Pool, payment: asyncpg.Record) -> AsyncIterator[TraceEntry]:
    for step in await reads.fetch(_PATH, payment["id"]):
        cause = step["cause"]
        if cause == _SHOPPER_WANTS_TO_PAY:
            yield TraceEntry(at=step["at"], kind=Kind.COMMAND, what="POST /api/v1/payments", by="customer")
        job = _JOB_OF_CAUSE.get(cause)
        yield TraceEntry(
            at=step["at"],
            kind=Kind.TRANSITION,
            what="payment",
            outcome=step["status"],
            by=f"{JOB}{job}" if job else None,
            id=str(payment["id"]),
            details={"cause": cause},
        )


async def _calls(reads: asyncpg.Pool, payment: asyncpg.Record) -> AsyncIterator[TraceEntry]:
    about = [payment["receipt"], *payment["provider_orders"], *payment["attempts"]]
    for call in await reads.fetch(_CALLS, about):
        error = {"error": call["error"]} if call["error"] else {}
        yield TraceEntry(
            at=call["at"],
            kind=Kind.PROVIDER_CALL,
            what=call["call"],
            by=f"{JOB}{call['job']}" if call["job"] else None,
            outcome=call["outcome"],
            caused_by=None if call["job"] else call["request_id"],
            details={"about": call["about"], "ms": round(call["seconds"] * 1000), **error},
        )


async def _refunds(reads: asyncpg.Pool, payment: asyncpg.Record) -> AsyncIterator[TraceEntry]:
    for step in await reads.fetch(_REFUNDS, payment["id"]):
        facts = {"kind": step["kind"], "amount": step["amount"], "attempt": step["provider_payment_id"]}
        if step["status"] == "requested" and step["requested_by"]:
            what = "POST /api/v1/payments/{payment_id}/refunds"
            by = {"staff_id": str(step["requested_by"])}
            yield TraceEntry(at=step["at"], kind=Kind.COMMAND, what=what, by="staff", details={**facts, **by})
        yield TraceEntry(
            at=step["at"],
            kind=Kind.TRANSITION,
            what="refund",
            outcome=step["status"],
            id=str(step["id"]),
            details=facts | ({"provider_refund": step["provider_refund_id"]} if step["provider_refund_id"] else {}),
        )


async def _observations(reads: asyncpg.Pool, payment: asyncpg.Record) -> AsyncIterator[TraceEntry]:
    """Who said what about the attempts: the shopper's browser, our own questions, and each webhook with its stay."""
    brought = set[str]()
    for seen in await reads.fetch(_OBSERVATIONS, payment["id"]):
        if seen["source"] == "handshake":
            what = "POST /api/v1/payments/{payment_id}/verify"
            yield TraceEntry(at=seen["at"], kind=Kind.COMMAND, what=what, by="customer")
        if seen["webhook_id"]:
            brought.add(seen["webhook_id"])
        yield TraceEntry(
            at=seen["at"],
            kind=Kind.OBSERVATION,
            what=Rank(seen["rank"]).name.lower(),
            by="provider" if seen["source"] == "webhook" else seen["source"],
            outcome="applied" if seen["applied"] else "known already",
            caused_by=seen["webhook_id"],
            details={"attempt": seen["provider_payment_id"]},
        )
    names = [*payment["provider_orders"], *payment["attempts"]]
    for webhook in await reads.fetch(_WEBHOOKS, list(brought), names):
        yield TraceEntry(
            at=webhook["received_at"],
            kind=Kind.WEBHOOK,
            what=_event_of(webhook["body"]),
            by="provider",
            outcome=webhook["outcome"] or "waiting",
            id=webhook["id"],
            details={"tries": webhook["tries"]}
            | ({} if webhook["processed_at"] is None else {"processed_after_ms": _stay(webhook)}),
        )


def _event_of(body: bytes) -> str:
    """The name that the provider gave it; it is proven, but nobody promises that it can be read."""
    try:
        return str(msgspec.json.decode(body)["event"])[:100]
    except (msgspec.DecodeError, KeyError, TypeError):
        return "unreadable"


def _stay(webhook: asyncpg.Record) -> int:
    stay: timedelta = webhook["processed_at"] - webhook["received_at"]
    return round(stay.total_seconds() * 1000)
