"""What everybody who proves who they are has to pass: the password check, the throttle, the issue of tokens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from accounts.errors import SignInBusy
from accounts.hashing import PasswordHashing
from accounts.keys import SigningKeys
from accounts.settings import AccountsSettings
from accounts.throttling import Throttle
from accounts.tokens import TokenIssuer
from chassis.database import Database


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a request tells about where it comes from."""

    address: str | None = None
    """As the gateway saw it."""
    user_agent: str | None = None
    guest_token_hash: str | None = None
    """SHA-256 of the guest cart's token, for the merge."""


@dataclass(frozen=True, slots=True)
class FrontDesk:
    """Shared by registration, sign-in and password changes."""

    hashing: PasswordHashing
    throttle: Throttle
    issuer: TokenIssuer


def front_desk(settings: AccountsSettings, keys: SigningKeys) -> FrontDesk:
    """The front desk as the settings want it."""
    return FrontDesk(
        hashing=PasswordHashing(threads=settings.hashing_threads, queue=settings.hashing_queue),
        throttle=Throttle(
            free_per_account=settings.free_attempts_per_account,
            free_per_address=settings.free_attempts_per_address,
            first_delay=settings.first_delay,
            longest_delay=settings.longest_delay,
            half_life=settings.attempts_half_life,
        ),
        issuer=TokenIssuer(
            keys=keys,
            audience=settings.token_audience,
            refresh_key=settings.refresh_key.get_secret_value().encode(),
            access_lifetime=settings.access_lifetime,
            session_lifetime=settings.session_lifetime,
            session_idle=settings.session_idle,
            refresh_grace=settings.refresh_grace,
        ),
    )


@asynccontextmanager
async def taking_back_when_busy(
    database: Database, throttle: Throttle, *, account: bytes, address: bytes | None
) -> AsyncIterator[None]:
    """An attempt whose password nobody had time to look at does not count."""
    try:
        yield
    except SignInBusy:
        async with database.transaction() as session:
            await throttle.take_back(session, account=account, address=address)
        raise
