"""Guessing is slowed down, never forbidden: after some failures each further attempt waits longer, up to a few
minutes, and the count halves with time. Nobody is locked out for good.

An attempt is counted before its password is looked at, so that a hundred at once are a hundred, and taken back when
it was right. Attempts refused for waiting are not counted. Counters are kept under a digest of what they count, and
an unknown e-mail is counted like a known one.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from accounts.errors import TooManyAttempts
from accounts.models import AttemptCounter
from chassis.database import db_now

FORGOTTEN_AFTER = timedelta(days=1)

_COUNT = text("""
    INSERT INTO attempt_counters AS counter (key, failures, counted_at) VALUES (:key, 1, clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET
        failures = 1 + counter.failures
            * power(0.5, extract(epoch FROM clock_timestamp() - counter.counted_at) / CAST(:half_life AS float)),
        counted_at = clock_timestamp()
    WHERE round(counter.failures) < :free OR clock_timestamp() >= counter.counted_at + interval '1 second'
        * least(CAST(:longest AS float), :first * power(2, least(round(counter.failures) - :free, 30)))
    RETURNING failures
""")

_WAIT = text("""
    SELECT ceil(extract(epoch FROM counted_at - clock_timestamp())
        + least(CAST(:longest AS float), :first * power(2, least(round(failures) - :free, 30))))
    FROM attempt_counters WHERE key = :key AND round(failures) >= :free
""")

_TAKE_BACK = text("UPDATE attempt_counters SET failures = greatest(failures - 1, 0) WHERE key = :key")


@dataclass(frozen=True, slots=True)
class Throttle:
    """How many attempts are free, and how long the later ones wait."""

    free_per_account: int
    free_per_address: int
    first_delay: int
    longest_delay: int
    half_life: int

    async def count(self, session: AsyncSession, *, account: bytes | None = None, address: bytes | None) -> None:
        """Count one attempt for both. Raises TooManyAttempts when either has to wait; then neither is counted.

        The address comes first always, so that two attempts never wait for each other in a circle.
        """
        if address is not None:
            await self._count(session, address, free=self.free_per_address)
        if account is not None:
            await self._count(session, account, free=self.free_per_account)

    async def _count(self, session: AsyncSession, key: bytes, *, free: int) -> None:
        limits = self._limits(key, free=free)
        counted = await session.execute(_COUNT, {**limits, "half_life": self.half_life})
        if counted.first() is None:
            raise TooManyAttempts(retry_after=max(1, int(await session.scalar(_WAIT, limits) or 1)))

    def _limits(self, key: bytes, *, free: int) -> dict[str, bytes | int]:
        return {"key": key, "free": free, "first": self.first_delay, "longest": self.longest_delay}

    async def refuse_waiting(self, session: AsyncSession, *, address: bytes | None) -> None:
        """Raises TooManyAttempts while the address has to wait; counts nothing."""
        if address is None:
            return
        wait = await session.scalar(_WAIT, self._limits(address, free=self.free_per_address))
        if wait is not None and wait > 0:
            raise TooManyAttempts(retry_after=int(wait))

    async def take_back(self, session: AsyncSession, *, account: bytes | None = None, address: bytes | None) -> None:
        """The attempt was no guess: it was right, or was never looked at."""
        for key in (address, account):
            if key is not None:
                await session.execute(_TAKE_BACK, {"key": key})

    async def forgive(self, session: AsyncSession, *, account: bytes) -> None:
        """Somebody proved to be who they are: the account starts anew."""
        await session.execute(delete(AttemptCounter).where(AttemptCounter.key == account))


def email_key(email: str) -> bytes:
    """The counter of sign-ins to whatever account has this e-mail, given as PostgreSQL lowers it."""
    return _key("email", email)


def user_key(user_id: UUID) -> bytes:
    """The counter of password checks that a signed-in user asks for."""
    return _key("user", str(user_id))


def address_key(address: str | None) -> bytes | None:
    """The counter of a network address; an IPv6 client owns a /64. None when the address is not known."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False).network_address
    return _key("address", str(parsed))


def _key(kind: str, value: str) -> bytes:
    return hashlib.sha256(f"{kind}:{value}".encode()).digest()


async def forget_old_attempts(session: AsyncSession) -> int:
    """Drop counters that have long halved to nothing. Returns how many."""
    result = await session.execute(delete(AttemptCounter).where(AttemptCounter.counted_at < db_now() - FORGOTTEN_AFTER))
    return int(result.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a CursorResult
