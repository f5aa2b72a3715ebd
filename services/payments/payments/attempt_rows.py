"""The rows of attempts and observations in PostgreSQL: every purchase is observed several times."""

import json
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from chassis.ids import new_id
from chassis.telemetry import causation_id
from payments.models import Attempt, Payment, Rank
from payments.payment_rows import PAYMENT, Rows, payment_from

ATTEMPT = ", ".join(f"attempts.{column.key}" for column in Attempt.__mapper__.columns)

_ATTEMPT = f"SELECT {ATTEMPT} FROM attempts WHERE id = $1"  # noqa: S608 - column names of our own

_LOCK_OF_ATTEMPT = f"""
SELECT {PAYMENT} FROM payments JOIN attempts ON attempts.payment_id = payments.id
WHERE attempts.id = $1 FOR UPDATE OF payments"""  # noqa: S608 - as above

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
INSERT INTO observations (id, attempt_id, source, rank, applied, raw, webhook_id)
VALUES ($15, $1, $16, $17, $18, $19, $20)"""

_CAPTURED = f"SELECT {ATTEMPT} FROM attempts WHERE payment_id = $1 AND captured > 0 ORDER BY captured_at"  # noqa: S608 - as above

_HAS_UNDECIDED = """
SELECT EXISTS (
    SELECT FROM attempts
    WHERE payment_id = $1 AND rank IN ($2, $3) AND first_seen_at > clock_timestamp() - make_interval(secs => $4)
)"""

_MARK_TO_RETURN = "UPDATE attempts SET to_return = $2 WHERE id = $1"

_LOOKED_AT = "UPDATE attempts SET refunds_checked = greatest(refunds_checked, $2) WHERE id = $1"

_CAPTURABLE = """
SELECT provider_payment_id FROM attempts JOIN payments ON payments.id = payment_id
WHERE payments.status = 'open' AND rank = $1 AND changed_at < clock_timestamp() - $2::interval
ORDER BY changed_at, attempts.id LIMIT $3 OFFSET $4"""

_CAN_BE_CAPTURED = """
SELECT EXISTS (
    SELECT FROM attempts JOIN payments ON payments.id = payment_id
    WHERE payments.status = 'open' AND rank = $1 AND provider_payment_id = $2
)"""

_WITH_REST = """
SELECT id FROM attempts WHERE to_return IS NOT NULL AND captured - (
    SELECT coalesce(sum(amount), 0) FROM refunds WHERE attempt_id = attempts.id AND status <> 'failed'
) >= $1 ORDER BY first_seen_at LIMIT $2"""

_RESTS_BELOW = """
SELECT count(*) FROM attempts WHERE to_return IS NOT NULL AND captured - (
    SELECT coalesce(sum(amount), 0) FROM refunds WHERE attempt_id = attempts.id AND status <> 'failed'
) BETWEEN 1 AND $1 - 1"""

_WITH_UNSEEN = """
SELECT id FROM attempts WHERE refunds_seen > refunds_checked AND captured > 0
ORDER BY first_seen_at, id LIMIT $1 OFFSET $2"""

_OURS = "SELECT provider_order_id FROM provider_orders WHERE provider_order_id = ANY ($1::text[])"

_KNOWN = "SELECT provider_payment_id, rank, refunds_seen FROM attempts WHERE provider_payment_id = ANY ($1::text[])"


class AttemptRows(Rows):
    """Implements `AttemptBook`."""

    async def find_attempt(self, attempt_id: UUID) -> Attempt | None:
        """By its key."""
        row = await (await self.connection()).fetchrow(_ATTEMPT, attempt_id)
        return None if row is None else Attempt(**row)

    async def lock_attempt(self, attempt_id: UUID) -> tuple[Payment, Attempt] | None:
        """Read after the lock: read with it, the attempt could be from before somebody's commit."""
        connection = await self.connection()
        row = await connection.fetchrow(_LOCK_OF_ATTEMPT, attempt_id)
        if row is None:
            return None
        return payment_from(row), Attempt(**await connection.fetchrow(_ATTEMPT, attempt_id))

    async def keep(self, attempt: Attempt, *, source: str, rank: Rank, applied: bool, raw: dict[str, Any]) -> None:
        """One statement."""
        await (await self.connection()).execute(
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
            (causation_id.get() or None) if source == "webhook" else None,
        )

    async def captured_attempts(self, payment_id: UUID) -> Sequence[Attempt]:
        """By an index."""
        return [Attempt(**row) for row in await (await self.connection()).fetch(_CAPTURED, payment_id)]

    async def has_undecided(self, payment_id: UUID, *, within: float) -> bool:
        """One statement."""
        connection = await self.connection()
        return bool(await connection.fetchval(_HAS_UNDECIDED, payment_id, Rank.CREATED, Rank.AUTHORIZED, within))

    async def mark_to_return(self, attempt: Attempt, *, reason: str) -> None:
        """One statement."""
        attempt.to_return = reason
        await (await self.connection()).execute(_MARK_TO_RETURN, attempt.id, reason)

    async def refunds_looked_at(self, attempt_id: UUID, *, up_to: int) -> None:
        """One statement."""
        await (await self.connection()).execute(_LOOKED_AT, attempt_id, up_to)

    async def capturable(self, *, unchanged_for: timedelta, limit: int, skip: int = 0) -> Sequence[str]:
        """One statement."""
        rows = await (await self.connection()).fetch(_CAPTURABLE, Rank.AUTHORIZED, unchanged_for, limit, skip)
        return [row["provider_payment_id"] for row in rows]

    async def can_be_captured(self, provider_payment_id: str) -> bool:
        """One statement."""
        connection = await self.connection()
        return bool(await connection.fetchval(_CAN_BE_CAPTURED, Rank.AUTHORIZED, provider_payment_id))

    async def with_rest_to_return(self, *, at_least: int, limit: int) -> Sequence[UUID]:
        """By a partial index."""
        return [row["id"] for row in await (await self.connection()).fetch(_WITH_REST, at_least, limit)]

    async def rests_below(self, smallest: int) -> int:
        """By a partial index."""
        return int(await (await self.connection()).fetchval(_RESTS_BELOW, smallest))

    async def with_unseen_refunds(self, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """By a partial index."""
        return [row["id"] for row in await (await self.connection()).fetch(_WITH_UNSEEN, limit, skip)]

    async def known_among(
        self, *, provider_order_ids: Collection[str | None], provider_payment_ids: Collection[str]
    ) -> tuple[set[str], dict[str, tuple[int, int]]]:
        """Two statements."""
        connection = await self.connection()
        ours = {row["provider_order_id"] for row in await connection.fetch(_OURS, list(provider_order_ids))}
        known = await connection.fetch(_KNOWN, list(provider_payment_ids))
        return ours, {row["provider_payment_id"]: (row["rank"], row["refunds_seen"]) for row in known}
