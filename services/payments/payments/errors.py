"""What this service refuses, and what the caller can do about it.

Problem
├── BadRequest 400      SignatureInvalid
├── NotFound 404        PaymentNotFound, OrderUnknown, StatementNotFound
├── Conflict 409        OrderNotPayable, NothingToRefund, RefundTooLarge
├── Unprocessable 422   RefundTooSmall, CurrencyUnsupported
└── Unavailable 503     ProviderDown
"""

from typing import ClassVar

from chassis.problems import BadRequest, Conflict, NotFound, Unavailable, Unprocessable


class SignatureInvalid(BadRequest):
    """The signature does not prove what it should. Send exactly what the checkout returned, for this payment."""

    code = "signature_invalid"
    title = "Signature invalid"


class PaymentNotFound(NotFound):
    """There is no such payment, or it belongs to somebody else: find it with `GET /payments?order_id=…`."""

    code = "payment_not_found"
    title = "Payment not found"


class OrderUnknown(NotFound):
    """There is no such order, or it belongs to somebody else: list yours with `GET /orders`."""

    code = "order_not_found"
    title = "Order not found"


class StatementNotFound(NotFound):
    """There is no statement of this day: it is not over, or lies before the first payment."""

    code = "statement_not_found"
    title = "Statement not found"


class OrderNotPayable(Conflict):
    """The order is closed, closing, free of charge or its time to pay is over: read the order, or place a new one."""

    code = "order_not_payable"
    title = "The order cannot be paid now"


class NothingToRefund(Conflict):
    """Nothing was captured for this payment, or everything went back already."""

    code = "nothing_to_refund"
    title = "Nothing to refund"


class RefundTooLarge(Conflict):
    """More than captured minus refunded: `refundable` says how much is left."""

    code = "refund_too_large"
    title = "Refund too large"
    members: ClassVar = {"refundable": {"type": "integer", "description": "Minor units (paise) left to give back."}}


class RefundTooSmall(Unprocessable):
    """A refund is at least 100 minor units and leaves nothing, or at least 100, behind (the provider's minimum)."""

    code = "refund_too_small"
    title = "Refund too small"
    members: ClassVar = {"refundable": {"type": "integer", "description": "Minor units (paise) left to give back."}}


class CurrencyUnsupported(Unprocessable):
    """A refund is in the currency of its payment."""

    code = "currency_unsupported"
    title = "Currency unsupported"


class ProviderDown(Unavailable):
    """The payment provider does not answer. Nothing is lost: repeat after `Retry-After` seconds."""

    code = "provider_unavailable"
    title = "The payment provider does not answer"


PROBLEMS = (
    SignatureInvalid,
    PaymentNotFound,
    OrderUnknown,
    StatementNotFound,
    OrderNotPayable,
    NothingToRefund,
    RefundTooLarge,
    RefundTooSmall,
    CurrencyUnsupported,
    ProviderDown,
)
