"""Every move an order can make, in one table: a process decides, and can do nothing that the table does not list.

How a move is made is told in `order_book.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from chassis.events import Event
from orders.events import (
    OrderCancelled,
    OrderClosing,
    OrderDelivered,
    OrderExpired,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    RefundReason,
    RefundRequested,
)
from orders.models import ActorKind, CloseReason, Order, PaymentStatus, Status


class State(StrEnum):
    """Where an order stands for the table of moves: its status, with the two kinds of closing told apart."""

    NEW = "new"
    AWAITING_PAYMENT = "awaiting_payment"
    CLOSING_EXPIRED = "closing (expired)"
    CLOSING_CANCELLED = "closing (cancelled)"
    PAID = "paid"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def status(self) -> Status:
        """What a client is told."""
        return Status(self.split(" ")[0])


class Trigger(StrEnum):
    """What makes an order move."""

    PLACED = "placed"
    PLACED_FOR_NOTHING = "placed_for_nothing"
    """Placed with a total of 0."""
    CAPTURED = "payment_captured"
    """By the attempt that pays, with the right amount and currency."""
    CAPTURED_ELSEWHERE = "other_payment_captured"
    """By an attempt that cannot pay this order any more."""
    CAPTURE_MISMATCHED = "payment_mismatched"
    """With another amount or currency than the order's."""
    PAYMENT_CLOSED = "payment_closed"
    """The provider's last word: nothing was captured."""
    DEADLINE_PASSED = "deadline_passed"
    CLOSING_LIMIT_PASSED = "closing_limit_passed"
    CANCEL_ASKED = "cancel_asked"
    STOCK_NOT_HELD = "stock_not_held"
    """Catalog could not hold the items of a placed order."""
    STOCK_NOT_SOLD = "stock_not_sold"
    """Catalog could not give the items of a paid order."""
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    REVIEW_NEEDED = "review_needed"
    """Something does not fit, and only a person can tell what is to be done; the note says what."""
    REVIEWED = "reviewed"
    """Staff looked at an order that needed it, and say what came of it."""


@dataclass(frozen=True, slots=True)
class Move:
    """One row of the table."""

    name: str
    before: State
    trigger: Trigger
    after: State
    emits: tuple[type[Event], ...] = ()


def _table() -> tuple[Move, ...]:
    s, t = State, Trigger
    returned = (OrderCancelled, RefundRequested)
    rows = (
        Move("T1", s.NEW, t.PLACED, s.AWAITING_PAYMENT, (OrderPlaced,)),
        Move("T2", s.NEW, t.PLACED_FOR_NOTHING, s.PAID, (OrderPlaced, OrderPaid)),
        Move("T3", s.AWAITING_PAYMENT, t.CAPTURED, s.PAID, (OrderPaid,)),
        Move("T4", s.AWAITING_PAYMENT, t.DEADLINE_PASSED, s.CLOSING_EXPIRED, (OrderClosing,)),
        Move("T4", s.AWAITING_PAYMENT, t.CANCEL_ASKED, s.CLOSING_CANCELLED, (OrderClosing,)),
        Move("T4", s.AWAITING_PAYMENT, t.STOCK_NOT_HELD, s.CLOSING_CANCELLED, (OrderClosing,)),
        Move("T4b", s.CLOSING_EXPIRED, t.CANCEL_ASKED, s.CLOSING_CANCELLED),
        Move("T5", s.CLOSING_EXPIRED, t.CAPTURED, s.PAID, (OrderPaid,)),
        Move("T6", s.CLOSING_CANCELLED, t.CAPTURED, s.CANCELLED, returned),
        Move("T7", s.CLOSING_EXPIRED, t.PAYMENT_CLOSED, s.EXPIRED, (OrderExpired,)),
        Move("T7", s.CLOSING_EXPIRED, t.CLOSING_LIMIT_PASSED, s.EXPIRED, (OrderExpired,)),
        Move("T7", s.CLOSING_CANCELLED, t.PAYMENT_CLOSED, s.CANCELLED, (OrderCancelled,)),
        Move("T7", s.CLOSING_CANCELLED, t.CLOSING_LIMIT_PASSED, s.CANCELLED, (OrderCancelled,)),
        Move("T8", s.PAID, t.CANCEL_ASKED, s.CANCELLED, returned),
        Move("T9", s.PAID, t.STOCK_NOT_SOLD, s.CANCELLED, returned),
        Move("T10", s.PAID, t.SHIPPED, s.SHIPPED, (OrderShipped,)),
        Move("T10", s.SHIPPED, t.DELIVERED, s.DELIVERED, (OrderDelivered,)),
    )
    open_to_payment = {row.before for row in rows if row.trigger is t.CAPTURED}
    existing = [state for state in s if state is not s.NEW]
    return (
        *rows,
        *(
            Move("T11", state, t.CAPTURED_ELSEWHERE, state, (RefundRequested,))
            for state in existing
            if state not in open_to_payment
        ),
        *(Move("T12", state, t.CAPTURE_MISMATCHED, state, (RefundRequested,)) for state in existing),
        *(Move("T13", state, t.REVIEWED, state) for state in existing),
        *(Move("T14", state, t.REVIEW_NEEDED, state) for state in existing),
    )


MOVES = _table()
"""T1 to T14. What is not here does not happen."""

_BY_STATE_AND_TRIGGER = {(move.before, move.trigger): move for move in MOVES}

STAMPS = {
    Status.PAID: "paid_at",
    Status.CLOSING: "closing_since",
    Status.SHIPPED: "shipped_at",
    Status.DELIVERED: "delivered_at",
    Status.CANCELLED: "closed_at",
    Status.EXPIRED: "closed_at",
}
"""The column that keeps when a status was reached."""


def state_of(order: Order) -> State:
    """The row's state for the table of moves."""
    if order.status is not Status.CLOSING:
        return State(order.status)
    return State.CLOSING_EXPIRED if order.close_reason is CloseReason.EXPIRED else State.CLOSING_CANCELLED


def move_for(state: State, trigger: Trigger) -> Move | None:
    """The table's answer; None where it lists nothing."""
    return _BY_STATE_AND_TRIGGER.get((state, trigger))


@dataclass(frozen=True, slots=True)
class Actor:
    """Who moves an order."""

    kind: ActorKind
    id: UUID | None = None


SYSTEM = Actor(ActorKind.SYSTEM)


class Provided(StrEnum):
    """What else than status and version must hold for a move, at the moment it is made."""

    NOTHING = "nothing"
    READY_TO_SEND = "ready to send"
    """Its stock is taken out, and its money was not given back in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A decision: the move to make, by whom, and what is to be remembered of it."""

    move: Move
    actor: Actor = SYSTEM
    note: str | None = None
    attempt_id: UUID | None = None
    """The captured attempt it is about; without one no refund is asked for."""
    refund_reason: RefundReason | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    provided: Provided = Provided.NOTHING
    """What else must hold at the moment of the update."""
    payment: tuple[PaymentStatus, int] | None = None
    """What payments has said, to be shown unless something newer was; and its version."""

    @property
    def emits(self) -> list[type[Event]]:
        """The move's events, without a refund where nothing was captured."""
        return [kind for kind in self.move.emits if kind is not RefundRequested or self.attempt_id]


Decide = Callable[[Order], Step | None]
"""Looks at an order and says which step to take, or none. Raises a Problem when the caller may not."""
