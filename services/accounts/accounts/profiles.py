"""What people see and change of themselves, and what administrators see and change of everybody.

A new role, or a deactivation, ends every session of the user in the same transaction: nobody goes on with a token
that says what they were. Administrators change neither their own role nor their own activation, and two who change
each other at once are put in line, so that one administrator is always left.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from accounts.errors import OwnAccountProtected, UserNotFound
from accounts.listing import Page, newest_first
from accounts.models import User, UserSession
from accounts.schemas import ProfileChanges, UserChanges, UserQuery
from accounts.tokens import TokenIssuer, end_sessions
from chassis.auth import Principal, UserRole
from chassis.database import db_now
from chassis.problems import RoleRequired


async def read_user(session: AsyncSession, user_id: UUID) -> User:
    """Raises UserNotFound."""
    user = await session.get(User, user_id)
    if user is None:
        raise UserNotFound
    return user


async def change_profile(session: AsyncSession, caller: Principal, *, changes: ProfileChanges) -> User:
    """Raises UserNotFound."""
    return await _apply(session, caller.user_id, changes.given())


async def list_users(session: AsyncSession, *, query: UserQuery) -> Page[User]:
    """Users, newest first, by role, activation, and the beginning of e-mail or name."""
    users = select(User)
    if query.search:
        beginning = query.search.lower()
        users = users.where(
            or_(
                func.lower(User.email).startswith(beginning, autoescape=True),
                func.lower(User.full_name).startswith(beginning, autoescape=True),
            )
        )
    if query.role is not None:
        users = users.where(User.role == query.role)
    if query.is_active is not None:
        users = users.where(User.is_active if query.is_active else ~User.is_active)
    scope = f"users {query.search!r} {query.role} {query.is_active}"
    return await newest_first(session, users, key=User.id, page=query, scope=scope)


async def change_user(
    session: AsyncSession, caller: Principal, *, user_id: UUID, changes: UserChanges, issuer: TokenIssuer
) -> User:
    """Raises UserNotFound, OwnAccountProtected, RoleRequired."""
    user = await _locked_beside(session, caller, user_id=user_id)
    given = {name: value for name, value in changes.given().items() if getattr(user, name) != value}
    if not given:
        return user
    if user_id == caller.user_id:
        raise OwnAccountProtected
    user = await _apply(session, user_id, given)
    if "role" in given or not user.is_active:
        reason = "role_changed" if "role" in given else "deactivated"
        await end_sessions(session, UserSession.user_id == user_id, reason=reason, issuer=issuer)
    return user


async def _locked_beside(session: AsyncSession, caller: Principal, *, user_id: UUID) -> User:
    """The user, locked together with the administrator who acts, in one order for everybody."""
    both = select(User).where(User.id.in_([user_id, caller.user_id])).order_by(User.id).with_for_update()
    users = {user.id: user for user in await session.scalars(both)}
    actor = users.get(caller.user_id)
    if actor is None or not actor.is_active or actor.role != UserRole.ADMIN:
        raise RoleRequired("This route is for admin.")
    if user_id not in users:
        raise UserNotFound
    return users[user_id]


async def _apply(session: AsyncSession, user_id: UUID, values: dict[str, Any]) -> User:
    if not values:
        return await read_user(session, user_id)
    changed = await session.scalars(
        update(User)
        .where(User.id == user_id)
        .values(**values, updated_at=db_now())
        .returning(User)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    user = changed.one_or_none()
    if user is None:
        raise UserNotFound
    return user
