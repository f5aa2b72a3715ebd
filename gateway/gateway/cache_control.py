"""What a Cache-Control header allows a shared cache (RFC 9111 §5.2, RFC 5861)."""

import re
from typing import NamedTuple

from gateway.headers import Headers

MAX_KEPT = 256 * 1024
"""Bytes of the largest answer that is kept."""

_SECONDS = re.compile(rb'"?([0-9]{1,9})"?')
_FORBIDDING = frozenset({b"no-store", b"no-cache", b"private"})


class Lifetime(NamedTuple):
    """Seconds, counted from the answer."""

    fresh: float
    usable: float
    """How long it may be sent while it is confirmed; not less than `fresh`."""
    spare: float
    """How long it may be sent when its service fails; not less than `usable`."""


def lifetime_of(headers: Headers) -> Lifetime | None:
    """How long an answer may be kept for everybody; None when its service does not say plainly that it may.

    Answers that depend on a request's headers, set a cookie or hand out a cart are not kept whatever they say.
    """
    said = b""
    for name, value in headers:
        if name in (b"vary", b"set-cookie", b"x-cart-token"):
            return None
        if name == b"cache-control":
            said = said + b"," + value if said else value
    directives = directives_of(said)
    if b"public" not in directives or not _FORBIDDING.isdisjoint(directives):
        return None
    fresh = _seconds(directives.get(b"s-maxage", directives.get(b"max-age", b"")))
    if not fresh:
        return None
    usable = fresh + _seconds(directives.get(b"stale-while-revalidate", b""))
    return Lifetime(fresh, usable, max(usable, fresh + _seconds(directives.get(b"stale-if-error", b""))))


def wants_fresh(said: bytes | None) -> bool:
    """Whether a client asks for an answer from the service itself, as a browser does on reload."""
    if said is None:
        return False
    directives = directives_of(said)
    return b"no-cache" in directives or directives.get(b"max-age") == b"0"


def forbids_keeping(said: bytes | None) -> bool:
    """Whether a client asks that nothing of this be kept."""
    return said is not None and b"no-store" in directives_of(said)


def directives_of(said: bytes) -> dict[bytes, bytes]:
    """Names in lower case, with what follows their `=`."""
    pairs = (part.strip().partition(b"=") for part in said.lower().split(b","))
    return {name.strip(): value.strip() for name, _, value in pairs if name}


def announced(headers: Headers) -> int | None:
    """The length of a body that may be kept; None when it is too large or not told."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and len(value) < 10:
            length = int(value)
            return length if length <= MAX_KEPT else None
    return None


def _seconds(value: bytes) -> float:
    match = _SECONDS.fullmatch(value)
    return float(match[1]) if match else 0.0
