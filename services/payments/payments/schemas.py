"""Bodies that clients send and receive."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from chassis.money import Money
from chassis.operations import JobRun
from chassis.strict import Answer, Id, QueryParams, RequestBody, Time, text


class PaymentRequest(RequestBody):
    """Which order to pay."""

    order_id: Id


class Handshake(RequestBody):
    """What the provider's checkout returned."""

    razorpay_order_id: Annotated[str, Field(pattern=r"^order_[A-Za-z0-9]{14}$")]
    razorpay_payment_id: Annotated[str, Field(pattern=r"^pay_[A-Za-z0-9]{14}$")]
    razorpay_signature: text(1, 200)  # type: ignore[valid-type]  # a type made for these bounds


class RefundRequest(RequestBody):
    """How much to give back and why; everything that is left when no amount is given."""

    amount: Money | None = None
    reason: text(1, 200)  # type: ignore[valid-type]  # a type made for these bounds


class PaymentQuery(QueryParams):
    """Of which order."""

    order_id: Id


class AttemptAnswer(Answer):
    """One try to pay."""

    provider_payment_id: str
    status: str
    method: str | None
    amount: Money
    error: dict[str, Any] | None
    created_at: Time


class RefundAnswer(Answer):
    """Money on its way back."""

    id: UUID
    amount: Money
    status: str
    reason: str
    created_at: Time


class CheckoutAnswer(Answer):
    """What checkout.js needs; `page_url` is the simulator's page in the demo."""

    key_id: str
    razorpay_order_id: str
    amount: Money
    currency: str
    expires_at: Time
    page_url: str | None


class PaymentAnswer(Answer):
    """The money of one order."""

    id: UUID
    order_id: UUID
    status: str
    amount: Money
    captured: Money
    refunded: Money
    provider: str
    checkout: CheckoutAnswer | None
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
