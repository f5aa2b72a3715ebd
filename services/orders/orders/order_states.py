"""Every move an order can make, in one table, and the one way to make it.

A move is one guarded statement, `UPDATE orders … WHERE id AND status AND version`, with a line of history and the
events that announce it, all in the caller's transaction. When another move came first, the order is read again and
the decision is taken anew. A process decides; this file lets it do nothing that the table does not list.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.events import Event
from chassis.ids import new_id
from chassis.outbox import record
from chassis.plain_sql import driver_connection
from chassis.problems import Busy
from chassis.telemetry import get_logger
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
    announcement,
)
from orders.models import ActorKind, CloseReason, Order, PaymentStatus, Status, order_moves, orders
from orders.order_reading import find_order


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
    )


MOVES = _table()
"""T1 to T12 of the checkout design. What is not here does not happen."""

_BY_STATE_AND_TRIGGER = {(move.before, move.trigger): move for move in MOVES}

_STAMPS = {
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
    provided: str = "true"
    """What else must hold at the moment of the update, as a condition on the row."""
    payment: tuple[PaymentStatus, int] | None = None
    """What payments has said, to be shown unless something newer was; and its version."""

    @property
    def emits(self) -> list[type[Event]]:
        """The move's events, without a refund where nothing was captured."""
        return [kind for kind in self.move.emits if kind is not RefundRequested or self.attempt_id]


Decide = Callable[[Order], Step | None]
"""Looks at an order and says which step to take, or none. Raises a Problem when the caller may not."""

ATTEMPTS = 10
"""Lost races after which a move is given up; each means that somebody else moved the order."""


async def advance(session: AsyncSession, order_id: UUID, decide: Decide) -> tuple[Order | None, Step | None]:
    """Read the order, let `decide` choose a step, take it; the order as it is then, and the step if one was taken.

    Raises what `decide` raises, and Busy when ten others came first.
    """
    for _ in range(ATTEMPTS):
        order = await find_order(session, order_id)
        step = decide(order) if order else None
        if order is None or step is None:
            return order, None
        if await _take(session, order, step):
            return order, step
    raise Busy("The order is being changed by somebody else; repeat in a moment.")


async def _take(session: AsyncSession, order: Order, step: Step) -> bool:
    """The guarded update; False when the order is no longer where the decision saw it."""
    after = step.move.after.status
    changes = {"status": after, "version": order.version + max(1, len(step.emits)), **step.changes}
    stamp = _STAMPS[after] if after is not order.status else None
    history = history_row(order.id, step, version=changes["version"], before=order.status)
    connection = await driver_connection(session)
    moved = await connection.fetchrow(
        _statement(tuple(changes), stamp, step.provided),
        order.id,
        order.status,
        order.version,
        msgspec.json.encode(history).decode(),
        *(step.payment or (None, None)),
        *changes.values(),
    )
    if moved is None:
        return False
    for name, value in {**changes, **moved}.items():
        setattr(order, name, value)
    order.payment_status = PaymentStatus(moved["payment_status"])
    await announce(session, order, step)
    return True


@cache
def _statement(changed: tuple[str, ...], stamp: str | None, provided: str) -> str:
    """The update with its line of history, in one statement."""
    sets = [f"{name} = ${number}" for number, name in enumerate(changed, start=7)]
    stamps = [stamp] if stamp else []
    returned = [*stamps, "payment_status", "payment_version", "needs_review", "stock_committed_at"]
    return f"""
        WITH moved AS (
            UPDATE orders SET
                {", ".join([*sets, *(f"{name} = clock_timestamp()" for name in stamps)])},
                payment_status = CASE WHEN payment_version < $6 THEN $5 ELSE payment_status END,
                payment_version = greatest(payment_version, $6)
            WHERE id = $1 AND status = $2 AND version = $3 AND {provided}
            RETURNING {", ".join(returned)}
        ), told AS (
            INSERT INTO order_moves ({", ".join(HISTORY)})
            SELECT {", ".join(f"line.{name}" for name in HISTORY)}
            FROM moved, json_populate_record(NULL::order_moves, $4::text::json) AS line
        )
        SELECT * FROM moved
    """  # noqa: S608 - names and conditions of our own


HISTORY = [name for name in order_moves.columns.keys() if name != "at"]  # noqa: SIM118 - not a dict
"""The columns of a line of history that do not set themselves."""


def history_row(order_id: UUID, step: Step, *, version: int, before: Status | None = None) -> dict[str, Any]:
    """The line of history of a move that makes the order's version this one."""
    return {
        "id": new_id(),
        "order_id": order_id,
        "version": version,
        "move": step.move.name,
        "from_status": before,
        "to_status": step.move.after.status,
        "cause": step.move.trigger,
        "actor_kind": step.actor.kind,
        "actor_id": step.actor.id,
        "attempt_id": step.attempt_id,
        "note": step.note,
    }


async def announce(session: AsyncSession, order: Order, step: Step) -> None:
    """The events of a move, for the order as it is after it."""
    first = order.version - len(step.emits) + 1
    for version, kind in enumerate(step.emits, start=first):
        event = announcement(kind, order, version=version, attempt_id=step.attempt_id, refund_reason=step.refund_reason)
        await record(session, event, subject=order.id, sequence=version, correlation_id=order.id)


async def hold_for_review(session: AsyncSession, order: Order, *, why: str) -> None:
    """Mark an order that a person must look at, and raise the alarm."""
    await session.execute(update(orders).where(orders.c.id == order.id).values(needs_review=True))
    order.needs_review = True
    get_logger().error("order needs review", order_id=str(order.id), number=order.number, why=why)
