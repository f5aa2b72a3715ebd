"""The rows of payments and provider orders in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.ids import new_id
from chassis.plain_sql import driver_connection
from payments import opening
from payments.ledger import Due
from payments.models import Payment, PaymentStatus
from payments.opening import Lease, OrderToPay, Standing

NO_CURRENCY = "XXX"
"""ISO 4217 for a transaction without one: a tombstone does not know what was to be paid."""

# By name and not `*`: a column that a later version adds must not surprise this one during an upgrade.
PAYMENT = ", ".join(f"payments.{column.key}" for column in Payment.__mapper__.columns)

_LOCK = f"SELECT {PAYMENT} FROM payments WHERE id = $1 FOR UPDATE"  # noqa: S608 - column names of our own

_LOCK_AT = f"""
SELECT clock_timestamp() AS now, {PAYMENT}
FROM payments JOIN provider_orders ON provider_orders.payment_id = payments.id
WHERE provider_order_id = $1 FOR UPDATE OF payments"""  # noqa: S608 - as above

_LOCK_OF_ORDER = f"SELECT {PAYMENT} FROM payments WHERE order_id = $1 FOR UPDATE"  # noqa: S608 - as above

_TOMBSTONE = """
INSERT INTO payments (id, order_id, status, amount, currency, receipt, version) VALUES ($1, $2, 'new', 0, $3, $4, 0)
ON CONFLICT (order_id) DO NOTHING"""

_NOTE_OWNERLESS = """
WITH noted AS (
    INSERT INTO payments (id, order_id, status, amount, currency, receipt, version)
    VALUES ($1, $2, 'closed', $3, $4, $5, 0) ON CONFLICT (order_id) DO NOTHING RETURNING id
)
INSERT INTO payment_history (id, payment_id, status, cause) SELECT $6, id, 'closed', 'its order is lost' FROM noted"""

_KEEP_ORDER = "UPDATE payments SET user_id = $2, amount = $3, currency = $4, pay_by = $5 WHERE id = $1"

_MOVE = """
WITH moved AS (
    UPDATE payments SET status = $2::text, version = $3 WHERE id = $1 RETURNING id
)
INSERT INTO payment_history (id, payment_id, status, cause) SELECT $4, id, $2::text, $5 FROM moved"""

_KEEP_VERSION = "UPDATE payments SET version = $2 WHERE id = $1"

_BEGIN_CLOSING = "UPDATE payments SET closing_at = now, next_ask_at = now FROM clock_timestamp() AS now WHERE id = $1"

_END_LEASE = "UPDATE payments SET lease_until = now, next_ask_at = now FROM clock_timestamp() AS now WHERE id = $1"

_PAYMENT_AT = "SELECT payment_id FROM provider_orders WHERE provider_order_id = $1"

_PROVIDER_ORDERS = "SELECT provider_order_id FROM provider_orders WHERE payment_id = $1 ORDER BY first_seen_at"

_LONG_OVERDUE = """
SELECT order_id FROM payments WHERE status IN ('creating', 'open') AND pay_by < clock_timestamp() - $1::interval
ORDER BY pay_by, id LIMIT $2 OFFSET $3"""


def _take_due(condition: str) -> str:
    """With the status in the text, so that the partial index of what is due serves it."""
    return f"""
WITH chosen AS (
    SELECT id, next_ask_at AS since FROM payments WHERE {condition} AND next_ask_at <= clock_timestamp()
    ORDER BY next_ask_at LIMIT $2 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE payments SET next_ask_at = clock_timestamp() + $1::interval
    FROM chosen WHERE payments.id = chosen.id RETURNING payments.id, receipt, since
)
SELECT id, receipt FROM taken ORDER BY since"""  # noqa: S608 - conditions of our own


_TAKE_DUE = {
    PaymentStatus.CREATING: _take_due("status = 'creating' AND lease_until <= clock_timestamp()"),
    PaymentStatus.OPEN: _take_due("status = 'open'"),
    PaymentStatus.CLOSING: _take_due("status = 'closing'"),
}


def payment_from(row: Mapping[str, Any]) -> Payment:
    """A copy of the row that no session watches."""
    columns = dict(row)
    return Payment(**{**columns, "status": PaymentStatus(columns["status"])})


class Rows:
    """Rows within a session's transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def connection(self) -> Any:
        """The driver's connection."""
        return await driver_connection(self.session)


