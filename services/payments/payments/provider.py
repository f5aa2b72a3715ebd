"""The port to the company that moves money: what we ask of it, and the ways in which it does not answer."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class ProviderError(Exception):
    """The provider did not do what it was asked.

    ProviderError
    ├── ProviderRefused      a definite no: nothing was done
    ├── ProviderUnreachable  nothing was sent
    └── OutcomeUnknown       it may have been done
    """


class ProviderRefused(ProviderError):
    """A definite no (4xx other than 409 and 429)."""


class ProviderUnreachable(ProviderError):
    """Nothing was sent: no connection, no free place in the pool, or the breaker is open."""


class OutcomeUnknown(ProviderError):
    """Time-out, broken answer, 5xx, 409 or 429: repeat reads freely, look before repeating anything else."""


@dataclass(frozen=True, slots=True)
class ProviderPayment:
    """An attempt as the provider describes it."""

    id: str
    order_id: str | None
    status: str
    """created, failed, authorized, captured or refunded."""
    amount: int
    currency: str
    captured: bool
    amount_refunded: int
    method: str | None
    error_code: str | None
    error_description: str | None
    raw: dict[str, Any] = field(default_factory=dict)


class RefundWord(StrEnum):
    """The provider's words for where a refund stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProviderRefund:
    """A refund as the provider describes it."""

    id: str
    payment_id: str
    amount: int
    status: RefundWord
    receipt: str | None


class Provider(Protocol):
    """Every method raises ProviderError."""

    async def create_order(self, *, receipt: str, amount: int, currency: str, notes: dict[str, str]) -> str:
        """Make an order; its id. Not repeatable: look it up by receipt when the outcome is unknown."""
        ...

    async def orders_of(self, receipt: str) -> list[str]:
        """The ids of the orders with this receipt."""
        ...

    async def payments_of(self, order_id: str) -> list[ProviderPayment]:
        """Every attempt at an order."""
        ...

    async def payment(self, payment_id: str) -> ProviderPayment:
        """One attempt."""
        ...

    async def capture(self, payment_id: str, *, amount: int, currency: str) -> ProviderPayment:
        """Take authorised money."""
        ...

    async def refund(self, payment_id: str, *, key: str, body: str) -> ProviderRefund:
        """Give money back. Repeatable with the same key and the byte-identical JSON body."""
        ...

    async def refunds_of(self, payment_id: str) -> list[ProviderRefund]:
        """Every refund of an attempt."""
        ...

    def proves_handshake(self, *, order_id: str, payment_id: str, signature: str) -> bool:
        """Whether the checkout's signature is the provider's."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...


def as_payment(entity: dict[str, Any]) -> ProviderPayment:
    """Read the provider's JSON tolerantly: unknown fields ignored, absent ones as null. Raises OutcomeUnknown."""
    try:
        return ProviderPayment(
            id=str(entity["id"]),
            order_id=entity.get("order_id") or None,
            status=str(entity["status"]),
            amount=_whole(entity["amount"]),
            currency=str(entity["currency"]),
            captured=bool(entity.get("captured")),
            amount_refunded=_whole(entity.get("amount_refunded") or 0),
            method=entity.get("method") or None,
            error_code=entity.get("error_code") or None,
            error_description=entity.get("error_description") or None,
            raw=entity,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutcomeUnknown(f"not a payment: {error!r}") from error


def as_refund(entity: dict[str, Any]) -> ProviderRefund:
    """Read the provider's JSON tolerantly. Raises OutcomeUnknown."""
    try:
        status = RefundWord(entity.get("status") or "pending")
        return ProviderRefund(
            id=str(entity["id"]),
            payment_id=str(entity["payment_id"]),
            amount=_whole(entity["amount"]),
            status=status,
            receipt=entity.get("receipt") or None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutcomeUnknown(f"not a refund: {error!r}") from error


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
