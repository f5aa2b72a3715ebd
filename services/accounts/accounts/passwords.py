"""Somebody changes their password; every other device is signed out.

The current password is asked for and guesses at it are slowed down like sign-ins, since a token may be in wrong
hands. Both passwords are hashed outside of any transaction. The stored hash is then replaced only while it is the
one that was checked, and every other session ends in the same transaction.
"""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from accounts.errors import CredentialsInvalid, PasswordWeak, SessionEnded
from accounts.front_desk import FrontDesk, taking_back_when_busy
from accounts.models import User, UserSession
from accounts.password_rules import refuse_weak
from accounts.schemas import PasswordChange
from accounts.throttling import user_key
from accounts.tokens import end_sessions
from chassis.auth import Principal
from chassis.database import Database, db_now
from chassis.problems import FieldError


async def change_password(database: Database, desk: FrontDesk, *, caller: Principal, change: PasswordChange) -> None:
    """Raises SessionEnded, PasswordWeak, TooManyAttempts, CredentialsInvalid, SignInBusy."""
    counter = user_key(caller.user_id)
    async with database.transaction() as session:
        user = await _signed_in(session, caller)
        _refuse_unfit(change, user)
        await desk.throttle.count(session, account=counter, address=None)
    async with taking_back_when_busy(database, desk.throttle, account=counter, address=None):
        if not await desk.hashing.verify(change.current_password, user.password_hash):
            raise CredentialsInvalid
        new_hash = await desk.hashing.hash(change.new_password)
    async with database.transaction() as session:
        await _replace(session, user, new_hash=new_hash)
        others = (UserSession.user_id == user.id, UserSession.id != caller.session_id)
        await end_sessions(session, *others, reason="password_changed", issuer=desk.issuer)
        await desk.throttle.forgive(session, account=counter)


async def _signed_in(session: AsyncSession, caller: Principal) -> User:
    """The caller, provided that their session is alive: an access token outlives it by some minutes."""
    user = await session.scalar(
        select(User)
        .join(UserSession, UserSession.user_id == User.id)
        .where(User.id == caller.user_id, UserSession.id == caller.session_id, UserSession.ended_at.is_(None))
    )
    if user is None:
        raise SessionEnded
    return user


def _refuse_unfit(change: PasswordChange, user: User) -> None:
    if change.new_password == change.current_password:
        raise PasswordWeak([FieldError("/new_password", "password_unchanged", "is the current password")])
    refuse_weak(change.new_password, email=user.email, full_name=user.full_name, pointer="/new_password")


async def _replace(session: AsyncSession, user: User, *, new_hash: str) -> None:
    """Raises CredentialsInvalid when the password was changed by somebody else meanwhile."""
    replaced = await session.scalar(
        update(User)
        .where(User.id == user.id, User.password_hash == user.password_hash)
        .values(password_hash=new_hash, updated_at=db_now())
        .returning(User.id)
        .execution_options(synchronize_session=False)
    )
    if replaced is None:
        raise CredentialsInvalid
