"""The tables of this service: orders, what they hold, and how they came to be as they are."""

from datetime import datetime
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from chassis.database import metadata


class Status(StrEnum):
    """Where an order stands."""

    AWAITING_PAYMENT = "awaiting_payment"
    CLOSING = "closing"
    """A cancel or an expiry waits for the provider's last word."""
    PAID = "paid"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


CLOSED = (Status.CANCELLED, Status.EXPIRED)
"""Nothing will be sent for these, and their cart may be ordered again."""


class PaymentStatus(StrEnum):
    """What payments has reported about the money; kept apart from the order's own status."""

    UNPAID = "unpaid"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"


class CloseReason(StrEnum):
    """Why an order is closing or closed."""

    EXPIRED = "expired"
    CANCELLED = "cancelled"
    OUT_OF_STOCK = "out_of_stock"


class ActorKind(StrEnum):
    """Who moved an order."""

    CUSTOMER = "customer"
    STAFF = "staff"
    SYSTEM = "system"


class EnumText(TypeDecorator[StrEnum]):
    """A text enum stored as its text; a CHECK on the table keeps other texts out."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The text to store."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The member that was stored."""
        return None if value is None else self.kind(value)


def _one_of(column: str, kind: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(str(member)) for member in kind)})"


class Base(DeclarativeBase):
    """Every table of this service, and the chassis' own."""

    metadata = metadata()
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        str: Text(),
        int: BigInteger(),
        dict[str, Any]: JSONB(none_as_null=True),
        list[UUID]: ARRAY(Uuid()),
        Status: EnumText(Status),
        PaymentStatus: EnumText(PaymentStatus),
        CloseReason: EnumText(CloseReason),
        ActorKind: EnumText(ActorKind),
    }


