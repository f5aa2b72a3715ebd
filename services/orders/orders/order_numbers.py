"""Order numbers: short enough to say on the phone, and no clue to how many orders there are."""

import re
import secrets
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.models import Order

SYMBOLS = "23456789BCDFGHJKMNPQRSTVWXYZ"
"""Nothing that looks or sounds like something else, and no vowels: a number never spells a word."""


async def free_number(session: AsyncSession) -> str:
    """A number like HT-7K2M-4Q9 that no order has. There are thirteen thousand million of them."""
    numbers = [_spelled(secrets.choice(SYMBOLS) for _ in range(7)) for _ in range(3)]
    taken = set(await session.scalars(select(Order.number).where(Order.number.in_(numbers))))
    return next(number for number in numbers if number not in taken)


def as_number(said: str) -> str:
    """The number somebody means, however they write it."""
    return _spelled(re.sub(r"[^0-9A-Z]", "", said.upper()).removeprefix("HT"))


def _spelled(symbols: Iterable[str]) -> str:
    text = "".join(symbols)
    return f"HT-{text[:4]}-{text[4:]}"
