"""What a log must not tell: secrets of the shop, and whatever shoppers of this run brought with them."""

import json
import re
from collections.abc import Iterable
from typing import Any

PATTERNS = {
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}"),
    "a token": re.compile(r"\beyJ[\w-]{8,}|\bBearer [\w.-]{8,}"),
    "a card number": re.compile(r"(?<![\w.-])(?:\d[ -]?){15,18}\d(?![\w.-])"),
    "an address with its password": re.compile(r"://[^/\s:@]+:[^/\s:@]+@"),
    "a statement's parameters": re.compile(r"\[parameters: (?!hidden)"),
    "a row that PostgreSQL quotes": re.compile(r"DETAIL:\s+(?!left out)"),
}
"""What such things look like, whoever brought them."""

SHORTEST = 4
"""A shorter value is found in any text."""

_used: set[str] = set()


def used(*values: Any) -> None:
    """Remember values of a shopper, however deep they lie, to be searched for when the run is over."""
    for value in values:
        if isinstance(value, dict):
            used(*value.values())
        elif isinstance(value, list | tuple):
            used(*value)
        elif isinstance(value, str) and len(value) >= SHORTEST:
            _used.add(value)


def leaks(log: str, *, secrets: Iterable[str] = ()) -> list[str]:
    """Every line that tells too much, with what it tells; an empty list is what everybody wants."""
    wanted = {value for value in (*_used, *secrets) if len(value) >= SHORTEST}
    # One search for all of them; a value counts as a whole, not as part of some id.
    values = re.compile("|".join(rf"(?<![\w-]){re.escape(value)}(?![\w-])" for value in sorted(wanted)) or r"(?!)")
    found = []
    for line in log.splitlines():
        text = _decoded(line)
        told = [name for name, pattern in PATTERNS.items() if pattern.search(text)]
        told += [f"{match[0][:6]}…" for match in values.finditer(text)]
        if told:
            found.append(f"{', '.join(told)}: {line[:300]}")
    return found


def _decoded(line: str) -> str:
    """As people read it: JSON hides a quote or a letter behind an escape."""
    try:
        return f"{line} {json.dumps(json.loads(line), ensure_ascii=False)}"
    except ValueError:
        return line


def secrets_of(home: dict[str, Any]) -> list[str]:
    """Every secret of a data folder, as its secrets.json has them."""
    keys = [key["d"] for key in (*home["signing_keys"], *home["service_keys"].values())]
    plain = [home["refresh_key"], home["razorpay_key_secret"], home["webhook_secret"]]
    return [*plain, *home["database_passwords"].values(), *keys]
