"""What of a request's and an answer's header lines is believed and handed on.

Nothing is passed through because it happened to be there. A request to a service is built from a short list of
headers; identity headers are not on it in any spelling, so they need no list of their own. Answers likewise.
"""

import re
from dataclasses import dataclass

from gateway.errors import FramingRefused, HeaderRefused, HeadTooLarge, HostRefused

Headers = list[tuple[bytes, bytes]]

MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024

FORWARDED = frozenset(
    {
        b"accept",
        b"accept-language",
        b"authorization",
        b"content-type",
        b"idempotency-key",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"tracestate",
        b"user-agent",
        b"x-cart-token",
    }
)
"""Handed on as they came. The cookie, the length and the ids of the request are built anew."""

_READ_HERE = frozenset(
    {
        b"access-control-request-headers",
        b"access-control-request-method",
        b"cache-control",
        b"connection",
        b"content-length",
        b"cookie",
        b"expect",
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"traceparent",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"x-razorpay-event-id",
        b"x-razorpay-signature",
    }
)
_LISTS = frozenset(
    {
        b"accept",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"if-match",
        b"if-none-match",
        b"tracestate",
        b"x-forwarded-for",
    }
)
"""Headers that may stand several times, which means the same as once with commas."""
_KNOWN = FORWARDED | _READ_HERE
_END_TO_END = frozenset({b"host", b"content-length", b"transfer-encoding"})

_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS = re.compile(rb"[0-9]{1,15}")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_CART_TOKEN = re.compile(rb"(?:^|;)[ \t]*cart_token=([A-Za-z0-9_.~-]{1,256})[ \t]*(?=;|$)")

ANSWERED = frozenset(
    {
        b"allow",
        b"cache-control",
        b"content-disposition",
        b"content-language",
        b"content-length",
        b"content-security-policy",
        b"content-type",
        b"etag",
        b"idempotency-replayed",
        b"last-modified",
        b"location",
        b"retry-after",
        b"vary",
        b"www-authenticate",
        b"x-cart-token",
    }
)
"""What a service may tell a client."""

SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
NOTHING_RUNS = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def collect(headers: Headers) -> dict[bytes, bytes]:
    """The headers that matter to anybody behind this door, once each, by lower-case name.

    Raises HeadTooLarge and HeaderRefused.
    """
    if len(headers) > MAX_HEADERS:
        raise HeadTooLarge(f"Send at most {MAX_HEADERS} headers.")
    names = [name.lower() for name, _ in headers]
    # One search over everything: this runs for each request.
    every_name, every_value = b"".join(names), b"".join([value for _, value in headers])
    if _BAD_VALUE.search(every_value) or not _NAMES.fullmatch(every_name) or b"" in names:
        raise HeaderRefused("Header names are tokens, and their values contain no control characters.")
    if len(every_name) + len(every_value) + 4 * len(headers) > MAX_HEADER_BYTES:
        raise HeadTooLarge(f"Send at most {MAX_HEADER_BYTES} bytes of headers.")
    known: dict[bytes, bytes] = {}
    for name, (_, padded) in zip(names, headers, strict=True):
        if name not in _KNOWN:
            continue
        # Spaces around a value are no part of it (RFC 9112 §5.1); the parser leaves those behind it.
        value = padded.strip(b" \t")
        if name in known:
            if name not in _LISTS:
                _refuse_repeated(name)
            known[name] += b", " + value
        else:
            known[name] = value
    connection = known.pop(b"connection", None)
    if connection is not None:
        _drop_named(known, connection)
    return known


def _refuse_repeated(name: bytes) -> None:
    if name == b"host":
        raise HostRefused("Send exactly one Host header.")
    if name in _END_TO_END:
        raise FramingRefused(f"Send {name.decode()} once.")
    raise HeaderRefused(f"Send {name.decode()} once.")


def _drop_named(known: dict[bytes, bytes], connection: bytes) -> None:
    """Headers named by Connection end here (RFC 9110 §7.6.1), before anything reads them."""
    for option in connection.lower().split(b","):
        name = option.strip()
        if name in _END_TO_END:
            raise HeaderRefused("Connection names a header that is not only for this connection.")
        known.pop(name, None)


def check_host(known: dict[bytes, bytes], allowed: frozenset[str]) -> None:
    """Exactly one Host, and one of ours. Raises HostRefused."""
    host = known.get(b"host")
    match = _HOST.fullmatch(host) if host else None
    if match is None:
        raise HostRefused("Send one well-formed Host header.")
    name = match[1].decode().lower()
    if name not in allowed and f"{name}:{(match[2] or b'').decode()}" not in allowed:
        raise HostRefused("This shop is not known by that host name; the operator lists its names in GATEWAY_HOSTS.")


def body_length(known: dict[bytes, bytes], *, http_version: str) -> int | None:
    """How many bytes the body has; None when only its end will tell.

    Raises FramingRefused for everything two parsers could disagree about.
    """
    length = known.get(b"content-length")
    coding = known.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise FramingRefused("Send Content-Length or Transfer-Encoding, not both.")
        if coding.lower() != b"chunked" or http_version == "1.0":
            raise FramingRefused("The only transfer coding taken is chunked, in HTTP/1.1.")
        return None
    if length is None:
        return 0
    if not _DIGITS.fullmatch(length):
        raise FramingRefused("Content-Length is a decimal number.")
    return int(length)


def cart_cookie(known: dict[bytes, bytes]) -> bytes | None:
    """The guest cart's token in the cookie header, if it is there."""
    match = _CART_TOKEN.search(known.get(b"cookie", b""))
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """Status and headers of an answer on its way to a client."""

    status: int
    headers: Headers


def clean_answer(headers: Headers, *, sets_cookie: bool) -> Headers:
    """The headers of a service's answer that a client may see."""
    kept: Headers = []
    for name, value in headers:
        if name not in ANSWERED and not (sets_cookie and name == b"set-cookie"):
            continue
        if _BAD_VALUE.search(value):
            continue
        kept.append((name, _local(value) if name == b"location" else value))
    return kept


def _local(location: bytes) -> bytes:
    """A place on this host: a service knows its own address, which is nobody's business."""
    if location.startswith((b"http://", b"https://")):
        location = b"/" + location.split(b"//", 1)[1].partition(b"/")[2]
    return b"/" + location.lstrip(b"/\\")
