"""Bodies that clients send and receive."""

import re
from contextlib import suppress
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from chassis.money import Money
from chassis.operations import JobRun
from chassis.pagination import PageAnswer
from chassis.strict import Answer, Id, QueryParams, RequestBody, Time, text
from payments.models import Outcome, RefundStatus

PaymentState = Literal["preparing", "open", "closing", "captured", "closed", "partially_refunded", "refunded"]
"""What a client is told of a payment; `preparing` while it has no order at the provider yet."""


class SignedMoney(Answer):
    """An amount that may be less than nothing."""

    amount: int
    """Minor units (paise)."""
    currency: str
    """ISO 4217."""


class PaymentRequest(RequestBody):
    """Which order to pay."""

    order_id: Id


class Handshake(RequestBody):
    """What the provider's checkout returned."""

    razorpay_order_id: Annotated[str, Field(pattern=r"^order_[A-Za-z0-9]{14}$", examples=["order_BqxUY020RFp2PF"])]
    razorpay_payment_id: Annotated[str, Field(pattern=r"^pay_[A-Za-z0-9]{14}$", examples=["pay_XAR9jFyuGqR4H6"])]
    razorpay_signature: Annotated[text(1, 200), Field(examples=["88f2e4b2" * 8])]  # type: ignore[valid-type]  # a type made for these bounds


class RefundRequest(RequestBody):
    """How much to give back and why; everything that is left when no amount is given."""

    amount: Money | None = None
    """At most what was captured and not given back; all of that when it is not given."""
    reason: Annotated[text(1, 200), Field(examples=["The lamp arrived broken."])]  # type: ignore[valid-type]  # a type made for these bounds
    """Shown with the refund."""


class PaymentQuery(QueryParams):
    """Of which order."""

    order_id: Id


class AttemptError(Answer):
    """Why a try failed, in the provider's words."""

    code: str | None
    description: str | None


class AttemptAnswer(Answer):
    """One try to pay."""

    provider_payment_id: str
    status: Outcome
    method: str | None
    amount: Money
    error: AttemptError | None
    created_at: Time


class RefundAnswer(Answer):
    """Money on its way back."""

    id: UUID
    amount: Money
    status: RefundStatus
    reason: str
    created_at: Time


class CheckoutAnswer(Answer):
    """What checkout.js needs; `page_url` is the simulator's page in the demo."""

    key_id: str
    razorpay_order_id: str
    amount: Money
    currency: str
    expires_at: Time
    """When the order is no longer to be paid."""
    page_url: str | None
    """Where to pay in a browser; only at the simulator."""


class PaymentAnswer(Answer):
    """The money of one order."""

    id: UUID
    order_id: UUID
    status: PaymentState
    amount: Money
    captured: Money
    refunded: Money
    provider: Literal["razorpay"]
    checkout: CheckoutAnswer | None
    """Only while the payment is `open`."""
    attempts: list[AttemptAnswer]
    refunds: list[RefundAnswer]


class PaymentList(Answer):
    """None or one payment."""

    items: list[PaymentAnswer]
    next_cursor: str | None = None


class RefundList(Answer):
    """All refunds of a payment, oldest first."""

    items: list[RefundAnswer]
    next_cursor: str | None = None


class JobAnswer(JobRun):
    """A job of one of the services."""

    service: str


class Reconciliation(Answer):
    """Every job of the shop, and what wants a person."""

    items: list[JobAnswer]
    gaps: list[str]
    """Services that did not answer: their jobs are missing here."""
    unresolved: int
    """Cases that last runs had to leave: above zero for long, somebody must look."""
    failing: int
    """Jobs whose last run failed."""
    late: int
    """Jobs that should have run again by now."""


def _day(value: Any) -> date:
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        with suppress(ValueError):
            return date.fromisoformat(value)
    raise PydanticCustomError("day", "must be a day like 2026-11-22")


Day = Annotated[date, BeforeValidator(_day)]
"""In UTC."""


class StatementSums(Answer):
    """A day in one currency. `difference` is what the provider keeps beyond what the orders are worth."""

    attempts: int
    order_total: Money
    """Of orders that were paid and stand."""
    order_refunds: Money
    """What went back of them."""
    captured: Money
    """At the provider."""
    refunded: Money
    """At the provider."""
    under_way: Money
    """Refunds that are not at their end."""
    difference: SignedMoney


class StatementLine(Answer):
    """An attempt whose money is not what its order is worth, or an order that is paid by nothing."""

    provider_payment_id: str | None
    order_id: UUID | None
    order_number: str | None
    order_status: str | None
    order_total: Money
    order_refunds: Money
    captured: Money
    refunded: Money
    under_way: Money
    difference: SignedMoney


class StatementSummary(Answer):
    """A day in short."""

    day: Day
    made_at: Time
    is_balanced: bool
    """Nothing differs by more than is on its way back."""
    is_under_way: bool
    """Something is on its way back, so it is made again."""
    sums: list[StatementSums]
    differing_count: int


class StatementAnswer(StatementSummary):
    """A day, with what differs; the first 200 of it."""

    differing: list[StatementLine]


class StatementList(PageAnswer):
    """Days, newest first."""

    items: list[StatementSummary]
