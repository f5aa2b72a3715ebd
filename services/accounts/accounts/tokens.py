"""Tokens and the sessions behind them: what is handed out at sign-in, and what ends it.

A refresh token is opaque; only its digest is stored. Its successor is an HMAC of it under the server's key, so that
a client whose answer was lost can be told the same successor again without it being kept anywhere.
"""

import base64
import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, update
from sqlalchemy.ext.asyncio import AsyncSession

from accounts.events import SessionRevoked
from accounts.keys import SigningKeys
from accounts.models import RefreshToken, User, UserSession
from chassis.database import db_now
from chassis.ids import new_id
from chassis.outbox import record

CLOCK_TOLERANCE = 60
"""Seconds that verifiers may be behind; a revocation is remembered this much longer than a token lives."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a client holds while signed in."""

    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Makes tokens from the two secrets they rest on."""

    keys: SigningKeys
    audience: str
    refresh_key: bytes = field(repr=False)
    access_lifetime: int
    session_lifetime: int
    session_idle: int
    refresh_grace: float

    def pair(self, *, user_id: UUID, role: str, session_id: UUID, refresh_token: str) -> TokenPair:
        """A fresh access token beside the given refresh token."""
        access_token = self.keys.signer.access_token(
            audience=self.audience,
            user_id=user_id,
            session_id=session_id,
            role=role,
            lifetime=self.access_lifetime,
        )
        return TokenPair(access_token, refresh_token, self.access_lifetime)

    def successor(self, refresh_token: str) -> str:
        """The one token that follows this one."""
        return _text(hmac.digest(self.refresh_key, refresh_token.encode(), "sha256"))

    @property
    def revocation_lifetime(self) -> timedelta:
        """How long a revoked session has to be remembered by those who verify tokens."""
        return timedelta(seconds=self.access_lifetime + CLOCK_TOLERANCE)


def digest(refresh_token: str) -> bytes:
    """What is stored of a refresh token."""
    return hashlib.sha256(refresh_token.encode()).digest()


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


async def open_session(
    session: AsyncSession, *, user: User, issuer: TokenIssuer, user_agent: str | None
) -> tuple[UUID, TokenPair]:
    """Somebody has proved who they are: a new session and its first tokens."""
    refresh_token = _text(secrets.token_bytes(32))
    opened = UserSession(
        id=new_id(),
        user_id=user.id,
        user_agent=user_agent,
        expires_at=db_now() + timedelta(seconds=issuer.session_lifetime),
    )
    session.add(opened)
    await session.flush()
    session.add(RefreshToken(digest=digest(refresh_token), session_id=opened.id))
    await session.flush()
    pair = issuer.pair(user_id=user.id, role=user.role, session_id=opened.id, refresh_token=refresh_token)
    return opened.id, pair


async def end_sessions(session: AsyncSession, *which: ColumnElement[bool], reason: str, issuer: TokenIssuer) -> int:
    """End the sessions that match and are alive, and tell those who verify tokens. Returns how many."""
    ended = await session.execute(
        update(UserSession)
        .where(*which, UserSession.ended_at.is_(None))
        .values(ended_at=db_now(), end_reason=reason)
        .returning(UserSession.id, UserSession.user_id, UserSession.ended_at)
        .execution_options(synchronize_session=False)
    )
    rows = ended.all()
    for session_id, user_id, ended_at in rows:
        assert ended_at is not None  # noqa: S101 - set by the statement above
        revoked = SessionRevoked(
            session_id=session_id,
            user_id=user_id,
            revoked_at=ended_at,
            expires_at=math.ceil((ended_at + issuer.revocation_lifetime).timestamp()),
        )
        await record(session, revoked, subject=session_id, sequence=2)
    return len(rows)
