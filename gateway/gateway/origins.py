"""Pages of other sites: which may read answers here (CORS), and which may write with the visitor's cookie."""

from gateway.errors import OriginRefused
from gateway.headers import Headers
from gateway.routes import Route

EXPOSED = (
    b"ETag, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset,"
    b" X-Request-ID, X-Cart-Token, Idempotency-Replayed"
)
ACCEPTED = b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Cart-Token, Traceparent"
PREFLIGHT_LIFETIME = b"600"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    """The exact list of origins that are trusted with credentials."""

    def __init__(self, listed: tuple[str, ...]) -> None:
        self._listed = frozenset(origin.encode() for origin in listed)

    def headers(self, known: dict[bytes, bytes], route: Route | None) -> Headers:
        """What lets a listed page read the answer. `Vary` always, or a cache would mix the two answers up."""
        if not self._listed or (route is not None and not route.cors):
            return []
        origin = known.get(b"origin")
        if origin not in self._listed:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", EXPOSED),
        ]

    def preflight(self, known: dict[bytes, bytes], route: Route) -> Headers:
        """The answer to a browser that asks before it sends. Raises OriginRefused."""
        if not route.cors or known.get(b"origin") not in self._listed:
            raise OriginRefused("This origin is not listed; the operator lists origins in CORS_ORIGINS.")
        return [
            (b"access-control-allow-methods", ", ".join(sorted(route.methods)).encode()),
            (b"access-control-allow-headers", ACCEPTED),
            (b"access-control-max-age", PREFLIGHT_LIFETIME),
        ]

    def guard_cookie(self, method: str, known: dict[bytes, bytes]) -> None:
        """A write that rests on the cookie alone must come from our own or a listed page. Raises OriginRefused."""
        if method in SAFE or b"authorization" in known or b"x-cart-token" in known:
            return
        if known.get(b"sec-fetch-site") == b"same-origin" or known.get(b"origin") in self._listed:
            return
        raise OriginRefused("Send the cart token as X-Cart-Token, or write from a listed origin.")
