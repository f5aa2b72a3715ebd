"""Refusals in the shape Razorpay documents, with the sentences it documents."""

from typing import Any


class ProviderRefusal(Exception):
    """An answer that is an error. Raised anywhere below the HTTP layer; nothing is kept of the call."""

    code = "BAD_REQUEST_ERROR"
    status = 400
    reason: str | None = "input_validation_failed"

    def __init__(
        self,
        description: str,
        *,
        status: int | None = None,
        code: str | None = None,
        field: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.description = description
        self.status = status or self.status
        self.code = code or self.code
        self.field = field
        self.metadata = metadata or {}

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {
            "code": self.code,
            "description": self.description,
            "source": "business",
            "step": "payment_initiation",
            "reason": self.reason,
            "metadata": self.metadata,
        }
        if self.field is not None:
            error["field"] = self.field
        return {"error": error}


class InvalidField(ProviderRefusal):
    def __init__(self, description: str, *, field: str) -> None:
        super().__init__(description, field=field)


class UnknownFields(ProviderRefusal):
    def __init__(self, fields: list[str]) -> None:
        verb = "is" if len(fields) == 1 else "are"
        super().__init__(f"{', '.join(fields)} {verb} not required and should not be sent")


class UnknownId(ProviderRefusal):
    reason = "NA"

    def __init__(self, status: int) -> None:
        super().__init__("The id provided does not exist", status=status)


class NotAnId(ProviderRefusal):
    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:64]} is not a valid id")


class UnknownUrl(ProviderRefusal):
    reason = "NA"

    def __init__(self, status: int) -> None:
        super().__init__("The requested URL was not found on the server.", status=status)


class NotAuthenticated(ProviderRefusal):
    reason = "NA"


class OrderAlreadyPaid(ProviderRefusal):
    reason = "order_already_paid"

    def __init__(self) -> None:
        super().__init__(
            "Your payment has been declined as the order is already paid. To pay again, start a new order."
        )


class PaymentAlreadyAuthorized(ProviderRefusal):
    reason = "payment_already_authorized"

    def __init__(self) -> None:
        super().__init__("Your payment has been declined as another payment of this order is authorized.")


class NotCapturable(ProviderRefusal):
    reason = "invalid_payment_status"


class NotRefundable(ProviderRefusal):
    reason = "invalid_payment_status"


class RefundKeyInUse(ProviderRefusal):
    """The same refund is being made at this moment; its answer will be there on a later try."""

    reason = "request_in_progress"

    def __init__(self) -> None:
        super().__init__(
            "Request failed because another request with the same idempotency key is in progress", status=409
        )


class RefundKeyMismatch(ProviderRefusal):
    reason = "idempotency_key_mismatch"

    def __init__(self, status: int) -> None:
        super().__init__("Different request with the same idempotency key has already been processed.", status=status)


class ServerTrouble(ProviderRefusal):
    code = "SERVER_ERROR"
    status = 500
    reason = "server_error"

    def __init__(self) -> None:
        super().__init__("We are facing some trouble completing your request at the moment. Please try again shortly.")
