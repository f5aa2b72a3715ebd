"""The books of payments in memory: a second implementation of `payments.ledger`, with the constraints of the tables."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.orm import configure_mappers

from chassis.events import Event
from chassis.ids import new_id
from payments.ledger import Due, Totals
from payments.models import Attempt, Payment, PaymentStatus, Rank, Refund, RefundKind, RefundStatus
from payments.opening import NEWS_EXPECTED_WITHIN, Lease, OrderToPay, Standing
from payments.payment_rows import NO_CURRENCY
from tests.simulation.clock import Clock
from tests.simulation.memory import Row, Transaction

_NEVER_SET = {"lease": None, "lease_until": None, "closing_at": None}
_NOT_FINAL = (RefundStatus.REQUESTED, RefundStatus.SUBMITTED)
configure_mappers()
_new_payment = Payment.__mapper__.class_manager.new_instance
_new_attempt = Attempt.__mapper__.class_manager.new_instance
_new_refund = Refund.__mapper__.class_manager.new_instance


class LedgerTables:
    """The committed rows."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.payments: dict[UUID, Row] = {}
        self.payment_history: list[tuple[UUID, str, str]] = []
        self.provider_orders: dict[str, tuple[UUID, datetime]] = {}
        self.attempts: dict[UUID, Row] = {}
        self.observations: list[tuple[UUID, str, int, bool]] = []
        self.refunds: dict[UUID, Row] = {}
        self.refund_history: list[tuple[UUID, str]] = []


class MemoryBook:
    """What the parts of the ledger share."""

    def __init__(self, tables: LedgerTables, transaction: Transaction) -> None:
        self.tables = tables
        self.transaction = transaction

    @property
    def now(self) -> datetime:
        """The clock of the tables."""
        return self.tables.clock.now

    def payment_of_order(self, order_id: UUID) -> Row | None:
        """By a look at all."""
        return next((row for row in self.tables.payments.values() if row["order_id"] == order_id), None)


