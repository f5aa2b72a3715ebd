"""What payments tells the other services."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from chassis.events import Event


class PaymentCaptured(Event):
    """The provider took the money of an attempt; said again when a closing order asks."""

    type: ClassVar[str] = "payment.captured.v1"

    order_id: UUID
    payment_id: UUID
    payment_version: int
    attempt_id: UUID
    provider_payment_id: str
    amount: int
    currency: str
    captured_at: datetime
    captured_total: int
    """Over all attempts of the payment."""
    refunded_total: int
    """Sum of the processed refunds: not 0 when another attempt is captured later, or the capture is told again."""


class PaymentFailed(Event):
    """An attempt failed; the shopper may try again, and even this attempt may still succeed."""

    type: ClassVar[str] = "payment.failed.v1"

    order_id: UUID
    payment_id: UUID
    payment_version: int
    attempt_id: UUID
    provider_payment_id: str
    error_code: str | None
    error_description: str | None


class PaymentIntentClosed(Event):
    """The provider holds no money for this order, and no new checkout will be handed out."""

    type: ClassVar[str] = "payment.intent_closed.v1"

    order_id: UUID
    payment_id: UUID
    payment_version: int


class _RefundEvent(Event):
    """Where a refund is, and what the payment's captures and refunds add up to."""

    order_id: UUID
    payment_id: UUID
    payment_version: int
    attempt_id: UUID
    refund_id: UUID
    amount: int
    currency: str
    reason: str
    captured_total: int
    refunded_total: int
    """Sum of the processed ones."""
    pending_total: int
    """Sum of those neither processed nor failed."""


class RefundSubmitted(_RefundEvent):
    """The provider was asked to give money back."""

    type: ClassVar[str] = "refund.submitted.v1"


class RefundProcessed(_RefundEvent):
    """The provider gave money back."""

    type: ClassVar[str] = "refund.processed.v1"


class RefundFailed(_RefundEvent):
    """The provider will not give this refund; the rest that must go back is asked for anew."""

    type: ClassVar[str] = "refund.failed.v1"


EVENTS = (PaymentCaptured, PaymentFailed, PaymentIntentClosed, RefundSubmitted, RefundProcessed, RefundFailed)
