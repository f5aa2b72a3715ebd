"""The rows of a payment until it is open: every step is one statement that locks it, changes it and notes the change.

A shopper waits for these, so they go to the driver directly.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chassis import tracing
from chassis.events import Reader
from chassis.ids import new_id
from chassis.plain_sql import driver_connection
from payments.models import Payment, PaymentStatus

NEWS_EXPECTED_WITHIN = 180.0
"""An open payment that nobody talked about for so many seconds is asked about."""


class OrderToPay(Reader):
    """What payments needs of an order, whoever tells of it."""

    user_id: UUID
    total: int
    currency: str
    pay_by: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to create the order of a payment at the provider, for a while."""

    id: UUID
    payment_id: UUID
    order_id: UUID
    amount: int
    currency: str
    receipt: str
    pay_by: datetime
    follows_another: bool
    """An earlier creation may have succeeded without our hearing of it."""
    traceparent: str | None = None
    """The trace of the order."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A payment as it stands, for whoever asks to pay it."""

    payment_id: UUID
    user_id: UUID | None
    status: PaymentStatus
    is_closing: bool
    is_over: bool
    """Its time to pay is over."""


_NOTE = """
WITH placed AS (
    INSERT INTO payments (id, order_id, user_id, status, amount, currency, receipt, pay_by, version, traceparent)
    VALUES ($1, $2, $3, 'new', $4, $5, $6, $7, 1, $9::text)
    ON CONFLICT (order_id) DO NOTHING RETURNING id
)
INSERT INTO payment_history (id, payment_id, status, cause) SELECT $8, id, 'new', 'order placed' FROM placed"""

# A shopper who was faster than the event has noted a trace of their own; the order's is the one to keep.
_NOTE_TRACED = _NOTE.replace(
    "\n)\nINSERT",
    """
), kept AS (
    UPDATE payments SET traceparent = $9 WHERE order_id = $2 AND traceparent IS DISTINCT FROM $9
)
INSERT""",
)

_TAKE_LEASE = """
WITH free AS (
    SELECT id, status FROM payments
    WHERE order_id = $1 AND user_id = $2 AND closing_at IS NULL AND pay_by > clock_timestamp()
        AND (status = 'new' OR status = 'creating' AND lease_until <= clock_timestamp())
    FOR UPDATE
), until AS (
    SELECT clock_timestamp() + make_interval(secs => $4) AS moment
), leased AS (
    UPDATE payments SET status = 'creating', lease = $3, lease_until = until.moment, next_ask_at = until.moment
    FROM free, until WHERE payments.id = free.id
    RETURNING payments.id, amount, currency, receipt, pay_by, free.status = 'creating' AS follows_another, traceparent
), noted AS (
    INSERT INTO payment_history (id, payment_id, status, cause)
    SELECT $5, id, 'creating', 'shopper wants to pay' FROM leased
)
SELECT * FROM leased"""

_STANDING = """
SELECT id, user_id, status, closing_at IS NOT NULL, coalesce(pay_by < clock_timestamp(), false)
FROM payments WHERE order_id = $1"""

_ADOPT = """
WITH payment AS (
    SELECT id, closing_at IS NULL AS is_wanted, status = 'creating' AND lease = coalesce($3, lease) AS is_awaited
    FROM payments WHERE id = $1 FOR UPDATE
), linked AS (
    INSERT INTO provider_orders (provider_order_id, payment_id)
    SELECT found, payment.id FROM payment, unnest($2::text[]) AS found
    ON CONFLICT DO NOTHING
), moved AS (
    UPDATE payments SET
        status = CASE WHEN is_wanted THEN 'open' ELSE 'closing' END,
        next_ask_at = clock_timestamp() + CASE WHEN is_wanted THEN make_interval(secs => $4) ELSE interval '0' END
    FROM payment WHERE payments.id = payment.id AND is_awaited
    RETURNING payments.id, status, is_wanted, pay_by > clock_timestamp() AS has_time
), noted AS (
    INSERT INTO payment_history (id, payment_id, status, cause)
    SELECT $5, id, status, CASE WHEN is_wanted THEN 'provider order made' ELSE 'provider order made while closing' END
    FROM moved
)
SELECT is_wanted AND has_time FROM moved"""


async def note_placed(session: AsyncSession, order_id: UUID, order: OrderToPay) -> None:
    """There is something to pay. Changes nothing where the payment is known, or is a tombstone."""
    payment_id = new_id()
    receipt = Payment.receipt_for(payment_id)
    connection = await driver_connection(session)
    trace = tracing.current() or None
    facts = (order.user_id, order.total, order.currency, receipt, order.pay_by)
    await connection.execute(_NOTE_TRACED if trace else _NOTE, payment_id, order_id, *facts, new_id(), trace)


async def take_lease(session: AsyncSession, order_id: UUID, *, user_id: UUID, seconds: float) -> Lease | None:
    """None while somebody else has it, or when there is nothing that this user may still open."""
    lease_id = new_id()
    connection = await driver_connection(session)
    row = await connection.fetchrow(_TAKE_LEASE, order_id, user_id, lease_id, seconds, new_id())
    if row is None:
        return None
    payment_id, amount, currency, receipt, pay_by, follows_another, trace = row
    return Lease(lease_id, payment_id, order_id, amount, currency, receipt, pay_by, follows_another, trace)


async def standing(session: AsyncSession, order_id: UUID) -> Standing | None:
    """The payment of an order, if payments has heard of the order."""
    connection = await driver_connection(session)
    row = await connection.fetchrow(_STANDING, order_id)
    if row is None:
        return None
    payment_id, user_id, status, is_closing, is_over = row
    return Standing(payment_id, user_id, PaymentStatus(status), is_closing, is_over)


async def adopt(session: AsyncSession, payment_id: UUID, provider_order_ids: list[str], *, lease: UUID | None) -> bool:
    """Link provider orders to their payment: the first answer opens it, a late one is watched like the first.

    Whether this opened it, and it can be paid now.
    """
    connection = await driver_connection(session)
    values = (payment_id, provider_order_ids, lease, NEWS_EXPECTED_WITHIN, new_id())
    return bool(await connection.fetchval(_ADOPT, *values))
