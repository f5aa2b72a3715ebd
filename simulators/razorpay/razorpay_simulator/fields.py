"""Reading what a merchant's server sent: the checks and the sentences of refusal."""

import re
from collections.abc import Collection, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from razorpay_simulator.errors import InvalidField, UnknownFields
from razorpay_simulator.records import Notes, Order, Payment, Refund
from razorpay_simulator.store import Table
from razorpay_simulator.variants import Variants

MOST_PAISE = 10**12
Listed = TypeVar("Listed", Order, Payment, Refund)


class Page(Struct, frozen=True, kw_only=True):
    """The window of a list: `from`, `to`, `count`, `skip`."""

    since: int | None
    until: int | None
    count: int
    skip: int

    @classmethod
    def from_query(cls, query: dict[str, list[str]]) -> "Page":
        count = _number(query, "count", most=100)
        return cls(
            since=_number(query, "from"),
            until=_number(query, "to"),
            count=10 if count is None else count,
            skip=_number(query, "skip") or 0,
        )

    def of(
        self,
        table: Table[Listed],
        variants: Variants,
        *,
        conditions: Sequence[str] = (),
        values: Sequence[str] = (),
    ) -> list[Listed]:
        wanted, bounds = list(conditions), list[str | int](values)
        if self.since is not None:
            wanted.append("created_at >= ?")
            bounds.append(self.since)
        if self.until is not None:
            wanted.append("created_at <= ?")
            bounds.append(self.until)
        direction = "DESC" if variants.list_order == "newest_first" else "ASC"
        return table.where(
            " AND ".join(wanted) or "TRUE",
            bounds,
            order=f"created_at {direction}, position {direction} LIMIT {self.count} OFFSET {self.skip}",
        )


def amount_field(body: dict[str, Any], name: str = "amount") -> int:
    amount = body.get(name)
    if amount is None:
        raise InvalidField(f"The {name} field is required.", field=name)
    if isinstance(amount, str) and amount.isascii() and amount.isdecimal() and len(amount) < 16:
        amount = int(amount)
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise InvalidField(f"The {name} must be an integer.", field=name)
    if amount < 100:
        raise InvalidField(f"The {name} must be at least INR 1.00", field=name)
    if amount > MOST_PAISE:
        raise InvalidField("Amount exceeds maximum amount allowed.", field=name)
    return amount


def currency_field(body: dict[str, Any], *, default: str | None = None) -> str:
    currency = body.get("currency", default)
    if currency is None:
        raise InvalidField("The currency field is required.", field="currency")
    if currency != "INR":
        raise InvalidField("Currency is not supported", field="currency")
    return "INR"


def receipt_field(body: dict[str, Any]) -> str | None:
    receipt = body.get("receipt")
    if receipt is None:
        return None
    if not isinstance(receipt, str):
        raise InvalidField("The receipt must be a string.", field="receipt")
    if len(receipt) > 40:
        raise InvalidField("The receipt may not be greater than 40 characters.", field="receipt")
    return receipt


def choice_field(body: dict[str, Any], name: str, choices: Sequence[str], *, default: str | None = None) -> str:
    value = body.get(name, default)
    if value is None:
        raise InvalidField(f"The {name} field is required.", field=name)
    if value not in choices:
        raise InvalidField(f"The selected {name} is invalid.", field=name)
    return str(value)


def checked_notes(body: dict[str, Any]) -> Notes:
    notes = body.get("notes")
    if not notes:
        return {}
    if not isinstance(notes, dict):
        raise InvalidField("The notes must be an object.", field="notes")
    if len(notes) > 15:
        raise InvalidField("Number of fields in notes should be less than or equal to 15", field="notes")
    for value in notes.values():
        if isinstance(value, dict | list):
            raise InvalidField("The notes values must not be objects or lists.", field="notes")
        if isinstance(value, str) and len(value) > 256:
            raise InvalidField("The notes values may not be greater than 256 characters.", field="notes")
    return notes


def refuse_unknown(body: dict[str, Any], *, known: Collection[str]) -> None:
    unknown = [name[:64] for name in body if name not in known]
    if unknown:
        raise UnknownFields(unknown)


def _number(query: dict[str, list[str]], name: str, *, most: int = 2**40) -> int | None:
    text = query.get(name, [""])[-1]
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 14):
        raise InvalidField(f"The {name} must be an integer.", field=name)
    if int(text) > most:
        raise InvalidField(f"The {name} may not be greater than {most}.", field=name)
    return int(text)


def check_address(url: str) -> None:
    """Raises InvalidField for what nobody could be called at."""
    try:
        address = urlsplit(url)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]{1,2000}", url):
        raise InvalidField("The url must be an http or https address.", field="url")
