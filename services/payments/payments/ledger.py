"""The rows that an observation reads and writes, sent to the driver directly: every purchase is observed several times.

What is read here are copies that no session watches: whoever changes one writes it with a function of this module.
"""

import json
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.ids import new_id
from chassis.plain_sql import driver_connection
from payments.models import Attempt, Payment, PaymentStatus

# By name and not `*`: a column that a later version adds must not surprise this one during an upgrade.
_PAYMENT_COLUMNS = ", ".join(f"payments.{column.key}" for column in Payment.__mapper__.columns)
_ATTEMPT_COLUMNS = ", ".join(column.key for column in Attempt.__mapper__.columns)

_LOCK_PAYMENT = f"""
SELECT clock_timestamp() AS now, {_PAYMENT_COLUMNS}
FROM payments JOIN provider_orders ON provider_orders.payment_id = payments.id
WHERE provider_order_id = $1 FOR UPDATE OF payments"""  # noqa: S608 - column names of our own

_ATTEMPT = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE id = $1"  # noqa: S608 - as above

_KEEP = """
WITH kept AS (
    INSERT INTO attempts (
        id, payment_id, provider_order_id, provider_payment_id, rank, method, amount, currency, captured, captured_at,
        error_code, error_description, refunds_seen, changed_at
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (id) DO UPDATE SET
        rank = excluded.rank, method = excluded.method, amount = excluded.amount, currency = excluded.currency,
        captured = excluded.captured, captured_at = excluded.captured_at, error_code = excluded.error_code,
        error_description = excluded.error_description, refunds_seen = excluded.refunds_seen,
        changed_at = excluded.changed_at
    WHERE (attempts.rank, attempts.captured, attempts.refunds_seen)
        <> (excluded.rank, excluded.captured, excluded.refunds_seen)
)
INSERT INTO observations (id, attempt_id, source, rank, applied, raw) VALUES ($15, $1, $16, $17, $18, $19)"""

_SETTLE = """
WITH settled AS (
    UPDATE payments SET status = 'settled', version = $2 WHERE id = $1 RETURNING id
)
INSERT INTO payment_history (id, payment_id, status, cause) SELECT $3, id, 'settled', $4 FROM settled"""

_KEEP_VERSION = "UPDATE payments SET version = $2 WHERE id = $1"


async def lock_payment_of(session: AsyncSession, provider_order_id: str | None) -> tuple[Payment, datetime] | None:
    """The payment, locked and as it is now, and the database's time."""
    connection = await driver_connection(session)
    row = await connection.fetchrow(_LOCK_PAYMENT, provider_order_id)
    if row is None:
        return None
    columns = dict(row)
    now = columns.pop("now")
    return Payment(**{**columns, "status": PaymentStatus(columns["status"])}), now


async def attempt_below_lock(session: AsyncSession, provider_payment_id: str) -> Attempt | None:
    """An attempt, if it is known. Read after the lock: read with it, it could be from before somebody's commit."""
    connection = await driver_connection(session)
    row = await connection.fetchrow(_ATTEMPT, Attempt.id_for(provider_payment_id))
    return None if row is None else Attempt(**row)


async def keep(
    session: AsyncSession, attempt: Attempt, *, source: str, rank: int, applied: bool, raw: dict[str, Any]
) -> None:
    """Write an attempt, new or changed, and what was observed of it."""
    connection = await driver_connection(session)
    await connection.execute(
        _KEEP,
        attempt.id,
        attempt.payment_id,
        attempt.provider_order_id,
        attempt.provider_payment_id,
        attempt.rank,
        attempt.method,
        attempt.amount,
        attempt.currency,
        attempt.captured,
        attempt.captured_at,
        attempt.error_code,
        attempt.error_description,
        attempt.refunds_seen,
        attempt.changed_at,
        new_id(),
        source,
        rank,
        applied,
        json.dumps(raw),
    )


async def settle(session: AsyncSession, payment: Payment, *, cause: str) -> None:
    """The payment is SETTLED from now on, at its version."""
    connection = await driver_connection(session)
    await connection.execute(_SETTLE, payment.id, payment.version, new_id(), cause)


async def keep_version(session: AsyncSession, payment: Payment) -> None:
    """The version that the last report was sent with."""
    connection = await driver_connection(session)
    await connection.execute(_KEEP_VERSION, payment.id, payment.version)
