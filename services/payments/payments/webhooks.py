"""The provider's calls: prove, store, answer; then process what was stored, as often as it takes.

1. `prove` checks the signature over the raw bytes with both secrets and `receive` stores the body under its event id,
   and that is all that happens before the answer: Razorpay gives five seconds, and disables slow addresses.
2. `Processing` takes one stored webhook at a time in a transaction of its own and applies it: at once, or when its
   turn comes. What belongs to an order that is not known (yet) is kept and tried again, with growing pauses.

The claim on the stored webhook comes before the payment's row lock; nobody who holds a payment waits for a webhook.
"""

import asyncio
import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database, db_now
from chassis.jobs import JobOutcome
from chassis.plain_sql import begin_with, driver_connection, row_of_literals
from chassis.strict import Unreadable, decode_json
from chassis.telemetry import causation_id, get_logger
from payments.attempts import UnknownProviderOrder
from payments.errors import SignatureInvalid
from payments.models import WebhookEvent, clock
from payments.provider import ProviderError

MAX_BODY = 256 * 1024
GIVE_UP_AFTER = 60
"""Tries, the later ones an hour apart, before a webhook for an unknown order is left to people."""

AT_ONCE = 2
"""Webhooks applied at the same time, so that a burst of them leaves connections for requests."""

_APPLIED, _FAILED = "applied", "failed"

_STORE = "INSERT INTO webhook_events (id, body) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"

# Claimed and marked in one: should applying it fail, the mark is rolled back with the rest.
_FINISH = """
UPDATE webhook_events SET processed_at = clock_timestamp(), outcome = 'applied'
WHERE id = (SELECT id FROM webhook_events WHERE id = {} AND processed_at IS NULL FOR UPDATE SKIP LOCKED)"""

_CORRECT = "UPDATE webhook_events SET outcome = $2 WHERE id = $1"

ApplyEntity = Callable[[AsyncSession, Any], Awaitable[None]]


def prove(body: bytes, *, signature: str | None, secrets: tuple[str, ...]) -> None:
    """Razorpay signs the raw body with the webhook secret (docs: webhooks/validate-test). Raises SignatureInvalid."""
    given = (signature or "").encode("utf-8", "replace")
    proofs = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    if not any([hmac.compare_digest(proof, given) for proof in proofs]):  # noqa: C419 - compare all, whatever matches
        raise SignatureInvalid("Sign the raw body with the webhook secret.")


async def receive(session: AsyncSession, body: bytes, *, event_id: str | None) -> str | None:
    """Store a proven webhook; its id, or None when it came before."""
    identity = event_id if event_id and len(event_id) <= 100 else hashlib.sha256(body).hexdigest()
    connection = await driver_connection(session)
    return identity if await connection.fetchval(_STORE, identity, body) else None


@dataclass
class Processing:
    """Works on stored webhooks, behind the answers."""

    database: Database
    apply_payment: ApplyEntity
    apply_refund: ApplyEntity
    account_id: str = ""
    """Ours at the provider, if webhooks of others are to be told apart."""
    _under_way: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE), init=False)

    def soon(self, event_id: str, body: bytes) -> None:
        """At once, but after the answer; should this process end first, its turn comes by the clock."""
        task = asyncio.create_task(self._process(event_id, body))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def settle(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def process_due(self, *, limit: int = 50) -> JobOutcome:
        """Every stored webhook whose turn it is. Unresolved: those that failed, also while their next turn is far."""
        async with self.database.transaction() as session:
            due = select(WebhookEvent.id, WebhookEvent.body).where(
                WebhookEvent.processed_at.is_(None), WebhookEvent.next_try_at <= db_now()
            )
            waiting = (await session.execute(due.order_by(WebhookEvent.next_try_at).limit(limit))).all()
        for event_id, body in waiting:
            await self._process(event_id, body)
        failed = select(func.count()).where(WebhookEvent.processed_at.is_(None), WebhookEvent.outcome == _FAILED)
        async with self.database.transaction() as session:
            unresolved = (await session.scalars(failed)).one()
        return JobOutcome(found=len(waiting), unresolved=unresolved)

    async def _process(self, event_id: str, body: bytes) -> None:
        # What is observed and published meanwhile names this webhook as its cause.
        cause = causation_id.set(event_id)
        try:
            async with self._turns:
                await self._attempt(event_id, body)
        except Exception as error:  # noqa: BLE001 - it stays stored as it was, and its turn comes again
            get_logger().warning("webhook not processed", event_id=event_id, error=repr(error))
        finally:
            causation_id.reset(cause)

    async def _attempt(self, event_id: str, body: bytes) -> None:
        try:
            async with self.database.transaction() as session:
                is_mine = await begin_with(session, _FINISH.format(row_of_literals((event_id,)))) == "UPDATE 1"
                if is_mine and (outcome := await self._apply(session, body)) != _APPLIED:
                    connection = await driver_connection(session)
                    await connection.execute(_CORRECT, event_id, outcome)
        except UnknownProviderOrder:
            await self._postpone(event_id, outcome="unknown order", give_up_after=GIVE_UP_AFTER)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one must not make it come every second
            get_logger().error("webhook failed", event_id=event_id, error=repr(error))
            await self._postpone(event_id, outcome=_FAILED)

    async def _postpone(self, event_id: str, *, outcome: str, give_up_after: float = math.inf) -> None:
        """What was begun for it is rolled back by now; its next turn comes later than the last one did."""
        async with self.database.transaction() as session:
            event = await _taken(session, event_id)
            if event is None:
                return
            event.outcome = outcome
            if event.tries >= give_up_after:
                event.processed_at = db_now()
                get_logger().error("webhook for an unknown order", event_id=event_id)
                return
            event.tries += 1
            pause = min(timedelta(seconds=2 ** min(event.tries, 12)), timedelta(hours=1))
            event.next_try_at = await clock(session) + pause

    async def _apply(self, session: AsyncSession, body: bytes) -> str:
        """Payment first: a refund belongs to an attempt, which this webhook may be the first to tell of."""
        try:
            document = decode_json(body)
            payload = document["payload"]
            if not isinstance(payload, dict):
                return "unreadable"
            entities = {name: payload[name]["entity"] for name in ("payment", "refund") if name in payload}
            if self.account_id and document.get("account_id") != self.account_id:
                return "another merchant's"
            if "payment" in entities:
                await self.apply_payment(session, entities["payment"])
            if "refund" in entities:
                await self.apply_refund(session, entities["refund"])
        except (Unreadable, KeyError, TypeError, AttributeError, ProviderError) as error:
            get_logger().warning("webhook unreadable", error=repr(error)[:300])
            return "unreadable"
        return _APPLIED if entities else "not for us"


_TAKE = (
    select(WebhookEvent)
    .where(WebhookEvent.id == bindparam("event_id"), WebhookEvent.processed_at.is_(None))
    .with_for_update(skip_locked=True)
)


async def _taken(session: AsyncSession, event_id: str) -> WebhookEvent | None:
    """The stored webhook, locked; None when somebody else is at it, or was."""
    return (await session.execute(_TAKE, {"event_id": event_id})).scalar_one_or_none()
