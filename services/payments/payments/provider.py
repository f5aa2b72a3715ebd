"""The port to the company that moves money: what we ask of it, and the ways in which it does not answer."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

PAGE = 100
"""The most that one list of the provider holds."""

LARGEST_AMOUNT = 10**15
"""More than anybody pays, and what a BIGINT sum of many still holds."""

_ID = re.compile(r"(order|pay|rfnd)_[A-Za-z0-9]{14}")


class ProviderError(Exception):
    """The provider did not do what it was asked.

    ProviderError
    ├── ProviderRefused      a definite no: nothing was done
    │   └── UnknownToProvider    it has nothing with this id
    ├── ProviderUnreachable  nothing was done, and the same may succeed later
    └── OutcomeUnknown       it may have been done
    """


class ProviderRefused(ProviderError):
    """A definite no (4xx other than those below)."""


class UnknownToProvider(ProviderRefused):
    """The provider has nothing with this id."""


class ProviderUnreachable(ProviderError):
    """No connection, no free place in the pool, an open breaker, or our key is not accepted (401, 403)."""


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
    captured: bool = False
    amount_refunded: int = 0
    method: str | None = None
    error_code: str | None = None
    error_description: str | None = None
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderLabels:
    """What whoever made an order at the provider wrote on it."""

    receipt: str | None
    notes: dict[str, str]


class RefundWord(StrEnum):
    """The provider's words for where a refund stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    FAILED = "failed"


_REFUND_WORDS = {**{str(word): word for word in RefundWord}, "reversed": RefundWord.FAILED}
"""What was reversed came back from the shopper's bank. A word of tomorrow says nothing yet."""


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

    async def labels_of(self, order_id: str) -> OrderLabels:
        """What was written on an order. Raises UnknownToProvider when there is none of this id."""
        ...

    async def payments_of(self, order_id: str) -> list[ProviderPayment]:
        """Every attempt at an order."""
        ...

    async def payment(self, payment_id: str) -> ProviderPayment:
        """One attempt."""
        ...

    async def payments_since(self, since: int, *, skip: int) -> list[ProviderPayment]:
        """Attempts made since a Unix time, at most `PAGE` of them, leaving out the first `skip`."""
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

    async def refunds_since(self, since: int, *, skip: int) -> list[ProviderRefund]:
        """Refunds made since a Unix time, at most `PAGE` of them, leaving out the first `skip`."""
        ...

    def proves_handshake(self, *, order_id: str, payment_id: str, signature: str) -> bool:
        """Whether the checkout's signature is the provider's."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...


def checked_id(identifier: object, *, kind: str) -> str:
    """An id that is safe in a path and as a key. Raises OutcomeUnknown for what the provider would not call one."""
    if isinstance(identifier, str) and _ID.fullmatch(identifier) and identifier.startswith(f"{kind}_"):
        return identifier
    raise OutcomeUnknown(f"not an id of the provider: {str(identifier)[:40]!r}")


def as_payment(entity: Any) -> ProviderPayment:
    """Read the provider's JSON tolerantly: unknown fields ignored, absent ones as null. Raises OutcomeUnknown."""
    try:
        return ProviderPayment(
            id=checked_id(entity["id"], kind="pay"),
            order_id=_text(entity.get("order_id")),
            status=_text(entity["status"]) or "",
            amount=_whole(entity["amount"]),
            currency=_text(entity["currency"]) or "",
            captured=entity.get("captured") is True,
            amount_refunded=_whole(entity.get("amount_refunded") or 0),
            method=_text(entity.get("method")),
            error_code=_text(entity.get("error_code")),
            error_description=_text(entity.get("error_description")),
            raw=entity,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutcomeUnknown(f"not a payment: {error!r}") from error


def as_refund(entity: Any) -> ProviderRefund:
    """Read the provider's JSON tolerantly. Raises OutcomeUnknown."""
    try:
        return ProviderRefund(
            id=checked_id(entity["id"], kind="rfnd"),
            payment_id=checked_id(entity["payment_id"], kind="pay"),
            amount=_whole(entity["amount"]),
            status=_REFUND_WORDS.get(entity.get("status"), RefundWord.PENDING),
            receipt=_text(entity.get("receipt")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutcomeUnknown(f"not a refund: {error!r}") from error


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_AMOUNT:
        raise ValueError(value)
    return value


def _text(value: Any) -> str | None:
    """Empty texts stand for null in some of the provider's documents."""
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value or None
