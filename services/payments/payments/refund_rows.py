"""The rows of refunds in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from chassis.ids import new_id
from payments.attempt_rows import ATTEMPT
from payments.ledger import Totals
from payments.models import Attempt, Payment, Refund, RefundKind, RefundStatus
from payments.payment_rows import PAYMENT, Rows, payment_from

REFUND = ", ".join(f"refunds.{column.key}" for column in Refund.__mapper__.columns)

_ADD = """
WITH added AS (
    INSERT INTO refunds (
        id, attempt_id, kind, amount, reason, status, provider_refund_id, body, next_try_at, requested_by
    )
    VALUES ($1, $2, $3, $4, $5, $6::text, $7, $8, coalesce($9, clock_timestamp()), $10)
    RETURNING id, tries, next_try_at, created_at
), noted AS (
    INSERT INTO refund_history (id, refund_id, status) SELECT $11, id, $6::text FROM added
)
SELECT tries, next_try_at, created_at FROM added"""

_MOVE = """
WITH moved AS (
    UPDATE refunds SET status = $2::text WHERE id = $1 RETURNING id
)
INSERT INTO refund_history (id, refund_id, status) SELECT $3, id, $2::text FROM moved"""

_LOCK_OF_REFUND = f"""
SELECT {PAYMENT} FROM payments JOIN attempts ON attempts.payment_id = payments.id
JOIN refunds ON refunds.attempt_id = attempts.id
WHERE refunds.id = $1 FOR UPDATE OF payments"""  # noqa: S608 - column names of our own

_ATTEMPT_OF = f"SELECT {ATTEMPT} FROM attempts JOIN refunds ON attempt_id = attempts.id WHERE refunds.id = $1"  # noqa: S608 - as above

_REFUND = f"SELECT {REFUND} FROM refunds WHERE id = $1"  # noqa: S608 - as above

_GIVEN_BACK = "SELECT coalesce(sum(amount), 0)::bigint FROM refunds WHERE attempt_id = $1 AND status <> 'failed'"

_RETURNS = "SELECT count(*) FROM refunds WHERE attempt_id = $1 AND kind = 'return'"

_TOTALS = """
SELECT
    (SELECT coalesce(sum(captured), 0) FROM attempts WHERE payment_id = $1)::bigint,
    coalesce(sum(refunds.amount) FILTER (WHERE refunds.status = 'processed'), 0)::bigint,
    coalesce(sum(refunds.amount) FILTER (WHERE refunds.status IN ('requested', 'submitted')), 0)::bigint
FROM refunds JOIN attempts ON attempts.id = attempt_id WHERE payment_id = $1"""

_AMONG = f"SELECT {REFUND} FROM refunds WHERE id = ANY ($1::uuid[]) LIMIT 1"  # noqa: S608 - as above

_NAMED = f"SELECT {REFUND} FROM refunds WHERE provider_refund_id = $1"  # noqa: S608 - as above

_UNNAMED = f"""
SELECT {REFUND} FROM refunds
WHERE attempt_id = $1 AND provider_refund_id IS NULL AND status IN ('requested', 'submitted')
ORDER BY created_at"""  # noqa: S608 - as above

_NAME = "UPDATE refunds SET provider_refund_id = $2 WHERE id = $1"

_KEEP_TURN = "UPDATE refunds SET tries = $2, next_try_at = $3 WHERE id = $1"

_KEEP_ERROR = "UPDATE refunds SET last_error = $2 WHERE id = $1"

_DUE = """
SELECT id FROM refunds WHERE status IN ('requested', 'submitted') AND next_try_at <= clock_timestamp()
ORDER BY next_try_at LIMIT $1"""


class RefundRows(Rows):
    """Implements `RefundBook`."""

    async def add_refund(self, refund: Refund) -> None:
        """One statement."""
        row = await (await self.connection()).fetchrow(
            _ADD,
            refund.id,
            refund.attempt_id,
            refund.kind,
            refund.amount,
            refund.reason,
            refund.status,
            refund.provider_refund_id,
            refund.body,
            refund.next_try_at,
            refund.requested_by,
            new_id(),
        )
        for name, value in row.items():
            setattr(refund, name, value)

    async def move_refund(self, refund: Refund, status: RefundStatus) -> None:
        """One statement."""
        refund.status = status
        await (await self.connection()).execute(_MOVE, refund.id, status, new_id())

    async def lock_refund(self, refund_id: UUID) -> tuple[Payment, Attempt, Refund]:
        """What is below the payment is read after its lock."""
        connection = await self.connection()
        payment = payment_from(await connection.fetchrow(_LOCK_OF_REFUND, refund_id))
        attempt = Attempt(**await connection.fetchrow(_ATTEMPT_OF, refund_id))
        return payment, attempt, _refund(await connection.fetchrow(_REFUND, refund_id))

    async def given_back(self, attempt_id: UUID) -> int:
        """One statement."""
        return int(await (await self.connection()).fetchval(_GIVEN_BACK, attempt_id))

    async def returns(self, attempt_id: UUID) -> int:
        """One statement."""
        return int(await (await self.connection()).fetchval(_RETURNS, attempt_id))

    async def totals(self, payment_id: UUID) -> Totals:
        """One statement."""
        return Totals(*await (await self.connection()).fetchrow(_TOTALS, payment_id))

    async def refund_among(self, refund_ids: Collection[UUID]) -> Refund | None:
        """By its key."""
        row = await (await self.connection()).fetchrow(_AMONG, list(refund_ids))
        return None if row is None else _refund(row)

    async def refund_named(self, provider_refund_id: str) -> Refund | None:
        """By a unique index."""
        row = await (await self.connection()).fetchrow(_NAMED, provider_refund_id)
        return None if row is None else _refund(row)

    async def unnamed_refunds(self, attempt_id: UUID) -> Sequence[Refund]:
        """By an index."""
        return [_refund(row) for row in await (await self.connection()).fetch(_UNNAMED, attempt_id)]

    async def name_refund(self, refund: Refund, provider_refund_id: str) -> None:
        """One statement."""
        refund.provider_refund_id = provider_refund_id
        await (await self.connection()).execute(_NAME, refund.id, provider_refund_id)

    async def keep_turn(self, refund: Refund) -> None:
        """One statement."""
        await (await self.connection()).execute(_KEEP_TURN, refund.id, refund.tries, refund.next_try_at)

    async def keep_error(self, refund: Refund, error: str) -> None:
        """One statement."""
        await (await self.connection()).execute(_KEEP_ERROR, refund.id, error)

    async def due_refunds(self, *, limit: int) -> Sequence[UUID]:
        """By a partial index."""
        return [row["id"] for row in await (await self.connection()).fetch(_DUE, limit)]


def _refund(row: Mapping[str, Any]) -> Refund:
    columns = dict(row)
    kind, status = RefundKind(columns["kind"]), RefundStatus(columns["status"])
    return Refund(**{**columns, "kind": kind, "status": status})
