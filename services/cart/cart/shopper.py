"""Who is shopping: a user by access token, a guest by cart token (header or cookie), or both while signing in."""

import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from cart.errors import OriginRefused
from cart.settings import CartSettings
from chassis.auth import Principal

HEADER = "X-Cart-Token"
COOKIE = "cart_token"
MAX_TOKEN = 200
"""Longer texts are no token of ours and not worth hashing."""


@dataclass(frozen=True, slots=True)
class Shopper:
    """One request's claim to a cart."""

    user_id: UUID | None
    token: str | None
    by_cookie: bool
    """The token came as the cookie."""

    @property
    def is_new(self) -> bool:
        """Neither signed in nor a guest with a token: whoever it is has no cart yet."""
        return self.user_id is None and self.token is None

    @property
    def token_hash(self) -> str | None:
        """What is stored of the token."""
        return None if self.token is None else hash_token(self.token)

    @property
    def key_scope(self) -> str | None:
        """The caller to whom an Idempotency-Key belongs; none for a newcomer."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        return None if self.token is None else f"guest:{self.token_hash}"


def hash_token(token: str) -> str:
    """How a guest's token is known everywhere: who reads a database or an event cannot use it."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """256 unguessable bits."""
    return secrets.token_urlsafe(32)


def shopper_of(request: Request) -> Shopper:
    """The shopper behind a request; the header wins over the cookie, as apps choose it on purpose."""
    principal: Principal | None = request.state.principal
    in_header = _usable(request.headers.get(HEADER))
    in_cookie = _usable(request.cookies.get(COOKIE))
    token = in_header or in_cookie
    return Shopper(
        user_id=principal.user_id if principal else None,
        token=token,
        by_cookie=token is not None and token == in_cookie,
    )


def refuse_foreign_origin(request: Request, settings: CartSettings) -> None:
    """A write that rests on the cookie alone must come from a page of ours: other sites' pages send cookies too.

    Raises OriginRefused.
    """
    if COOKIE not in request.cookies or HEADER in request.headers or "Authorization" in request.headers:
        return
    if request.headers.get("Sec-Fetch-Site") == "same-origin":
        return
    if request.headers.get("Origin") not in settings.allowed_origins:
        raise OriginRefused


def caller_of(request: Request) -> str | None:
    """The scope of idempotency keys in this service: guests have them as users do."""
    return shopper_of(request).key_scope


def hand_out_token(response: Response, token: str, settings: CartSettings) -> None:
    """Give a new guest the token, as header for apps and as cookie for browsers."""
    response.headers[HEADER] = token
    keep_cookie(response, token, settings)


def keep_cookie(response: Response, token: str, settings: CartSettings) -> None:
    """Set the cookie (again), to live as long as an untouched cart from now on."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(settings.guest_cart_lifetime.total_seconds()),
        path="/",
        secure=settings.cookie_is_secure,
        httponly=True,
        samesite="lax",
    )


def clear_cookie(response: Response, settings: CartSettings) -> None:
    """Make a browser forget a token that is dead."""
    response.delete_cookie(COOKIE, path="/", secure=settings.cookie_is_secure, httponly=True, samesite="lax")


def _usable(token: str | None) -> str | None:
    return token if token and len(token) <= MAX_TOKEN else None
