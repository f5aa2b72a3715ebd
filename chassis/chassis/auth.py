"""Who is asking: access tokens of people (RFC 9068) and short-lived tokens between services.

A token is verified once and remembered until it expires or a key is withdrawn. Only ES256 is accepted, keys come from
our own set by `kid`, and headers that bring a key along are ignored (RFC 8725). Each kind of token has its own `typ`
and its own audience, so that none passes as another.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
import msgspec
from jwt.algorithms import ECAlgorithm

from chassis.ids import new_id
from chassis.problems import TokenInvalid, Unavailable
from chassis.telemetry import get_logger

ALGORITHM = "ES256"
ACCESS = "at+jwt"
SERVICE = "svc+jwt"
LEEWAY = 10
"""Seconds by which two clocks may differ."""
MAX_TOKEN = 4096
REMEMBERED = 10_000
SERVICE_TOKEN_LIFETIME = 60
KEY_FETCH = 3
"""Seconds that the source of the keys may take to tell them all; requests wait for it."""
KEY_REFRESH = 300
UNKNOWN_KEY_REFRESH = 30
"""Seconds between fetches of the key set that an unknown `kid` may cause."""


class UserRole(StrEnum):
    """What a signed-in person may do; each includes the ones before."""

    CUSTOMER = "customer"
    STAFF = "staff"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """A person whose access token was verified."""

    user_id: UUID
    session_id: UUID
    role: UserRole
    expires_at: int
    """Unix seconds."""

    @property
    def is_staff(self) -> bool:
        """May see and change what belongs to the shop."""
        return self.role in (UserRole.STAFF, UserRole.ADMIN)

    @property
    def is_admin(self) -> bool:
        """May manage people."""
        return self.role is UserRole.ADMIN


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """Another service whose token was verified."""

    service: str
    expires_at: int


def generate_key(kid: str) -> dict[str, Any]:
    """A new private P-256 JWK."""
    from cryptography.hazmat.primitives.asymmetric import ec

    jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return {**jwk, "kid": kid, "alg": ALGORITHM, "use": "sig"}


def public_part(jwk: dict[str, Any]) -> dict[str, Any]:
    """A JWK without what must stay secret."""
    return {name: value for name, value in jwk.items() if name not in ("d", "key_ops")}


class UnknownKey(TokenInvalid):
    """The token names a key that is not in the set (yet)."""


class TokenExpired(TokenInvalid):
    """The token was good once: its time, or its session, is over."""


class KeySet:
    """Public keys by `kid`; kept parsed. Keeps the last good set when its source is down."""

    def __init__(
        self, fetch: Callable[[], Awaitable[bytes]] | None = None, document: bytes | str | None = None
    ) -> None:
        self._fetch = fetch
        self._keys: dict[str, Any] = {}
        self.withdrawals = 0
        """How often a key was taken out of the set: no token that was verified before is to be believed unseen."""
        self._fetched_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        if document is not None:
            self.replace(document)

    @property
    def is_loaded(self) -> bool:
        """Whether there is any key to verify with."""
        return bool(self._keys)

    @property
    def is_awaited(self) -> bool:
        """Whether the source has never answered."""
        return self._fetch is not None and not self._keys

    def replace(self, document: bytes | str) -> None:
        """Take over a JWKS document; keys of other algorithms are left out."""
        keys = {}
        for jwk in msgspec.json.decode(document)["keys"]:
            if jwk.get("kty") == "EC" and jwk.get("crv") == "P-256" and "kid" in jwk:
                keys[jwk["kid"]] = ECAlgorithm(ECAlgorithm.SHA256).from_jwk(public_part(jwk))
        self.withdrawals += any(keys.get(kid) != key for kid, key in self._keys.items())
        self._keys = keys

    def get(self, kid: str) -> Any:
        """The key of that name. Raises UnknownKey."""
        if kid not in self._keys:
            raise UnknownKey
        return self._keys[kid]

    def is_stale(self, now: float) -> bool:
        """Whether the periodic refresh is due."""
        return self._fetch is not None and now - self._fetched_at > KEY_REFRESH

    def may_refetch(self, now: float) -> bool:
        """Whether an unknown `kid` may cause a fetch now, or wait for one; forged ones could otherwise flood accounts.

        Without any key every good token looks forged, so then the pause is short.
        """
        pause = UNKNOWN_KEY_REFRESH if self._keys else 1
        return self._fetch is not None and (self._fetching is not None or now - self._fetched_at > pause)

    async def refresh(self) -> None:
        """Fetch the set, once for all who ask meanwhile. Raises what the source raises; the set in use stays."""
        if self._fetch is None:
            return
        if self._fetching is None:
            self._fetched_at = time.monotonic()
            self._fetching = asyncio.create_task(self._replace_from(self._fetch))
            self._fetching.add_done_callback(self._fetched)
        # One caller's cancellation is not the others'.
        await asyncio.shield(self._fetching)

    async def _replace_from(self, fetch: Callable[[], Awaitable[bytes]]) -> None:
        self.replace(await asyncio.wait_for(fetch(), KEY_FETCH))

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more


class TokenVerifier:
    """Verifies tokens of one kind and remembers the good ones."""

    def __init__(self, keys: KeySet, *, issuer: str, audience: str, kind: str = ACCESS) -> None:
        self.keys = keys
        self._issuer = issuer
        self._audience = audience
        self._kind = kind
        self._known: dict[str, tuple[int, Principal | ServicePrincipal]] = {}

    def recall(self, token: str, *, now: float | None = None) -> Principal | ServicePrincipal | None:
        """A principal whose token was verified before and has not expired."""
        withdrawals, known = self._known.get(token, (0, None))
        now = time.time() if now is None else now
        if known and (withdrawals != self.keys.withdrawals or known.expires_at <= now):
            del self._known[token]
            return None
        return known

    def verify(self, token: str) -> Principal | ServicePrincipal:
        """Who this token speaks for. Raises TokenInvalid, of which UnknownKey and TokenExpired say more."""
        if (known := self.recall(token)) is not None:
            return known
        principal = self._principal(self._claims(token))
        if len(self._known) >= REMEMBERED:
            for oldest in list(self._known)[: REMEMBERED // 10]:
                del self._known[oldest]
        self._known[token] = self.keys.withdrawals, principal
        return principal

    async def verify_with_newest_keys(self, token: str) -> Principal | ServicePrincipal:
        """As `verify`, but an unknown `kid` is looked for in the source of the keys first.

        Raises TokenInvalid, or Unavailable as long as no key is known at all.
        """
        try:
            return self.verify(token)
        except UnknownKey:
            if not self.keys.may_refetch(time.monotonic()) and not self.keys.is_awaited:
                raise
        if self.keys.may_refetch(time.monotonic()):
            await self._try_refresh()
        if self.keys.is_awaited:
            raise Unavailable("The keys to verify tokens with are not known yet; repeat in a moment.")
        return self.verify(token)

    async def _try_refresh(self) -> None:
        try:
            await self.keys.refresh()
        except Exception as error:  # noqa: BLE001 - the set in use decides, whatever ails the source
            get_logger().warning("keys not refreshed", error=str(error))

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN:
            raise TokenInvalid
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != self._kind or header.get("alg") != ALGORITHM or "crit" in header:
                raise TokenInvalid
            claims: dict[str, Any] = jwt.decode(
                token,
                self.keys.get(str(header.get("kid"))),
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                leeway=LEEWAY,
                options={
                    "require": ["iss", "aud", "sub", "iat", "exp", "jti"],
                    "verify_aud": False,
                    "verify_iat": True,
                },
            )
        except (jwt.PyJWTError, RecursionError) as error:
            # Its signature was checked first.
            raise (TokenExpired if isinstance(error, jwt.ExpiredSignatureError) else TokenInvalid) from error
        # PyJWT would accept a list that merely contains our audience, and a number in a string.
        if claims["aud"] != self._audience or type(claims["exp"]) is not int:
            raise TokenInvalid
        claims["kid"] = header["kid"]
        return claims

    def _principal(self, claims: dict[str, Any]) -> Principal | ServicePrincipal:
        try:
            if self._kind == SERVICE:
                service = str(claims["sub"]).removeprefix("svc:")
                # A service's key speaks for that service only.
                if claims["sub"] != f"svc:{service}" or not claims["kid"].startswith(f"{service}."):
                    raise TokenInvalid
                return ServicePrincipal(service=service, expires_at=claims["exp"])
            return Principal(
                user_id=UUID(claims["sub"]),
                session_id=UUID(claims["sid"]),
                role=UserRole(claims["role"]),
                expires_at=claims["exp"],
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise TokenInvalid from error


class TokenSigner:
    """Signs tokens with one private key."""

    def __init__(self, private_jwk: dict[str, Any], *, issuer: str) -> None:
        self.kid = str(private_jwk["kid"])
        self._key = ECAlgorithm(ECAlgorithm.SHA256).from_jwk(private_jwk)
        self._issuer = issuer

    def sign(self, kind: str, *, audience: str, subject: str, lifetime: int, **claims: str) -> str:
        """A token of this kind that lives so many seconds."""
        now = int(time.time())
        payload = {
            "iss": self._issuer,
            "aud": audience,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime,
            "jti": new_id().hex,
            **claims,
        }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM, headers={"typ": kind, "kid": self.kid})  # type: ignore[arg-type]  # from_jwk is typed as either half of a key pair

    def access_token(self, *, audience: str, user_id: UUID, session_id: UUID, role: str, lifetime: int = 600) -> str:
        """A token with which a signed-in person calls the API."""
        return self.sign(
            ACCESS, audience=audience, subject=str(user_id), lifetime=lifetime, sid=str(session_id), role=role
        )


class ServiceIdentity:
    """How this service proves itself to the others: one token per target, renewed at half its life."""

    def __init__(self, service: str, private_jwk: dict[str, Any] | None, *, issuer: str) -> None:
        self.service = service
        self._signer = TokenSigner(private_jwk, issuer=issuer) if private_jwk else None
        self._tokens: dict[str, tuple[float, str]] = {}

    def token_for(self, target: str) -> str:
        """A service token that only `target` accepts. Raises ValueError for a service that has no key."""
        if self._signer is None:
            raise ValueError(f"{self.service.upper()}_SERVICE_KEY is not set")
        now = time.monotonic()
        renew_at, token = self._tokens.get(target, (0.0, ""))
        if now >= renew_at:
            token = self._signer.sign(
                SERVICE, audience=target, subject=f"svc:{self.service}", lifetime=SERVICE_TOKEN_LIFETIME
            )
            self._tokens[target] = (now + SERVICE_TOKEN_LIFETIME / 2, token)
        return token


def jwks(private_jwks: Iterable[dict[str, Any]]) -> bytes:
    """The public JWKS document of some private keys."""
    return msgspec.json.encode({"keys": [public_part(jwk) for jwk in private_jwks]})
