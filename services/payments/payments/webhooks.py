"""The provider's calls: prove, store, answer; then process what was stored, as often as it takes.

1. `receive` checks the signature over the raw bytes with both secrets, stores the body under its event id, and
   that is all that happens before the answer: Razorpay gives five seconds and disables slow URLs.
2. `process` takes one stored webhook in a transaction of its own and applies it. What belongs to an order that is
   not known (yet) is kept and tried again, with growing pauses, never dropped.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database, db_now
from chassis.telemetry import get_logger
from payments.attempts import UnknownProviderOrder
from payments.errors import SignatureInvalid
from payments.models import WebhookEvent
from payments.provider import ProviderError

MAX_BODY = 256 * 1024
GIVE_UP_AFTER = 40
"""Tries, the later ones an hour apart, before a webhook for an unknown order is left to people."""

ApplyEntity = Callable[[AsyncSession, dict[str, Any]], Awaitable[object]]


def prove(body: bytes, *, signature: str | None, secrets: tuple[str, ...]) -> None:
    """Razorpay signs the raw body with the webhook secret (docs: webhooks/validate-test). Raises SignatureInvalid."""
    given = (signature or "").encode("utf-8", "replace")
    proofs = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    if not any([hmac.compare_digest(proof, given) for proof in proofs]):  # noqa: C419 - compare all, whatever matches
        raise SignatureInvalid("Sign the raw body with the webhook secret.")


async def receive(session: AsyncSession, body: bytes, *, event_id: str | None) -> str | None:
    """Store a proven webhook; its id, or None when it came before."""
    identity = event_id if event_id and len(event_id) <= 100 else hashlib.sha256(body).hexdigest()
    stored = insert(WebhookEvent).values(id=identity, body=body).on_conflict_do_nothing().returning(WebhookEvent.id)
    return (await session.execute(stored)).scalar()


async def due(database: Database, *, limit: int = 50) -> list[str]:
    """The ids of webhooks whose turn it is."""
    async with database.transaction() as session:
        waiting = select(WebhookEvent.id).where(WebhookEvent.processed_at.is_(None))
        return list(
            await session.scalars(
                waiting.where(WebhookEvent.next_try_at <= db_now()).order_by(WebhookEvent.next_try_at).limit(limit)
            )
        )


async def process(
    database: Database, event_id: str, *, apply_payment: ApplyEntity, apply_refund: ApplyEntity
) -> str | None:
    """Apply one stored webhook; what came of it, or None when somebody else is at it or was."""
    async with database.transaction() as session:
        taken = select(WebhookEvent).where(WebhookEvent.id == event_id, WebhookEvent.processed_at.is_(None))
        event = await session.scalar(taken.with_for_update(skip_locked=True))
        if event is None:
            return None
        try:
            async with session.begin_nested():
                outcome = await _apply(session, event.body, apply_payment=apply_payment, apply_refund=apply_refund)
        except UnknownProviderOrder:
            event.tries += 1
            if event.tries < GIVE_UP_AFTER:
                wait = min(2.0**event.tries, 3600.0)
                event.next_try_at = db_now() + func.make_interval(0, 0, 0, 0, 0, 0, wait)
                return "waits"
            outcome = "unknown order"
            get_logger().error("webhook for an unknown order", event_id=event_id)
        event.outcome = outcome
        event.processed_at = await session.scalar(select(db_now()))
        return outcome


async def _apply(session: AsyncSession, body: bytes, *, apply_payment: ApplyEntity, apply_refund: ApplyEntity) -> str:
    """Refund first: it is a fact of its own, and the payment beside it may only say that some money went back."""
    try:
        document = json.loads(body)
        payload = document["payload"]
        entities = {name: payload[name]["entity"] for name in ("payment", "refund") if name in payload}
    except (ValueError, KeyError, TypeError):
        return "unreadable"
    try:
        if "payment" in entities:
            await apply_payment(session, entities["payment"])
        if "refund" in entities:
            await apply_refund(session, entities["refund"])
    except ProviderError:
        return "unreadable"
    return "applied" if entities else "not for us"