class MemoryPayments(MemoryBook):
    """Implements `PaymentBook`."""

    async def note_placed(self, order_id: UUID, order: OrderToPay) -> None:
        """As the statement does."""
        if self.payment_of_order(order_id) is None:
            owner = {"user_id": order.user_id, "pay_by": order.pay_by, "version": 1}
            payment_id = self._add(order_id, amount=order.total, currency=order.currency, **owner)
            self._note(payment_id, PaymentStatus.NEW, "order placed")

    async def note_ownerless(self, order_id: UUID, *, amount: int, currency: str) -> None:
        """As the statement does."""
        if self.payment_of_order(order_id) is None:
            owner = {"user_id": None, "pay_by": None, "version": 0, "status": PaymentStatus.CLOSED}
            payment_id = self._add(order_id, amount=amount, currency=currency, **owner)
            self._note(payment_id, PaymentStatus.CLOSED, "its order is lost")

    async def keep_order(self, payment: Payment) -> None:
        """As the statement does."""
        facts = {name: getattr(payment, name) for name in ("user_id", "amount", "currency", "pay_by")}
        self.transaction.change(self.tables.payments, payment.id, **facts)

    async def take_lease(self, order_id: UUID, *, user_id: UUID, seconds: float) -> Lease | None:
        """As the statement does."""
        row = self.payment_of_order(order_id)
        if row is None or row["user_id"] != user_id or row["closing_at"] is not None or row["pay_by"] <= self.now:
            return None
        follows = row["status"] is PaymentStatus.CREATING
        if not (row["status"] is PaymentStatus.NEW or (follows and row["lease_until"] <= self.now)):
            return None
        lease, until = new_id(), self.now + timedelta(seconds=seconds)
        leased = {"status": PaymentStatus.CREATING, "lease": lease, "lease_until": until, "next_ask_at": until}
        self.transaction.change(self.tables.payments, row["id"], **leased)
        self._note(row["id"], PaymentStatus.CREATING, "shopper wants to pay")
        return Lease(
            lease,
            row["id"],
            order_id,
            row["amount"],
            row["currency"],
            row["receipt"],
            row["pay_by"],
            follows_another=follows,
        )

    async def standing(self, order_id: UUID) -> Standing | None:
        """As the statement does."""
        row = self.payment_of_order(order_id)
        if row is None:
            return None
        is_over = row["pay_by"] is not None and row["pay_by"] < self.now
        return Standing(row["id"], row["user_id"], row["status"], row["closing_at"] is not None, is_over)

    async def adopt(self, payment_id: UUID, provider_order_ids: list[str], *, lease: UUID | None) -> bool:
        """As the statement does."""
        row = self.tables.payments[payment_id]
        for found in provider_order_ids:
            if found not in self.tables.provider_orders:
                self.transaction.put(self.tables.provider_orders, found, (payment_id, self.now))
        if row["status"] is not PaymentStatus.CREATING or (lease or row["lease"]) != row["lease"]:
            return False
        is_wanted = row["closing_at"] is None
        status = PaymentStatus.OPEN if is_wanted else PaymentStatus.CLOSING
        ask_at = self.now + timedelta(seconds=NEWS_EXPECTED_WITHIN if is_wanted else 0)
        self.transaction.change(self.tables.payments, payment_id, status=status, next_ask_at=ask_at)
        self._note(payment_id, status, "provider order made")
        return bool(is_wanted and row["pay_by"] > self.now)

    async def end_lease(self, payment: Payment) -> None:
        """Now."""
        self.transaction.change(self.tables.payments, payment.id, lease_until=self.now, next_ask_at=self.now)

    async def lock_payment(self, payment_id: UUID) -> Payment:
        """A copy."""
        return self._copy(self.tables.payments[payment_id])

    async def lock_payment_at(self, provider_order_id: str | None) -> tuple[Payment, datetime] | None:
        """A copy."""
        found = self.tables.provider_orders.get(provider_order_id or "")
        return None if found is None else (await self.lock_payment(found[0]), self.now)

    async def lock_payment_or_tombstone(self, order_id: UUID) -> Payment:
        """A copy."""
        row = self.payment_of_order(order_id)
        if row is not None:
            return self._copy(row)
        payment_id = self._add(order_id, user_id=None, amount=0, currency=NO_CURRENCY, pay_by=None, version=0)
        return self._copy(self.tables.payments[payment_id])

    async def move(self, payment: Payment, status: PaymentStatus, *, cause: str) -> None:
        """With its line of history."""
        payment.status = status
        self.transaction.change(self.tables.payments, payment.id, status=status, version=payment.version)
        self._note(payment.id, status, cause)

    async def keep_version(self, payment: Payment) -> None:
        """That alone."""
        self.transaction.change(self.tables.payments, payment.id, version=payment.version)

    async def begin_closing(self, payment: Payment) -> None:
        """Now."""
        self.transaction.change(self.tables.payments, payment.id, closing_at=self.now, next_ask_at=self.now)

    async def payment_id_at(self, provider_order_id: str) -> UUID | None:
        """By its key."""
        found = self.tables.provider_orders.get(provider_order_id)
        return found[0] if found else None

    async def provider_orders(self, payment_id: UUID) -> Sequence[str]:
        """In the order of their coming."""
        return [name for name, (owner, _) in self.tables.provider_orders.items() if owner == payment_id]

    async def long_overdue(self, *, for_longer_than: timedelta, limit: int, skip: int = 0) -> Sequence[UUID]:
        """As the statement does."""
        to_pay, since = (PaymentStatus.CREATING, PaymentStatus.OPEN), self.now - for_longer_than
        rows = [row for row in self.tables.payments.values() if row["status"] in to_pay and row["pay_by"] < since]
        return [row["order_id"] for row in sorted(rows, key=lambda row: (row["pay_by"], row["id"]))[skip:][:limit]]

    async def take_due(self, status: PaymentStatus, *, again_in: timedelta, limit: int) -> Sequence[Due]:
        """As the statement does."""
        due = [
            row
            for row in self.tables.payments.values()
            if row["status"] is status
            and row["next_ask_at"] <= self.now
            and (status is not PaymentStatus.CREATING or row["lease_until"] <= self.now)
        ]
        due = sorted(due, key=lambda row: row["next_ask_at"])[:limit]
        for row in due:
            self.transaction.change(self.tables.payments, row["id"], next_ask_at=self.now + again_in)
        return [Due(row["id"], row["receipt"]) for row in due]

    def _add(self, order_id: UUID, **columns: Any) -> UUID:
        payment_id = new_id()
        row = {
            **_NEVER_SET,
            "id": payment_id,
            "order_id": order_id,
            "status": PaymentStatus.NEW,
            "receipt": Payment.receipt_for(payment_id),
            "next_ask_at": self.now,
            "created_at": self.now,
            **columns,
        }
        self.transaction.put(self.tables.payments, payment_id, row)
        return payment_id

    def _note(self, payment_id: UUID, status: PaymentStatus, cause: str) -> None:
        self.transaction.add(self.tables.payment_history, (payment_id, status.value, cause))

    @staticmethod
    def _copy(row: Row) -> Payment:
        payment: Payment = _new_payment()
        payment.__dict__.update(row)
        return payment


