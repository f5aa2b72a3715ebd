"""What accounts tells the others. No personal data beyond ids."""

from typing import ClassVar
from uuid import UUID

from chassis.events import Event
from chassis.strict import Time


class UserRegistered(Event):
    """Somebody has an account now and is signed in; their guest cart becomes theirs."""

    type: ClassVar[str] = "user.registered.v1"

    user_id: UUID
    guest_token_hash: str | None
    """SHA-256 of the guest cart's token, when the request carried one."""


class UserSignedIn(Event):
    """Somebody signed in; the guest cart of this device is merged into theirs."""

    type: ClassVar[str] = "user.signed_in.v1"

    user_id: UUID
    session_id: UUID
    guest_token_hash: str | None
    """SHA-256 of the guest cart's token, when the request carried one."""


class SessionRevoked(Event):
    """A session was ended before its time; its access tokens are to be refused until the last one has expired."""

    type: ClassVar[str] = "session.revoked.v1"
    required: ClassVar[bool] = False

    session_id: UUID
    user_id: UUID
    revoked_at: Time
    expires_at: int
    """Unix second in which the last access token of the session has expired."""


EVENTS: tuple[type[Event], ...] = (UserRegistered, UserSignedIn, SessionRevoked)
"""All of them, for the contract files."""
