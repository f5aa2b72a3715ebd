"""Signing in, staying signed in, and signing out.

**Sign-in.** The attempt is counted for the account and the address in a transaction of its own, so that it stays
counted whatever is answered. The password is checked outside of any transaction; an unknown e-mail costs the same
time. Then one transaction reads the user again under a share lock (a password change waits for it, and ends the
session that it makes), opens the session, forgets the failures and records `user.signed_in`.

**Refresh.** One guarded UPDATE spends the token; of twenty at once, one wins. The losers, and a client whose answer
was lost, find it spent a moment ago and are told the same successor. A token spent longer ago is in two hands: the
whole session ends, and that is committed although the answer is 401.

**The end.** Sign-out, sign-out everywhere, or one device from the list; each records `session.revoked`.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from accounts.errors import AccountInactive, CredentialsInvalid, RefreshTokenInvalid, SessionNotFound
from accounts.events import UserSignedIn
from accounts.front_desk import FrontDesk, Visitor, taking_back_when_busy
from accounts.listing import Page, newest_first
from accounts.models import RefreshToken, User, UserSession
from accounts.schemas import SignIn
from accounts.throttling import address_key, email_key
from accounts.tokens import TokenIssuer, TokenPair, digest, end_sessions, open_session
from chassis.auth import Principal
from chassis.database import Database, db_now
from chassis.outbox import record
from chassis.pagination import PageQuery

FORGOTTEN_AT_ONCE = 1_000


async def sign_in(
    database: Database, desk: FrontDesk, *, credentials: SignIn, visitor: Visitor
) -> tuple[User, TokenPair]:
    """Raises TooManyAttempts, CredentialsInvalid, AccountInactive, SignInBusy."""
    address = address_key(visitor.address)
    async with database.transaction() as session:
        # Lowered by whoever finds the account: on some letters Python disagrees, and each spelling would count anew.
        account = email_key(str(await session.scalar(select(func.lower(credentials.email)))))
        await desk.throttle.count(session, account=account, address=address)
        found = select(User).where(func.lower(User.email) == func.lower(credentials.email))
        user = await session.scalar(found)
    async with taking_back_when_busy(database, desk.throttle, account=account, address=address):
        is_right = await desk.hashing.verify(credentials.password, user.password_hash if user else None)
        if user is None or not is_right:
            raise CredentialsInvalid
        new_hash = await _hash_of_today(desk, user, password=credentials.password)
    async with database.transaction() as session:
        user = await _locked(session, user)
        tokens = await _begin(session, desk, user, visitor=visitor, new_hash=new_hash) if user.is_active else None
        await desk.throttle.take_back(session, address=address)
        await desk.throttle.forgive(session, account=account)
    if tokens is None:
        raise AccountInactive
    return user, tokens


async def _hash_of_today(desk: FrontDesk, user: User, *, password: str) -> str | None:
    """A new hash when the stored one was made with parameters of old."""
    return await desk.hashing.hash(password) if desk.hashing.is_outdated(user.password_hash) else None


async def _locked(session: AsyncSession, checked: User) -> User:
    """The user as now, kept from changing. A password that was changed since it was checked counts as wrong."""
    user = await session.scalar(
        select(User)
        .where(User.id == checked.id, User.password_hash == checked.password_hash)
        .with_for_update(read=True)
    )
    if user is None:
        raise CredentialsInvalid
    return user


async def _begin(
    session: AsyncSession, desk: FrontDesk, user: User, *, visitor: Visitor, new_hash: str | None
) -> TokenPair:
    session_id, tokens = await open_session(session, user=user, issuer=desk.issuer, user_agent=visitor.user_agent)
    if new_hash is not None:
        await session.execute(update(User).where(User.id == user.id).values(password_hash=new_hash))
    signed_in = UserSignedIn(user_id=user.id, session_id=session_id, guest_token_hash=visitor.guest_token_hash)
    await record(session, signed_in, subject=session_id, sequence=1)
    return tokens


async def refresh(database: Database, issuer: TokenIssuer, *, refresh_token: str) -> TokenPair:
    """Fresh tokens for a refresh token. Raises RefreshTokenInvalid."""
    async with database.transaction() as session:
        tokens = await _rotate(session, issuer, refresh_token=refresh_token)
        if tokens is None:
            tokens = await _repeat_or_revoke(session, issuer, refresh_token=refresh_token)
    if tokens is None:
        raise RefreshTokenInvalid
    return tokens


async def _rotate(session: AsyncSession, issuer: TokenIssuer, *, refresh_token: str) -> TokenPair | None:
    """Spend the token and hand out its successor; None when it is not there to be spent."""
    session_id = await session.scalar(
        update(RefreshToken)
        .where(RefreshToken.digest == digest(refresh_token), RefreshToken.spent_at.is_(None))
        .values(spent_at=db_now())
        .returning(RefreshToken.session_id)
        .execution_options(synchronize_session=False)
    )
    if session_id is None:
        return None
    successor = issuer.successor(refresh_token)
    tokens = await _tokens_of_living(session, issuer, session_id=session_id, refresh_token=successor)
    if tokens is not None:
        session.add(RefreshToken(digest=digest(successor), session_id=session_id))
        await session.flush()
    return tokens


async def _tokens_of_living(
    session: AsyncSession, issuer: TokenIssuer, *, session_id: UUID, refresh_token: str
) -> TokenPair | None:
    """Tokens for a session that has neither ended nor expired, which counts as used now."""
    idle_since = db_now() - timedelta(seconds=issuer.session_idle)
    user_id = await session.scalar(
        update(UserSession)
        .where(
            UserSession.id == session_id,
            UserSession.ended_at.is_(None),
            UserSession.expires_at > db_now(),
            UserSession.last_used_at > idle_since,
        )
        .values(last_used_at=db_now())
        .returning(UserSession.user_id)
        .execution_options(synchronize_session=False)
    )
    role = await session.scalar(select(User.role).where(User.id == user_id, User.is_active))
    if user_id is None or role is None:
        return None
    return issuer.pair(user_id=user_id, role=role, session_id=session_id, refresh_token=refresh_token)


async def _repeat_or_revoke(session: AsyncSession, issuer: TokenIssuer, *, refresh_token: str) -> TokenPair | None:
    """A token that could not be spent: the same successor within the grace, else the end of its session."""
    grace_began = db_now() - timedelta(seconds=issuer.refresh_grace)
    found = await session.execute(
        select(RefreshToken.session_id, RefreshToken.spent_at > grace_began).where(
            RefreshToken.digest == digest(refresh_token), RefreshToken.spent_at.is_not(None)
        )
    )
    spent = found.one_or_none()
    if spent is None:
        return None
    session_id, is_fresh = spent
    if not is_fresh:
        await end_sessions(session, UserSession.id == session_id, reason="refresh_token_reused", issuer=issuer)
        return None
    successor = issuer.successor(refresh_token)
    if await session.get(RefreshToken, digest(successor)) is None:
        return None
    return await _tokens_of_living(session, issuer, session_id=session_id, refresh_token=successor)


async def sign_out(session: AsyncSession, caller: Principal, *, issuer: TokenIssuer) -> None:
    """End the session of this request's token; one that is over already stays so."""
    this = UserSession.id == caller.session_id
    await end_sessions(session, this, UserSession.user_id == caller.user_id, reason="logout", issuer=issuer)


