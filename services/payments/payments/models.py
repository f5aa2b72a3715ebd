"""The tables: one payment per order; below it provider orders, attempts and refunds; and what was seen, raw.

A payment moves  NEW → CREATING → OPEN → CLOSING → CLOSED, and from any of them but NEW to SETTLED by a capture.
Nothing leaves SETTLED; CLOSED is left only by a capture, since the provider cannot cancel its orders.

Whoever changes anything below a payment locks the payment's row first (`Ledger.lock_payment`), so that everything about
one payment happens one after the other, whatever process it happens in.
"""

import re
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.database import db_now, metadata
from chassis.ids import derive_id, new_id

ATTEMPT_NAMESPACE = UUID("5f0c2c0e-0a6e-5d4e-9f63-6a2f3e1c8b11")
_RECEIPT = re.compile("haat_[0-9a-f]{32}")


class PaymentStatus(StrEnum):
    """Where a payment stands."""

    NEW = "new"
    CREATING = "creating"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    SETTLED = "settled"


class Rank(IntEnum):
    """How far an attempt has come. An observation counts only when its rank is higher than what is known."""

    CREATED = 0
    FAILED = 10
    AUTHORIZED = 20
    CAPTURED = 30
    REFUNDED = 40


Outcome = Literal["created", "failed", "authorized", "captured", "refunded"]
"""How far an attempt has come, in words for the shopper."""

_OUTCOMES: dict[int, Outcome] = {
    Rank.CREATED: "created",
    Rank.FAILED: "failed",
    Rank.AUTHORIZED: "authorized",
    Rank.CAPTURED: "captured",
    Rank.REFUNDED: "refunded",
}


class RefundStatus(StrEnum):
    """Where a refund stands. PROCESSED and FAILED are final."""

    REQUESTED = "requested"
    SUBMITTED = "submitted"
    PROCESSED = "processed"
    FAILED = "failed"


class RefundKind(StrEnum):
    """Who decided on a refund."""

    RETURN = "return"
    """The order: the money has nothing to pay for."""
    STAFF = "staff"
    EXTERNAL = "external"
    """Made in the provider's dashboard, recognised afterwards."""


def _as_text(kind: type[StrEnum]) -> Enum:
    """An enum kept as its text; the table's CHECK says which texts there are."""
    return Enum(kind, native_enum=False, length=20, values_callable=lambda members: [str(each) for each in members])


class Base(DeclarativeBase):
    """Tables of payments."""

    metadata = metadata()
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's way to configure a base class
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
        PaymentStatus: _as_text(PaymentStatus),
        RefundStatus: _as_text(RefundStatus),
        RefundKind: _as_text(RefundKind),
    }


def _now() -> Any:
    return mapped_column(server_default=text("clock_timestamp()"))


