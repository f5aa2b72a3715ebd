"""How an order ends before it is sent: by its owner, by staff, or by silence.

1. `cancel_order`: an unpaid order begins to close (`order.closing`) and payments finds out whether money was taken
   after all; a paid one is cancelled at once and its money goes back (`order.cancelled`, `refund.requested`).
   Cancelling again answers the order as it is; one that was sent, or has expired, is not cancellable.
2. `close_unpaid`, every five seconds: orders past their deadline begin to close (`order.closing`, expired).
3. The answer comes to `payment_outcome`: `payment.captured` or `payment.intent_closed`.
4. `end_overdue`, every five seconds: where no answer came in half an hour, the order ends without it
   (`order.expired`, `order.cancelled`). Money that is found later goes back.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from chassis.database import is_outage
from chassis.jobs import JobOutcome, work_through
from chassis.telemetry import get_logger
from orders.errors import OrderNotCancellable, OrderNotFound
from orders.events import RefundReason
from orders.models import CloseReason, Order
from orders.order_book import OrderBook, OrderBooks, advance
from orders.order_states import Actor, Decide, State, Step, Trigger, move_for, state_of

BATCH = 200
"""Orders found at once."""

CANCELLED_ALREADY = (State.CLOSING_CANCELLED, State.CANCELLED)


async def cancel_order(
    book: OrderBook, actor: Actor, *, order_id: UUID, reason: str | None, owner: UUID | None = None
) -> Order:
    """T4, T4b or T8. With `owner` only that person's order is found. Raises OrderNotFound, OrderNotCancellable."""

    def decide(order: Order) -> Step | None:
        if owner is not None and order.user_id != owner:
            raise OrderNotFound
        return decide_cancel(order, actor, reason=reason)

    order, _ = await advance(book, order_id, decide)
    if order is None:
        raise OrderNotFound
    return order


def decide_cancel(order: Order, actor: Actor, *, reason: str | None = None) -> Step | None:
    """The step of a cancel; none when it was cancelled before. Raises OrderNotCancellable."""
    state = state_of(order)
    if state in CANCELLED_ALREADY:
        return None
    move = move_for(state, Trigger.CANCEL_ASKED)
    if move is None:
        raise OrderNotCancellable("It was sent or has expired; for what was sent, ask for a return.")
    return Step(
        move=move,
        actor=actor,
        note=reason,
        attempt_id=order.paying_attempt_id,
        refund_reason=RefundReason.CANCELLED,
        changes={"close_reason": CloseReason.CANCELLED},
    )


async def close_unpaid(orders: OrderBooks) -> JobOutcome:
    """T4 for every order past its deadline."""

    async def find(skip: int) -> Sequence[UUID]:
        async with orders.transaction() as book:
            return await book.past_deadline(limit=BATCH, skip=skip)

    return await _move_all(orders, find, decide=decide_deadline)


def decide_deadline(order: Order) -> Step | None:
    """An unpaid order expires."""
    move = move_for(state_of(order), Trigger.DEADLINE_PASSED)
    return Step(move=move, changes={"close_reason": CloseReason.EXPIRED}) if move else None


async def end_overdue(orders: OrderBooks, *, limit: float) -> JobOutcome:
    """T7 for every order that has been closing for longer than `limit` seconds."""

    async def find(skip: int) -> Sequence[UUID]:
        async with orders.transaction() as book:
            return await book.closing_for(limit, limit=BATCH, skip=skip)

    return await _move_all(orders, find, decide=decide_overdue)


def decide_overdue(order: Order) -> Step | None:
    """A closing order ends, though the provider has not spoken."""
    move = move_for(state_of(order), Trigger.CLOSING_LIMIT_PASSED)
    return Step(move=move) if move else None


async def _move_all(
    orders: OrderBooks, find: Callable[[int], Awaitable[Sequence[UUID]]], *, decide: Decide
) -> JobOutcome:
    """Each order in a transaction of its own, so that one that cannot move keeps no other from moving."""

    async def move(order_id: UUID) -> bool:
        try:
            async with orders.transaction() as book:
                await advance(book, order_id, decide)
        except Exception as error:
            if is_outage(error):
                raise
            get_logger().warning("order not moved", order_id=str(order_id), error=repr(error))
            return False
        return True

    return await work_through(find, move, batch=BATCH)