async def sign_out_everywhere(session: AsyncSession, caller: Principal, *, issuer: TokenIssuer) -> None:
    """End every session of the caller, this one too."""
    await end_sessions(session, UserSession.user_id == caller.user_id, reason="logout_all", issuer=issuer)


async def list_sessions(
    session: AsyncSession, caller: Principal, *, page: PageQuery, issuer: TokenIssuer
) -> Page[UserSession]:
    """The devices on which the caller is signed in."""
    alive = select(UserSession).where(
        UserSession.user_id == caller.user_id,
        UserSession.ended_at.is_(None),
        UserSession.expires_at > db_now(),
        UserSession.last_used_at > db_now() - timedelta(seconds=issuer.session_idle),
    )
    return await newest_first(session, alive, key=UserSession.id, page=page, scope=f"sessions {caller.user_id}")


async def end_session(session: AsyncSession, caller: Principal, *, session_id: UUID, issuer: TokenIssuer) -> None:
    """Sign out one device. Raises SessionNotFound."""
    count = await end_sessions(
        session,
        UserSession.id == session_id,
        UserSession.user_id == caller.user_id,
        reason="ended_by_user",
        issuer=issuer,
    )
    if not count:
        raise SessionNotFound


async def revoked_sessions(session: AsyncSession, *, issuer: TokenIssuer) -> list[tuple[UUID, int]]:
    """Sessions that ended while a token of theirs may still live, with the Unix second in which the last one dies."""
    lifetime = issuer.revocation_lifetime
    expires_at = func.ceil(func.extract("epoch", UserSession.ended_at + lifetime))
    rows = await session.execute(select(UserSession.id, expires_at).where(UserSession.ended_at > db_now() - lifetime))
    return [(session_id, int(moment)) for session_id, moment in rows]


async def forget_over(session: AsyncSession, *, issuer: TokenIssuer) -> int:
    """Delete sessions, with their tokens, that have been over for a day. Returns how many."""
    yesterday = db_now() - timedelta(days=1)
    idle = timedelta(seconds=issuer.session_idle)
    over = or_(
        UserSession.ended_at < yesterday,
        UserSession.expires_at < yesterday,
        UserSession.last_used_at < yesterday - idle,
    )
    some = select(UserSession.id).where(over).limit(FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
    deleted = await session.scalars(
        delete(UserSession)
        .where(UserSession.id.in_(some))
        .returning(UserSession.id)
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())