class Payment(Base):
    """One per order, made when the order is placed."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint("status IN ('new','creating','open','closing','closed','settled')", name="status"),
        Index("ix_payments_due", "next_ask_at", postgresql_where=text("status IN ('creating','open','closing')")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(unique=True)
    user_id: Mapped[UUID | None]
    """None in a tombstone, whose order closed before payments heard of it, and where money came for a lost order."""
    status: Mapped[PaymentStatus]
    amount: Mapped[int]
    currency: Mapped[str]
    receipt: Mapped[str] = mapped_column(unique=True)
    """Our name for it at the provider, at most 40 characters."""
    pay_by: Mapped[datetime | None]
    version: Mapped[int]
    lease: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    closing_at: Mapped[datetime | None]
    next_ask_at: Mapped[datetime] = _now()
    """When the provider is asked for news the next time."""
    created_at: Mapped[datetime] = _now()
    traceparent: Mapped[str | None]
    """The span in which the order was placed, when traces are collected."""

    @staticmethod
    def receipt_for(payment_id: UUID) -> str:
        """What the provider knows a payment by."""
        return f"haat_{payment_id.hex}"

    @staticmethod
    def is_receipt(text: str | None) -> bool:
        """Whether it is the receipt of some payment of ours, known or lost."""
        return text is not None and _RECEIPT.fullmatch(text) is not None


class PaymentTransition(Base):
    """The path a payment took; its last row is the present status."""

    __tablename__ = "payment_history"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"), index=True)
    status: Mapped[PaymentStatus]
    cause: Mapped[str]
    at: Mapped[datetime] = _now()


class ProviderOrder(Base):
    """An order at the provider for a payment: one as a rule, more after unknown outcomes. Watched for ever."""

    __tablename__ = "provider_orders"

    provider_order_id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"), index=True)
    first_seen_at: Mapped[datetime] = _now()


class Attempt(Base):
    """One try of a shopper to pay: a payment at the provider."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint("captured BETWEEN 0 AND amount", name="captured"),
        Index("ix_attempts_captured_at", "captured_at", postgresql_using="brin"),
        Index("ix_attempts_to_return", "id", postgresql_where=text("to_return IS NOT NULL")),
        Index("ix_attempts_refunds_unseen", "id", postgresql_where=text("refunds_seen > refunds_checked")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"), index=True)
    provider_order_id: Mapped[str] = mapped_column(ForeignKey("provider_orders.provider_order_id"))
    provider_payment_id: Mapped[str] = mapped_column(unique=True)
    rank: Mapped[int]
    method: Mapped[str | None]
    amount: Mapped[int]
    currency: Mapped[str]
    captured: Mapped[int] = mapped_column(server_default=text("0"))
    """What the provider took: 0, or the amount."""
    captured_at: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error_description: Mapped[str | None]
    to_return: Mapped[str | None]
    """Why everything captured must go back; None while it pays for something."""
    refunds_checked: Mapped[int] = mapped_column(server_default=text("0"))
    """The provider's `amount_refunded` at our last look through its refunds."""
    refunds_seen: Mapped[int] = mapped_column(server_default=text("0"))
    """The highest `amount_refunded` an observation named; above `refunds_checked`, the refunds are fetched."""
    first_seen_at: Mapped[datetime] = _now()
    changed_at: Mapped[datetime] = _now()

    @staticmethod
    def id_for(provider_payment_id: str) -> UUID:
        """The same attempt whoever reports it first."""
        return derive_id(ATTEMPT_NAMESPACE, provider_payment_id)

    @property
    def outcome(self) -> Outcome:
        """Its rank as a word. Refunded without ever being captured is lapsed, which for the shopper is failed."""
        has_lapsed = self.rank == Rank.REFUNDED and self.captured == 0
        return "failed" if has_lapsed else _OUTCOMES[self.rank]


class Observation(Base):
    """What somebody said about an attempt, as it came."""

    __tablename__ = "observations"
    __table_args__ = (Index("ix_observations_asked_for", "at", postgresql_where=text("source = 'poll' AND applied")),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.id"), index=True)
    source: Mapped[str]
    """webhook, handshake or poll."""
    rank: Mapped[int]
    applied: Mapped[bool]
    raw: Mapped[dict[str, Any]]
    at: Mapped[datetime] = _now()
    webhook_id: Mapped[str | None]
    """The webhook that brought it, if one did."""


class ProviderCall(Base):
    """What was asked of the provider and how that ended; kept for thirty days."""

    __tablename__ = "provider_calls"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    call: Mapped[str]
    about: Mapped[str] = mapped_column(index=True)
    """Our receipt, or the provider's id of the order or attempt."""
    outcome: Mapped[str]
    """answered, refused, unreachable or unknown."""
    error: Mapped[str | None]
    seconds: Mapped[float]
    job: Mapped[str | None]
    request_id: Mapped[str | None]
    at: Mapped[datetime] = _now()


class Refund(Base):
    """Money on its way back."""

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("status IN ('requested','submitted','processed','failed')", name="status"),
        Index("ix_refunds_due", "next_try_at", postgresql_where=text("status IN ('requested','submitted')")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.id"), index=True)
    kind: Mapped[RefundKind]
    amount: Mapped[int]
    reason: Mapped[str]
    status: Mapped[RefundStatus]
    provider_refund_id: Mapped[str | None] = mapped_column(unique=True)
    body: Mapped[str]
    """The request as JSON text, sent byte for byte the same however often."""
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime] = _now()
    last_error: Mapped[str | None]
    requested_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = _now()


class RefundTransition(Base):
    """The path a refund took."""

    __tablename__ = "refund_history"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    refund_id: Mapped[UUID] = mapped_column(ForeignKey("refunds.id"), index=True)
    status: Mapped[RefundStatus]
    at: Mapped[datetime] = _now()


class DailyStatement(Base):
    """What the orders of a day are worth, beside what the provider kept for them."""

    __tablename__ = "daily_statements"

    day: Mapped[date] = mapped_column(primary_key=True)
    """In UTC."""
    made_at: Mapped[datetime]
    sums: Mapped[list[dict[str, Any]]]
    """One per currency, in minor units."""
    differing: Mapped[list[dict[str, Any]]]
    """The first of them; `differing_count` counts all."""
    differing_count: Mapped[int]
    is_under_way: Mapped[bool]
    """Something is still on its way back."""


class WebhookEvent(Base):
    """A webhook as it came, stored before anything else happens; processed later, and never dropped."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        Index("ix_webhook_events_due", "next_try_at", postgresql_where=text("processed_at IS NULL")),
        Index("ix_webhook_events_received_at", "received_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[bytes]
    received_at: Mapped[datetime] = _now()
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    next_try_at: Mapped[datetime] = _now()
    processed_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


async def clock(session: AsyncSession) -> datetime:
    """The database's clock, by which every deadline is set and judged."""
    now: datetime = (await session.scalars(select(db_now()))).one()
    return now
