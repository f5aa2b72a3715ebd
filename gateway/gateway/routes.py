"""The public URL map as data. Read this first: what is not listed here cannot be reached from outside.

The table picks the service and its limits. Which role a route needs is declared in the service that owns it,
so a new route below a listed prefix needs no new gateway.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote_to_bytes

KIB = 1024
GATEWAY = "gateway"
"""The name under which the gateway's own pages are reached, as if they were one more service."""


class LimitClass(StrEnum):
    """Which allowance a request draws on; the figures are settings."""

    READ = "read"
    WRITE = "write"
    SIGN_IN = "sign_in"
    """Counted by address, also for callers who bring a token: guessing must not get cheaper with an account."""
    PASSWORD = "password"  # noqa: S105 - the name of a class of routes, not a secret
    """As above, tighter."""
    NONE = "none"


BY_ADDRESS = frozenset({LimitClass.SIGN_IN, LimitClass.PASSWORD})


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix of whole path segments, and how requests below it are treated."""

    prefix: str
    service: str
    methods: frozenset[str]
    exact: bool = False
    """Nothing below the prefix, only the path itself."""
    anonymous: bool = False
    """Reachable without a token. With a bad one it is not: that client thinks it is signed in."""
    uses_token: bool = True
    """False where nobody looks at it: it is neither checked nor handed on, so that a client may sign in or refresh
    with the expired one still attached."""
    writes: LimitClass = LimitClass.WRITE
    reads: LimitClass = LimitClass.READ
    timeout: float = 10.0
    """Seconds until the service's answer begins."""
    deadline: float = 30.0
    """Seconds until the whole exchange is over. The body of a request has what `timeout` leaves of it."""
    body_limit: int = 64 * KIB
    cacheable: bool = False
    """Public reads whose answers carry a validator and a lifetime."""
    sets_cookie: bool = False
    reads_cookie: bool = False
    """The guest cart's cookie is handed on; no other cookie ever is."""
    guards_cookie: bool = False
    """Writes that rest on the cookie alone must come from a listed origin."""
    cors: bool = True
    extra_headers: frozenset[bytes] = frozenset()
    """Request headers handed on here only."""

    def limit_for(self, method: str) -> LimitClass:
        """The allowance that a request with this method draws on."""
        return self.reads if method in ("GET", "HEAD") else self.writes


METHOD_ORDER = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
GET = frozenset({"GET", "HEAD"})
POST = frozenset({"POST"})
ANY = frozenset(METHOD_ORDER)
WEBHOOK = frozenset({b"x-razorpay-signature", b"x-razorpay-event-id"})

ROUTES: tuple[Route, ...] = (
    Route("/.well-known/jwks.json", "accounts", GET, exact=True, anonymous=True, uses_token=False),
    Route("/api/v1/auth", "accounts", POST, anonymous=True, writes=LimitClass.SIGN_IN),
    Route("/api/v1/auth/login", "accounts", POST, anonymous=True, uses_token=False,
          writes=LimitClass.SIGN_IN, sets_cookie=True, reads_cookie=True),
    Route("/api/v1/auth/register", "accounts", POST, anonymous=True, uses_token=False,
          writes=LimitClass.SIGN_IN, sets_cookie=True, reads_cookie=True),
    Route("/api/v1/auth/refresh", "accounts", POST, anonymous=True, uses_token=False),
    Route("/api/v1/auth/logout", "accounts", POST),
    Route("/api/v1/auth/logout-all", "accounts", POST),
    Route("/api/v1/auth/password", "accounts", POST, anonymous=True, writes=LimitClass.PASSWORD),
    Route("/api/v1/users", "accounts", ANY),
    Route("/api/v1/categories", "catalog", ANY, anonymous=True, cacheable=True),
    Route("/api/v1/products", "catalog", ANY, anonymous=True, cacheable=True),
    Route("/api/v1/inventory", "catalog", ANY),
    Route("/api/v1/cart", "cart", ANY, anonymous=True, sets_cookie=True, reads_cookie=True, guards_cookie=True),
    Route("/api/v1/orders", "orders", ANY, reads_cookie=True, timeout=15.0),
    Route("/api/v1/admin/orders", "orders", ANY, timeout=15.0),
    Route("/api/v1/admin/payments", "payments", GET, timeout=15.0),
    Route("/api/v1/payments", "payments", ANY, timeout=15.0),
    Route("/api/v1/payments/webhooks/razorpay", "payments", POST, exact=True, anonymous=True, uses_token=False,
          writes=LimitClass.NONE, body_limit=256 * KIB, cors=False, extra_headers=WEBHOOK),
    Route("/", GATEWAY, GET, exact=True, anonymous=True),
    Route("/livez", GATEWAY, GET, exact=True, anonymous=True, reads=LimitClass.NONE),
    Route("/readyz", GATEWAY, GET, exact=True, anonymous=True, reads=LimitClass.NONE),
    Route("/docs", GATEWAY, GET, anonymous=True),
    Route("/openapi.json", GATEWAY, GET, exact=True, anonymous=True),
    Route("/asyncapi.json", GATEWAY, GET, exact=True, anonymous=True),
    Route("/problems", GATEWAY, GET, anonymous=True),
    Route("/status", GATEWAY, GET, exact=True, anonymous=True),
)  # fmt: skip


class RouteTable:
    """Finds the route with the longest prefix, by whole segments and on the bytes as they came."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self.routes = tuple(routes)
        self._by_prefix = {route.prefix.encode(): route for route in self.routes}
        self._depth = max(route.prefix.count("/") for route in self.routes)

    def find(self, path: bytes) -> Route | None:
        """The route of a raw path; an encoded letter in a prefix is another path, so it finds none.

        Nor a shorter prefix's, whose limits are others: a service decodes the path and would find its own route.
        """
        route = self._longest(path)
        if b"%" in path and self._longest(unquote_to_bytes(path)) is not route:
            return None
        return route

    def _longest(self, path: bytes) -> Route | None:
        prefix = b"/".join(path.split(b"/", self._depth + 1)[: self._depth + 1])
        while prefix:
            route = self._by_prefix.get(prefix)
            if route is not None and (prefix == path or not route.exact):
                return route
            prefix = prefix[: prefix.rfind(b"/")]
        return None

    @property
    def services(self) -> list[str]:
        """Every service behind the gateway, once each."""
        return sorted({route.service for route in self.routes} - {GATEWAY})


def as_markdown(routes: Iterable[Route]) -> str:
    """The table as the README shows it."""
    rows = ["| path | leads to | methods | without a token |", "|---|---|---|---|"]
    for route in routes:
        path = f"`{route.prefix}`" if route.exact else f"`{route.prefix}` and below"
        methods = ", ".join(method for method in METHOD_ORDER if method in route.methods)
        rows.append(f"| {path} | {route.service} | {methods} | {'yes' if route.anonymous else 'no'} |")
    return "\n".join(rows)