class PaymentRows(Rows):
    """Implements `PaymentBook`."""

    async def note_placed(self, order_id: UUID, order: OrderToPay) -> None:
        """One statement."""
        await opening.note_placed(self.session, order_id, order)

    async def note_ownerless(self, order_id: UUID, *, amount: int, currency: str) -> None:
        """One statement."""
        payment_id = new_id()
        values = (payment_id, order_id, amount, currency, Payment.receipt_for(payment_id), new_id())
        await (await self.connection()).execute(_NOTE_OWNERLESS, *values)

    async def keep_order(self, payment: Payment) -> None:
        """One statement."""
        facts = (payment.user_id, payment.amount, payment.currency, payment.pay_by)
        await (await self.connection()).execute(_KEEP_ORDER, payment.id, *facts)

    async def take_lease(self, order_id: UUID, *, user_id: UUID, seconds: float) -> Lease | None:
        """One statement."""
        return await opening.take_lease(self.session, order_id, user_id=user_id, seconds=seconds)

    async def standing(self, order_id: UUID) -> Standing | None:
        """One statement."""
        return await opening.standing(self.session, order_id)

    async def adopt(self, payment_id: UUID, provider_order_ids: list[str], *, lease: UUID | None) -> bool:
        """One statement."""
        return await opening.adopt(self.session, payment_id, provider_order_ids, lease=lease)

    async def end_lease(self, payment: Payment) -> None:
        """One statement."""
        await (await self.connection()).execute(_END_LEASE, payment.id)

    async def lock_payment(self, payment_id: UUID) -> Payment:
        """One statement."""
        return payment_from(await (await self.connection()).fetchrow(_LOCK, payment_id))

    async def lock_payment_at(self, provider_order_id: str | None) -> tuple[Payment, datetime] | None:
        """One statement."""
        row = await (await self.connection()).fetchrow(_LOCK_AT, provider_order_id)
        if row is None:
            return None
        columns = dict(row)
        now: datetime = columns.pop("now")
        return payment_from(columns), now

    async def lock_payment_or_tombstone(self, order_id: UUID) -> Payment:
        """As a rule one statement. Should `order.placed` be committed at this very moment, its payment is the one."""
        connection = await self.connection()
        row = await connection.fetchrow(_LOCK_OF_ORDER, order_id)
        if row is None:
            payment_id = new_id()
            receipt = Payment.receipt_for(payment_id)
            await connection.execute(_TOMBSTONE, payment_id, order_id, NO_CURRENCY, receipt)
            row = await connection.fetchrow(_LOCK_OF_ORDER, order_id)
        return payment_from(row)

    async def move(self, payment: Payment, status: PaymentStatus, *, cause: str) -> None:
        """One statement."""
        payment.status = status
        await (await self.connection()).execute(_MOVE, payment.id, status, payment.version, new_id(), cause)

    async def keep_version(self, payment: Payment) -> None:
        """One statement."""
        await (await self.connection()).execute(_KEEP_VERSION, payment.id, payment.version)

    async def begin_closing(self, payment: Payment) -> None:
        """One statement."""
        await (await self.connection()).execute(_BEGIN_CLOSING, payment.id)

    async def payment_id_at(self, provider_order_id: str) -> UUID | None:
        """By its key."""
        found: UUID | None = await (await self.connection()).fetchval(_PAYMENT_AT, provider_order_id)
        return found

    async def provider_orders(self, payment_id: UUID) -> Sequence[str]:
        """By an index."""
        rows = await (await self.connection()).fetch(_PROVIDER_ORDERS, payment_id)
        return [row["provider_order_id"] for row in rows]

    async def long_overdue(self, *, for_longer_than: timedelta, limit: int, skip: int = 0) -> Sequence[UUID]:
        """By the partial index of what is due."""
        rows = await (await self.connection()).fetch(_LONG_OVERDUE, for_longer_than, limit, skip)
        return [row["order_id"] for row in rows]

    async def take_due(self, status: PaymentStatus, *, again_in: timedelta, limit: int) -> Sequence[Due]:
        """One statement, which passes over what another worker has locked."""
        rows = await (await self.connection()).fetch(_TAKE_DUE[status], again_in, limit)
        return [Due(row["id"], row["receipt"]) for row in rows]
