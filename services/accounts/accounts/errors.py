"""What accounts refuses.

Problem
├── Unauthenticated 401   CredentialsInvalid, RefreshTokenInvalid, SessionEnded
├── Forbidden 403         AccountInactive
├── NotFound 404          UserNotFound, SessionNotFound, AddressNotFound
├── Conflict 409          EmailTaken, OwnAccountProtected, AddressBookFull, DefaultAddressNeeded
├── Unprocessable 422     PasswordWeak
├── TooManyRequests 429   TooManyAttempts
└── Unavailable 503       SignInBusy
"""

from typing import ClassVar

from chassis.problems import (
    Conflict,
    FieldError,
    Forbidden,
    NotFound,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)


class CredentialsInvalid(Unauthenticated):
    """E-mail and password do not belong together: check both. Which of them is wrong is not told."""

    code = "credentials_invalid"
    title = "E-mail or password wrong"

    def __init__(self) -> None:
        super().__init__("Check e-mail and password and try again.")


class RefreshTokenInvalid(Unauthenticated):
    """The refresh token is unknown, spent, or of a session that is over: sign in again."""

    code = "refresh_token_invalid"
    title = "Refresh token invalid"

    def __init__(self) -> None:
        super().__init__("Sign in again.")


class SessionEnded(Unauthenticated):
    """The session of this access token is over: sign in again."""

    code = "session_ended"
    title = "Session ended"

    def __init__(self) -> None:
        super().__init__("Sign in again.")


class AccountInactive(Forbidden):
    """The account was deactivated by the shop: write to the shop to have it activated again."""

    code = "account_inactive"
    title = "Account deactivated"

    def __init__(self) -> None:
        super().__init__("Write to the shop to have the account activated again.")


class UserNotFound(NotFound):
    """No user has this id: look them up with `GET /users`."""

    code = "user_not_found"
    title = "User not found"

    def __init__(self) -> None:
        super().__init__("Look the user up with GET /api/v1/users.")


class SessionNotFound(NotFound):
    """You have no session of this id, or it is over already: list them with `GET /users/me/sessions`."""

    code = "session_not_found"
    title = "Session not found"

    def __init__(self) -> None:
        super().__init__("List the sessions that are alive with GET /api/v1/users/me/sessions.")


class AddressNotFound(NotFound):
    """Your address book has no address of this id: list them with `GET /users/me/addresses`."""

    code = "address_not_found"
    title = "Address not found"

    def __init__(self) -> None:
        super().__init__("List the addresses with GET /api/v1/users/me/addresses.")


class EmailTaken(Conflict):
    """Somebody is registered with this e-mail: sign in, or register with another one."""

    code = "email_taken"
    title = "E-mail already registered"

    def __init__(self) -> None:
        super().__init__("Sign in with this e-mail, or register with another one.")


class OwnAccountProtected(Conflict):
    """Administrators change neither their own role nor their own activation: ask another administrator."""

    code = "own_account_protected"
    title = "Own role and activation are protected"

    def __init__(self) -> None:
        super().__init__("Ask another administrator to change your role or activation.")


class AddressBookFull(Conflict):
    """The address book holds as many addresses as it takes: delete one first."""

    code = "address_book_full"
    title = "Address book full"
    members: ClassVar = {"limit": {"type": "integer", "description": "How many are allowed."}}

    def __init__(self, limit: int) -> None:
        super().__init__(f"An address book holds {limit} addresses; delete one first.", limit=limit)


class DefaultAddressNeeded(Conflict):
    """One address stays the default: make another address the default instead of clearing this one."""

    code = "default_address_needed"
    title = "A default address is needed"

    def __init__(self) -> None:
        super().__init__("Make another address the default; this one then stops being it.")


class PasswordWeak(Unprocessable):
    """The password would be guessed soon: choose another; `errors` lists what is wrong with it."""

    code = "password_weak"
    title = "Password too weak"

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("Choose another password; see `errors`.", errors=[error.document() for error in errors])


class TooManyAttempts(TooManyRequests):
    """Too many attempts failed: wait as many seconds as `Retry-After` says, then a correct one works."""

    code = "too_many_attempts"
    title = "Too many attempts"

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"Try again in {retry_after} seconds.", retry_after=retry_after)


class SignInBusy(Unavailable):
    """More people sign in than passwords can be checked: repeat after `Retry-After` seconds."""

    code = "sign_in_busy"
    title = "Sign-in is busy"

    def __init__(self) -> None:
        super().__init__("Many people are signing in; repeat in a moment.", retry_after=2)


PROBLEMS: tuple[type[Problem], ...] = (
    CredentialsInvalid,
    RefreshTokenInvalid,
    SessionEnded,
    AccountInactive,
    UserNotFound,
    SessionNotFound,
    AddressNotFound,
    EmailTaken,
    OwnAccountProtected,
    AddressBookFull,
    DefaultAddressNeeded,
    PasswordWeak,
    TooManyAttempts,
    SignInBusy,
)
"""All of them, for the table of codes."""
