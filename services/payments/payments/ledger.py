"""The port to the books of payments: payments, provider orders, attempts and refunds, within one transaction.

`postgres_ledger.py` implements it; the simulation of the whole checkout (tests/simulation) has a second implementation
in memory, and one suite of tests holds for both. What is read here are copies: whoever changes one writes it with a
method of this port. All times are compared with the clock of whoever keeps the books.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from chassis.events import Event
from payments.models import Attempt, Payment, PaymentStatus, Rank, Refund, RefundStatus
from payments.opening import Lease, OrderToPay, Standing


@dataclass(frozen=True, slots=True)
class Due:
    """A payment about which the provider is to be asked."""

    payment_id: UUID
    receipt: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all attempts of a payment."""

    captured: int
    refunded: int
    pending: int
    """Refunds neither processed nor failed."""


class PaymentBook(Protocol):
    """Payments and their orders at the provider."""

    async def note_placed(self, order_id: UUID, order: OrderToPay) -> None:
        """There is something to pay. Changes nothing where the payment is known, or is a tombstone."""
        ...

    async def note_ownerless(self, order_id: UUID, *, amount: int, currency: str) -> None:
        """Money was taken for an order that nobody knows any more: a closed payment, unless the order's is known."""
        ...

    async def keep_order(self, payment: Payment) -> None:
        """Keep what a locked payment says of its order: whose it is, what is to be paid, and by when."""
        ...

    async def take_lease(self, order_id: UUID, *, user_id: UUID, seconds: float) -> Lease | None:
        """None while somebody else has it, or when there is nothing that this user may still open."""
        ...

    async def standing(self, order_id: UUID) -> Standing | None:
        """The payment of an order, if payments has heard of the order."""
        ...

    async def adopt(self, payment_id: UUID, provider_order_ids: list[str], *, lease: UUID | None) -> bool:
        """Link provider orders to their payment: the first answer opens it, a late one is watched like the first.

        Whether this opened it, and it can be paid now.
        """
        ...

    async def end_lease(self, payment: Payment) -> None:
        """The next request need not wait for it."""
        ...

    async def lock_payment(self, payment_id: UUID) -> Payment:
        """The payment, locked and as it is now."""
        ...

    async def lock_payment_at(self, provider_order_id: str | None) -> tuple[Payment, datetime] | None:
        """The payment of a provider order, locked and as it is now, and the time."""
        ...

    async def lock_payment_or_tombstone(self, order_id: UUID) -> Payment:
        """The order's payment, locked. Where there is none, a tombstone is made: closed, without owner and amount.

        An order may close before payments hears that it was placed; the tombstone keeps it from being opened then.
        """
        ...

    async def move(self, payment: Payment, status: PaymentStatus, *, cause: str) -> None:
        """Keep a locked payment's new status and its version, with a line of history."""
        ...

    async def keep_version(self, payment: Payment) -> None:
        """The version that the last report was sent with."""
        ...

    async def begin_closing(self, payment: Payment) -> None:
        """From now on no checkout is handed out, and the provider is to be asked at once."""
        ...

    async def payment_id_at(self, provider_order_id: str) -> UUID | None:
        """Whose provider order it is."""
        ...

    async def provider_orders(self, payment_id: UUID) -> Sequence[str]:
        """The payment's orders at the provider, the first seen first."""
        ...

    async def long_overdue(self, *, for_longer_than: timedelta, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Orders whose payment is still to be paid so long after its time, which orders would have ended.

        The longest overdue first, leaving out the first `skip`.
        """
        ...

    async def take_due(self, status: PaymentStatus, *, again_in: timedelta, limit: int) -> Sequence[Due]:
        """Payments of this status whose look is due, the longest due first; their next one is set.

        One that is CREATING is due only when its lease is over.
        """
        ...


class AttemptBook(Protocol):
    """Attempts and what was observed of them."""

    async def find_attempt(self, attempt_id: UUID) -> Attempt | None:
        """An attempt, if it is known. Read below its payment's lock it stays as it is."""
        ...

    async def lock_attempt(self, attempt_id: UUID) -> tuple[Payment, Attempt] | None:
        """An attempt as it is now, below its locked payment; None when it is not known."""
        ...

    async def keep(self, attempt: Attempt, *, source: str, rank: Rank, applied: bool, raw: dict[str, Any]) -> None:
        """Write an attempt, new or changed, and what was observed of it."""
        ...

    async def captured_attempts(self, payment_id: UUID) -> Sequence[Attempt]:
        """Those that took money, the first first."""
        ...

    async def has_undecided(self, payment_id: UUID, *, within: float) -> bool:
        """Whether an attempt first seen within so many seconds is neither failed nor captured."""
        ...

    async def mark_to_return(self, attempt: Attempt, *, reason: str) -> None:
        """All that it took must go back."""
        ...

    async def refunds_looked_at(self, attempt_id: UUID, *, up_to: int) -> None:
        """Its refunds were fetched when so much had been given back, as far as we had heard."""
        ...

    async def capturable(self, *, unchanged_for: timedelta, limit: int, skip: int = 0) -> Sequence[str]:
        """Authorised attempts of open payments, by their id at the provider.

        The longest unchanged first, leaving out the first `skip`.
        """
        ...

    async def can_be_captured(self, provider_payment_id: str) -> bool:
        """Whether it is authorised, and its payment open."""
        ...

    async def with_rest_to_return(self, *, at_least: int, limit: int) -> Sequence[UUID]:
        """Attempts marked to return of which so much neither went back nor is on its way, the oldest first."""
        ...

    async def rests_below(self, smallest: int) -> int:
        """How many attempts marked to return have a rest smaller than that."""
        ...

    async def with_unseen_refunds(self, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Attempts of which more was given back than we have looked at, the oldest first after the first `skip`."""
        ...

    async def known_among(
        self, *, provider_order_ids: Collection[str | None], provider_payment_ids: Collection[str]
    ) -> tuple[set[str], dict[str, tuple[int, int]]]:
        """Which of these orders are ours; rank and highest amount refunded of those attempts that are known."""
        ...


class RefundBook(Protocol):
    """Refunds."""

    async def add_refund(self, refund: Refund) -> None:
        """Write a new refund with its first line of history; due now unless it says when."""
        ...

    async def move_refund(self, refund: Refund, status: RefundStatus) -> None:
        """Keep a refund's new status, with a line of history."""
        ...

    async def lock_refund(self, refund_id: UUID) -> tuple[Payment, Attempt, Refund]:
        """A refund as it is now, below its locked payment."""
        ...

    async def given_back(self, attempt_id: UUID) -> int:
        """What went back of an attempt, or is on its way."""
        ...

    async def returns(self, attempt_id: UUID) -> int:
        """How many refunds of the kind RETURN there are of it, failed ones too."""
        ...

    async def totals(self, payment_id: UUID) -> Totals:
        """What was captured, went back, and is on its way."""
        ...

    async def refund_among(self, refund_ids: Collection[UUID]) -> Refund | None:
        """The one of these that exists."""
        ...

    async def refund_named(self, provider_refund_id: str) -> Refund | None:
        """The refund that has this id at the provider."""
        ...

    async def unnamed_refunds(self, attempt_id: UUID) -> Sequence[Refund]:
        """Refunds of an attempt that are not final and whose id at the provider is not known."""
        ...

    async def name_refund(self, refund: Refund, provider_refund_id: str) -> None:
        """Keep its id at the provider."""
        ...

    async def keep_turn(self, refund: Refund) -> None:
        """Keep how often it was tried, and when its next turn is."""
        ...

    async def keep_error(self, refund: Refund, error: str) -> None:
        """Why its last try came to nothing."""
        ...

    async def due_refunds(self, *, limit: int) -> Sequence[UUID]:
        """Refunds that must be sent, sent again, or asked about; the longest due first."""
        ...


class Ledger(PaymentBook, AttemptBook, RefundBook, Protocol):
    """The books of payments."""

    async def clock(self) -> datetime:
        """The clock by which every deadline is set and judged."""
        ...

    async def last_success(self, job: str) -> datetime | None:
        """When a job last did all that it had to, if it ever did."""
        ...

    async def record(self, event: Event, payment: Payment) -> None:
        """Publish an event about a payment, at its version, when this transaction commits."""
        ...


OpenLedger = Callable[[], AbstractAsyncContextManager[Ledger]]
"""Opens a transaction: committed at the end of the block, rolled back when it raises."""