class MemoryAttempts(MemoryPayments):
    """Implements `AttemptBook`."""

    async def find_attempt(self, attempt_id: UUID) -> Attempt | None:
        """A copy."""
        row = self.tables.attempts.get(attempt_id)
        return None if row is None else _attempt(row)

    async def lock_attempt(self, attempt_id: UUID) -> tuple[Payment, Attempt] | None:
        """Copies."""
        row = self.tables.attempts.get(attempt_id)
        return None if row is None else (await self.lock_payment(row["payment_id"]), _attempt(row))

    async def keep(self, attempt: Attempt, *, source: str, rank: Rank, applied: bool, raw: dict[str, Any]) -> None:
        """As the statement does: an attempt that says the same is not written."""
        before = self.tables.attempts.get(attempt.id)
        if before is None or any(
            before[name] != getattr(attempt, name) for name in ("rank", "captured", "refunds_seen")
        ):
            kept = {
                "first_seen_at": self.now,
                "to_return": None,
                "refunds_checked": 0,
                "captured_at": None,
                **(before or {}),
            }
            names = (
                "id", "payment_id", "provider_order_id", "provider_payment_id", "rank", "method", "amount", "currency",
                "captured", "captured_at", "error_code", "error_description", "refunds_seen", "changed_at",
            )  # fmt: skip
            kept |= {name: getattr(attempt, name) for name in names}
            if not 0 <= kept["captured"] <= kept["amount"]:
                self.transaction.refuse("ck_attempts_captured")
            self.transaction.put(self.tables.attempts, attempt.id, kept)
        self.transaction.add(self.tables.observations, (attempt.id, source, int(rank), applied))

    async def captured_attempts(self, payment_id: UUID) -> Sequence[Attempt]:
        """Copies, sorted as the statement does."""
        found = [row for row in self._attempts_of(payment_id) if row["captured"]]
        return [_attempt(row) for row in sorted(found, key=lambda row: row["captured_at"])]

    async def has_undecided(self, payment_id: UUID, *, within: float) -> bool:
        """As the statement does."""
        since = self.now - timedelta(seconds=within)
        return any(
            row["rank"] in (Rank.CREATED, Rank.AUTHORIZED) and row["first_seen_at"] > since
            for row in self._attempts_of(payment_id)
        )

    async def mark_to_return(self, attempt: Attempt, *, reason: str) -> None:
        """That alone."""
        attempt.to_return = reason
        self.transaction.change(self.tables.attempts, attempt.id, to_return=reason)

    async def refunds_looked_at(self, attempt_id: UUID, *, up_to: int) -> None:
        """Never less than before."""
        checked = max(up_to, self.tables.attempts[attempt_id]["refunds_checked"])
        self.transaction.change(self.tables.attempts, attempt_id, refunds_checked=checked)

    async def capturable(self, *, unchanged_for: timedelta, limit: int, skip: int = 0) -> Sequence[str]:
        """Sorted as the statement does."""
        found = [row for row in self._capturable() if row["changed_at"] < self.now - unchanged_for]
        found.sort(key=lambda row: (row["changed_at"], row["id"]))
        return [row["provider_payment_id"] for row in found[skip:][:limit]]

    async def can_be_captured(self, provider_payment_id: str) -> bool:
        """As the statement does."""
        return any(row["provider_payment_id"] == provider_payment_id for row in self._capturable())

    async def with_rest_to_return(self, *, at_least: int, limit: int) -> Sequence[UUID]:
        """In the order of their coming."""
        return [attempt_id for attempt_id, rest in self._rests() if rest >= at_least][:limit]

    async def rests_below(self, smallest: int) -> int:
        """A count."""
        return sum(0 < rest < smallest for _, rest in self._rests())

    async def with_unseen_refunds(self, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """In the order of their coming."""
        return [
            row["id"]
            for row in self.tables.attempts.values()
            if row["refunds_seen"] > row["refunds_checked"] and row["captured"]
        ][skip:][:limit]

    async def known_among(
        self, *, provider_order_ids: Collection[str | None], provider_payment_ids: Collection[str]
    ) -> tuple[set[str], dict[str, tuple[int, int]]]:
        """By their keys."""
        ours = {name for name in self.tables.provider_orders if name in provider_order_ids}
        known = {
            row["provider_payment_id"]: (row["rank"], row["refunds_seen"])
            for row in self.tables.attempts.values()
            if row["provider_payment_id"] in provider_payment_ids
        }
        return ours, known

    def _rests(self) -> list[tuple[UUID, int]]:
        attempts = self.tables.attempts.items()
        return [(key, row["captured"] - self.not_failed(key)) for key, row in attempts if row["to_return"] is not None]

    def not_failed(self, attempt_id: UUID) -> int:
        """The sum of its refunds that have not failed."""
        return sum(
            row["amount"]
            for row in self.tables.refunds.values()
            if row["attempt_id"] == attempt_id and row["status"] is not RefundStatus.FAILED
        )

    def _attempts_of(self, payment_id: UUID) -> list[Row]:
        return [row for row in self.tables.attempts.values() if row["payment_id"] == payment_id]

    def _capturable(self) -> list[Row]:
        return [
            row
            for row in self.tables.attempts.values()
            if row["rank"] == Rank.AUTHORIZED
            and self.tables.payments[row["payment_id"]]["status"] is PaymentStatus.OPEN
        ]


class MemoryLedger(MemoryAttempts):
    """Implements `Ledger`."""

    async def add_refund(self, refund: Refund) -> None:
        """With its line of history."""
        if refund.id in self.tables.refunds:
            raise asyncpg.UniqueViolationError("pk_refunds")
        if refund.amount <= 0:
            self.transaction.refuse("ck_refunds_amount")
        refund.next_try_at = refund.__dict__.get("next_try_at") or self.now
        refund.tries, refund.created_at = 0, self.now
        names = Refund.__mapper__.columns.keys()
        self.transaction.put(self.tables.refunds, refund.id, {name: getattr(refund, name) for name in names})
        self.transaction.add(self.tables.refund_history, (refund.id, refund.status.value))

    async def move_refund(self, refund: Refund, status: RefundStatus) -> None:
        """With its line of history."""
        refund.status = status
        self.transaction.change(self.tables.refunds, refund.id, status=status)
        self.transaction.add(self.tables.refund_history, (refund.id, status.value))

    async def lock_refund(self, refund_id: UUID) -> tuple[Payment, Attempt, Refund]:
        """Copies."""
        row = self.tables.refunds[refund_id]
        attempt = self.tables.attempts[row["attempt_id"]]
        return await self.lock_payment(attempt["payment_id"]), _attempt(attempt), _refund(row)

    async def given_back(self, attempt_id: UUID) -> int:
        """A sum."""
        return self.not_failed(attempt_id)

    async def returns(self, attempt_id: UUID) -> int:
        """A count."""
        return sum(row["kind"] is RefundKind.RETURN for row in self._refunds_of(attempt_id))

    async def totals(self, payment_id: UUID) -> Totals:
        """Sums."""
        attempts = self._attempts_of(payment_id)
        refunds = [refund for row in attempts for refund in self._refunds_of(row["id"])]
        return Totals(
            captured=sum(row["captured"] for row in attempts),
            refunded=sum(row["amount"] for row in refunds if row["status"] is RefundStatus.PROCESSED),
            pending=sum(row["amount"] for row in refunds if row["status"] in _NOT_FINAL),
        )

    async def refund_among(self, refund_ids: Collection[UUID]) -> Refund | None:
        """A copy."""
        return next((_refund(self.tables.refunds[key]) for key in refund_ids if key in self.tables.refunds), None)

    async def refund_named(self, provider_refund_id: str) -> Refund | None:
        """A copy."""
        refunds = self.tables.refunds.values()
        return next((_refund(row) for row in refunds if row["provider_refund_id"] == provider_refund_id), None)

    async def unnamed_refunds(self, attempt_id: UUID) -> Sequence[Refund]:
        """Copies, in the order of their coming."""
        return [
            _refund(row)
            for row in self._refunds_of(attempt_id)
            if row["provider_refund_id"] is None and row["status"] in _NOT_FINAL
        ]

    async def name_refund(self, refund: Refund, provider_refund_id: str) -> None:
        """Unless another has this name."""
        if await self.refund_named(provider_refund_id) is not None:
            raise asyncpg.UniqueViolationError("uq_refunds_provider_refund_id")
        refund.provider_refund_id = provider_refund_id
        self.transaction.change(self.tables.refunds, refund.id, provider_refund_id=provider_refund_id)

    async def keep_turn(self, refund: Refund) -> None:
        """Those two."""
        self.transaction.change(self.tables.refunds, refund.id, tries=refund.tries, next_try_at=refund.next_try_at)

    async def keep_error(self, refund: Refund, error: str) -> None:
        """That alone."""
        self.transaction.change(self.tables.refunds, refund.id, last_error=error)

    async def due_refunds(self, *, limit: int) -> Sequence[UUID]:
        """Sorted as the statement does."""
        due = [
            row
            for row in self.tables.refunds.values()
            if row["status"] in _NOT_FINAL and row["next_try_at"] <= self.now
        ]
        return [row["id"] for row in sorted(due, key=lambda row: row["next_try_at"])[:limit]]

    async def clock(self) -> datetime:
        """The clock of the tables."""
        return self.now

    async def last_success(self, job: str) -> datetime | None:
        """Always a moment ago."""
        return self.now

    async def record(self, event: Event, payment: Payment) -> None:
        """Published with the commit."""
        self.transaction.events.append((event, payment.id, payment.version, payment.order_id))

    def _refunds_of(self, attempt_id: UUID) -> list[Row]:
        return [row for row in self.tables.refunds.values() if row["attempt_id"] == attempt_id]


def _attempt(row: Row) -> Attempt:
    attempt: Attempt = _new_attempt()
    attempt.__dict__.update(row)
    return attempt


def _refund(row: Row) -> Refund:
    refund: Refund = _new_refund()
    refund.__dict__.update(row)
    return refund
