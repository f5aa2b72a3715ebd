"""The tables of accounts: users, their sessions and refresh tokens, address books, and counters of failed attempts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.database import metadata
from chassis.ids import new_id

Moment = DateTime(timezone=True)


class Base(DeclarativeBase):
    metadata = metadata()


class User(Base):
    """A person with an account. The e-mail is kept as given and unique whatever its letter case."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('customer', 'staff', 'admin')", name="role"),
        # text_pattern_ops serves both equality and the prefix search of administrators.
        Index(
            "uq_users_email",
            func.lower(text("email")).label("email_key"),
            unique=True,
            postgresql_ops={"email_key": "text_pattern_ops"},
        ),
        Index(
            "ix_users_full_name",
            func.lower(text("full_name")).label("name_key"),
            postgresql_ops={"name_key": "text_pattern_ops"},
        ),
        Index("ix_users_role", "role", "id"),
        Index("ix_users_inactive", "id", postgresql_where=text("NOT is_active")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    full_name: Mapped[str] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text, server_default="customer")
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())


class UserSession(Base):
    """One device on which somebody signed in, from then until it ends."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_user_id", "user_id", "id"),
        Index("ix_sessions_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    user_agent: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(Moment)
    """When it is over whatever happens; a refresh moves the idle limit, never this."""
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    end_reason: Mapped[str | None] = mapped_column(Text)


class RefreshToken(Base):
    """A refresh token that was handed out, known by its digest only. Spent ones stay, so that reuse is noticed."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("ix_refresh_tokens_session_id", "session_id"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    issued_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())
    spent_at: Mapped[datetime | None] = mapped_column(Moment)


class Address(Base):
    """An entry of somebody's address book."""

    __tablename__ = "addresses"
    __table_args__ = (
        Index("ix_addresses_user_id", "user_id", "id"),
        Index(
            "uq_addresses_default_shipping",
            "user_id",
            unique=True,
            postgresql_where=text("is_default_shipping"),
        ),
        Index(
            "uq_addresses_default_billing",
            "user_id",
            unique=True,
            postgresql_where=text("is_default_billing"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    label: Mapped[str | None] = mapped_column(Text)
    recipient_name: Mapped[str] = mapped_column(Text)
    line1: Mapped[str] = mapped_column(Text)
    line2: Mapped[str | None] = mapped_column(Text)
    city: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    postal_code: Mapped[str] = mapped_column(Text)
    country: Mapped[str] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    is_default_shipping: Mapped[bool] = mapped_column(server_default=text("false"))
    is_default_billing: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=func.now())


class AttemptCounter(Base):
    """How often somebody failed lately, per account or address. Known by a digest, so no e-mail is kept here."""

    __tablename__ = "attempt_counters"
    __table_args__ = (Index("ix_attempt_counters_counted_at", "counted_at"),)

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    failures: Mapped[float]
    """Halves with time; see throttling.py."""
    counted_at: Mapped[datetime] = mapped_column(Moment)
