"""Order numbers: short enough to say on the phone, and no clue to how many orders there are."""

import re
import secrets
from collections.abc import Collection, Iterable

SYMBOLS = "23456789BCDFGHJKMNPQRSTVWXYZ"
"""Nothing that looks or sounds like something else, and no vowels: a number never spells a word."""


def some_numbers() -> list[str]:
    """Three numbers like HT-7K2M-4Q9. There are thirteen thousand million, so one of them is free."""
    return [_spelled(secrets.choice(SYMBOLS) for _ in range(7)) for _ in range(3)]


def first_free(numbers: Iterable[str], taken: Collection[str]) -> str:
    """The first number that no order has."""
    return next(number for number in numbers if number not in taken)


def as_number(said: str) -> str:
    """The number somebody means, however they write it."""
    return _spelled(re.sub(r"[^0-9A-Z]", "", said.upper()).removeprefix("HT"))


def _spelled(symbols: Iterable[str]) -> str:
    text = "".join(symbols)
    return f"HT-{text[:4]}-{text[4:]}"
