"""Amounts of money: an integer count of minor units and a currency. Never a float, never a bare number on the wire."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from chassis.strict import MAX_AMOUNT, Answer

Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$"), Field(description="ISO 4217.", examples=["INR"])]


class Money(Answer):
    """`{"amount": 149900, "currency": "INR"}` is 1,499 rupees."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", from_attributes=True)

    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT * 50 * 99, examples=[149900])]
    """Minor units (paise)."""
    currency: Currency

    @classmethod
    def of(cls, amount: int, currency: str) -> "Money":
        """An amount that is already known to be good."""
        return cls.model_construct(amount=amount, currency=currency)
