"""Somebody gets an account.

1. The password is refused when it would be guessed soon.
2. The e-mail is free, or `email_taken`: the form has to tell. Each such answer is counted for the network address,
   so that nobody finds out by the thousand who is registered here.
3. The password is hashed, outside of any transaction.
4. One transaction: user, session, and `user.registered` with the hash of the guest cart's token. Two registrations
   of one e-mail at once meet at the unique index: one gets the account.

In the demo, three people are there from the beginning.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from accounts.errors import EmailTaken
from accounts.events import UserRegistered
from accounts.front_desk import FrontDesk, Visitor
from accounts.hashing import PasswordHashing
from accounts.models import Address, User
from accounts.password_rules import refuse_weak
from accounts.schemas import Registration
from accounts.settings import AccountsSettings
from accounts.throttling import address_key
from accounts.tokens import TokenPair, open_session
from chassis.database import Database
from chassis.ids import new_id
from chassis.outbox import record

DEMO_PASSWORD = "haat-demo-2026"  # noqa: S105 - printed at every start of the demo


async def register(
    database: Database, desk: FrontDesk, *, registration: Registration, visitor: Visitor
) -> tuple[User, TokenPair]:
    """Make the account and sign in. Raises PasswordWeak, TooManyAttempts, EmailTaken, SignInBusy."""
    refuse_weak(registration.password, email=registration.email, full_name=registration.full_name, pointer="/password")
    address = address_key(visitor.address)
    async with database.transaction() as session:
        await desk.throttle.refuse_waiting(session, address=address)
        is_taken = await _is_taken(session, registration.email)
        if is_taken:
            await desk.throttle.count(session, address=address)
    if is_taken:
        raise EmailTaken
    password_hash = await desk.hashing.hash(registration.password)
    async with database.transaction() as session:
        user = await _add_user(session, registration, password_hash=password_hash)
        _, tokens = await open_session(session, user=user, issuer=desk.issuer, user_agent=visitor.user_agent)
        registered = UserRegistered(user_id=user.id, guest_token_hash=visitor.guest_token_hash)
        await record(session, registered, subject=user.id, sequence=1)
    return user, tokens


async def _is_taken(session: AsyncSession, email: str) -> bool:
    taken = select(User.id).where(func.lower(User.email) == func.lower(email))
    return await session.scalar(taken) is not None


async def _add_user(session: AsyncSession, registration: Registration, *, password_hash: str) -> User:
    added = await session.scalars(
        insert(User)
        .values(
            id=new_id(),
            email=registration.email,
            password_hash=password_hash,
            full_name=registration.full_name,
            phone=registration.phone,
        )
        .on_conflict_do_nothing()
        .returning(User)
    )
    user = added.one_or_none()
    if user is None:
        raise EmailTaken
    return user


@dataclass(frozen=True, slots=True)
class DemoUser:
    """Somebody whose password everybody may know, because the shop is a toy."""

    email: str
    full_name: str
    role: Literal["customer", "staff", "admin"]


DEMO_USERS = (
    DemoUser(email="customer@haat.example", full_name="Asha Verma", role="customer"),
    DemoUser(email="staff@haat.example", full_name="Ravi Iyer", role="staff"),
    DemoUser(email="admin@haat.example", full_name="Meera Nair", role="admin"),
)


class DemoUsersRefused(RuntimeError):
    """Users with a published password belong into the demo only."""


async def ensure_demo_users(database: Database, *, env: str | None = None) -> None:
    """Make the demo's users where they are missing, the customer with an address. Raises DemoUsersRefused."""
    if (env or AccountsSettings().env) == "production":
        raise DemoUsersRefused("Users whose password is published are not made in production.")
    emails = [user.email for user in DEMO_USERS]
    async with database.transaction() as session:
        known = set(await session.scalars(select(User.email).where(User.email.in_(emails))))
    missing = [user for user in DEMO_USERS if user.email not in known]
    if not missing:
        return
    hashing = PasswordHashing(threads=2, queue=len(missing))
    try:
        hashes = await asyncio.gather(*(hashing.hash(DEMO_PASSWORD) for _ in missing))
    finally:
        hashing.close()
    async with database.transaction() as session:
        for user, password_hash in zip(missing, hashes, strict=True):
            await _add_demo_user(session, user, password_hash=password_hash)


async def seed_command(settings: AccountsSettings) -> None:
    """`python -m accounts seed`: the demo's users. Raises DemoUsersRefused."""
    database = Database(settings)
    await database.start()
    try:
        await ensure_demo_users(database, env=settings.env)
    finally:
        await database.stop()


async def _add_demo_user(session: AsyncSession, demo_user: DemoUser, *, password_hash: str) -> None:
    user = User(
        id=new_id(),
        email=demo_user.email,
        full_name=demo_user.full_name,
        role=demo_user.role,
        password_hash=password_hash,
        email_verified=True,
    )
    session.add(user)
    await session.flush()
    if demo_user.role == "customer":
        session.add(
            Address(
                user_id=user.id,
                label="Home",
                recipient_name=demo_user.full_name,
                line1="14, 3rd Cross, Indiranagar",
                city="Bengaluru",
                state="Karnataka",
                postal_code="560038",
                country="IN",
                phone="+919876543210",
                is_default_shipping=True,
                is_default_billing=True,
            )
        )
        await session.flush()