class Order(Base):
    """One purchase of one caller, made from one version of one cart."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint(_one_of("status", Status), name="status"),
        CheckConstraint(_one_of("payment_status", PaymentStatus), name="payment_status"),
        CheckConstraint(f"close_reason IS NULL OR {_one_of('close_reason', CloseReason)}", name="close_reason"),
        CheckConstraint(
            "(close_reason IS NOT NULL) = (status IN ('closing', 'cancelled', 'expired'))", name="closed_for_a_reason"
        ),
        CheckConstraint("(closing_since IS NULL) OR (close_reason IS NOT NULL)", name="closing_since"),
        CheckConstraint(
            "subtotal >= 0 AND discount >= 0 AND shipping >= 0 AND tax >= 0 AND total >= 0", name="amounts"
        ),
        CheckConstraint("total = subtotal + shipping + tax - discount", name="total"),
        CheckConstraint(
            "status NOT IN ('paid', 'shipped', 'delivered') OR total = 0 OR paying_attempt_id IS NOT NULL",
            name="paid_by_an_attempt",
        ),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("version > 0", name="version"),
        UniqueConstraint("number"),
        UniqueConstraint("paying_attempt_id"),
        Index(
            "uq_orders_open_cart_version",
            "cart_id",
            "cart_version",
            unique=True,
            postgresql_where=text("status NOT IN ('cancelled', 'expired')"),
        ),
        Index("ix_orders_user_id_placement", "user_id", text("placement DESC")),
        Index("ix_orders_placed_at", text("placed_at DESC"), text("id DESC")),
        Index("ix_orders_status_placed_at", "status", text("placed_at DESC"), text("id DESC")),
        Index("ix_orders_unknown_to_cart", "user_id", "placement", postgresql_where=text("NOT cart_knows")),
        Index("ix_orders_deadline", "deadline", postgresql_where=text("status = 'awaiting_payment'")),
        Index("ix_orders_closing_since", "closing_since", postgresql_where=text("status = 'closing'")),
        Index("ix_orders_needs_review", "placed_at", postgresql_where=text("needs_review")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    placement: Mapped[int] = mapped_column(Identity(always=True))
    """Rises with every order of a cart, since the cart is locked while one is written: "newest" and "since" mean it."""
    number: Mapped[str]
    user_id: Mapped[UUID]
    cart_id: Mapped[UUID]
    cart_version: Mapped[int]
    cart_knows: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """Cart has applied all that it will ever have to apply of this order."""
    fingerprint: Mapped[bytes]
    """What the caller asked for; the same key with another wish is a mistake of theirs."""

    status: Mapped[Status]
    version: Mapped[int]
    close_reason: Mapped[CloseReason | None]
    needs_review: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))

    currency: Mapped[str]
    subtotal: Mapped[int]
    discount: Mapped[int] = mapped_column(server_default=text("0"))
    shipping: Mapped[int] = mapped_column(server_default=text("0"))
    tax: Mapped[int] = mapped_column(server_default=text("0"))
    total: Mapped[int]

    payment_status: Mapped[PaymentStatus] = mapped_column(server_default=PaymentStatus.UNPAID.value)
    payment_version: Mapped[int] = mapped_column(server_default=text("0"))
    payment_id: Mapped[UUID | None]
    paying_attempt_id: Mapped[UUID | None]
    returned_attempts: Mapped[list[UUID]] = mapped_column(server_default=text("'{}'"))
    """Captured attempts that do not pay this order and whose return was asked for."""
    stock_committed_at: Mapped[datetime | None]
    stock_given_back_at: Mapped[datetime | None]

    shipping_address: Mapped[dict[str, Any]]
    billing_address: Mapped[dict[str, Any] | None]
    note: Mapped[str | None]
    carrier: Mapped[str | None]
    tracking: Mapped[str | None]

    placed_at: Mapped[datetime]
    pay_by: Mapped[datetime]
    """No checkout is handed out after it."""
    deadline: Mapped[datetime]
    """The order begins to close after it."""
    paid_at: Mapped[datetime | None]
    closing_since: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    shipped_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    traceparent: Mapped[str | None]
    """The span in which it was placed, when traces are collected."""

    items: Mapped[list["OrderItem"]] = relationship(lazy="raise", order_by="OrderItem.position", passive_deletes=True)

    @property
    def is_closed(self) -> bool:
        """Cancelled or expired."""
        return self.status in CLOSED

    @property
    def was_paid(self) -> bool:
        """Money was taken for it, or none was needed."""
        return self.paying_attempt_id is not None or self.total == 0


class OrderItem(Base):
    """One variant and how many of it, with name and price as they were when the order was placed."""

    __tablename__ = "order_items"
    __table_args__ = (
        CheckConstraint("quantity BETWEEN 1 AND 99", name="quantity"),
        CheckConstraint("price_at_purchase >= 0", name="price_at_purchase"),
        UniqueConstraint("order_id", "variant_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(SmallInteger)
    variant_id: Mapped[UUID]
    product_id: Mapped[UUID]
    sku: Mapped[str]
    name: Mapped[str]
    image_url: Mapped[str | None]
    quantity: Mapped[int] = mapped_column(SmallInteger)
    price_at_purchase: Mapped[int]

    @property
    def line_total(self) -> int:
        """What these cost together."""
        return self.quantity * self.price_at_purchase


class OrderMove(Base):
    """One line of an order's history: which move of `order_states.MOVES` was made, when, by whom and why."""

    __tablename__ = "order_moves"
    __table_args__ = (
        CheckConstraint(_one_of("actor_kind", ActorKind), name="actor_kind"),
        UniqueConstraint("order_id", "version"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    version: Mapped[int]
    """The order's version after the move."""
    move: Mapped[str]
    from_status: Mapped[Status | None]
    to_status: Mapped[Status]
    cause: Mapped[str]
    actor_kind: Mapped[ActorKind]
    actor_id: Mapped[UUID | None]
    attempt_id: Mapped[UUID | None]
    note: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


orders = cast(Table, Order.__table__)
order_items = cast(Table, OrderItem.__table__)
order_moves = cast(Table, OrderMove.__table__)
