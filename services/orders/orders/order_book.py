"""The port to the rows of orders, and the one way to move an order.

`OrderBooks` opens a transaction, `OrderBook` is what can be read and written in it. `postgres_orders.py` implements
both; the simulation of the whole checkout (tests/simulation) has a second implementation in memory, and one suite of
tests holds for both. All times are compared with the clock of whoever keeps the rows.

A move is one guarded update with a line of history and the events that announce it, all in the caller's transaction.
When another move came first, the order is read again and the decision is taken anew.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from chassis import tracing
from chassis.events import Event
from chassis.ids import new_id
from chassis.problems import Busy
from chassis.telemetry import get_logger
from orders.events import announcement
from orders.known_orders import KnownOrders
from orders.models import Order, PaymentStatus, Status
from orders.order_states import STAMPS, Decide, Provided, Step, Trigger, move_for, state_of

ATTEMPTS = 10
"""Lost races after which a move is given up; each means that somebody else moved the order."""

StockNews = Literal["stock_committed_at", "stock_given_back_at"]
"""What is remembered of catalog's answers."""

Line = Mapping[str, Any]
"""A line of an order's history, by the columns of `order_moves`."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What `take_turn` answers: until the transaction ends, nobody else can order this cart."""

    now: datetime
    """The database's clock, read after the wait."""
    number: str
    """A number that no order has."""


class OrderBook(Protocol):
    """The orders within one transaction."""

    async def find(self, order_id: UUID) -> Order | None:
        """A copy of the order with its items, as it is now. It is not locked."""
        ...

    async def take(
        self,
        order: Order,
        *,
        changes: Mapping[str, Any],
        stamp: str | None,
        provided: Provided,
        payment: tuple[PaymentStatus, int] | None,
        line: Line,
    ) -> Mapping[str, Any] | None:
        """Change the order and add the line to its history, if status and version are what this copy says.

        `stamp` names the column that is set to now; `payment` is shown unless a newer version was. Returns stamp,
        payment_status, payment_version, needs_review and stock_committed_at as they are then; None when the guard
        does not hold, and nothing is written.
        """
        ...

    async def record(self, event: Event, *, order_id: UUID, version: int) -> None:
        """Publish an event when this transaction commits."""
        ...

    async def find_unspent(self, order_id: UUID, *, attempt_id: UUID) -> tuple[Order | None, bool]:
        """As `find`, and whether the attempt pays no other order than this one."""
        ...

    async def show_payment(
        self, order_id: UUID, *, status: PaymentStatus, version: int
    ) -> tuple[PaymentStatus, Status] | None:
        """Copy what payments says, with the order's status at that moment; None when something newer was said."""
        ...

    async def remember(self, order_id: UUID, news: StockNews) -> bool:
        """Note when catalog first said this. True the first time only."""
        ...

    async def past_deadline(self, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Orders that await a payment after their deadline, the longest overdue first after the first `skip`."""
        ...

    async def closing_for(self, seconds: float, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Orders that have been closing for longer, the longest first after the first `skip`."""
        ...

    async def take_turn(self, cart_id: UUID) -> Turn:
        """Wait until nobody else is ordering this cart."""
        ...

    async def write(self, order: Order, *, line: Line, seen: int, acknowledged: Collection[UUID]) -> bool:
        """Add an order with its items and its line of history, and note what cart has acknowledged.

        False, and nothing is written, when there is an order of this cart that is newer than `seen`. `take_turn` must
        come first: what it locks makes this look final. Raises UniqueViolationError.
        """
        ...

    async def open_order_of_version(self, cart_id: UUID, version: int) -> UUID | None:
        """The order of this version of the cart that is not closed."""
        ...

    async def is_open(self, order_id: UUID) -> bool:
        """Whether it exists and is not closed."""
        ...

    async def ordered_since(self, seen: int, *, user_id: UUID, cart_id: UUID, but: UUID) -> UUID | None:
        """The first order of this cart that is newer than `seen`, other than `but`."""
        ...


class OrderBooks(Protocol):
    """The orders outside of a transaction, and the way into one."""

    def transaction(self) -> AbstractAsyncContextManager[OrderBook]:
        """Committed at the end of the block, rolled back when it raises."""
        ...

    async def known(self, user_id: UUID, order_id: UUID) -> KnownOrders:
        """What a checkout must know of its caller's orders; `order_id` is the one that is to be made."""
        ...

    async def read(self, order_id: UUID) -> Order | None:
        """A copy of the order with its items."""
        ...


async def advance(
    book: OrderBook, order_id: UUID, decide: Decide, *, found: Order | None = None
) -> tuple[Order | None, Step | None]:
    """Read the order, let `decide` choose a step, take it; the order as it is then, and the step if one was taken.

    `found` is the order where it was read in this transaction before; should it have moved since, it is read again.
    Raises what `decide` raises, and Busy when ten others came first.
    """
    for _ in range(ATTEMPTS):
        order, found = found or await book.find(order_id), None
        step = decide(order) if order else None
        if order is None or step is None:
            return order, None
        if await _take(book, order, step):
            return order, step
    raise Busy("The order is being changed by somebody else; repeat in a moment.")


async def _take(book: OrderBook, order: Order, step: Step) -> bool:
    """The guarded update; False when the order is no longer where the decision saw it."""
    after = step.move.after.status
    changes = {"status": after, "version": order.version + max(1, len(step.emits)), **step.changes}
    moved = await book.take(
        order,
        changes=changes,
        stamp=STAMPS[after] if after is not order.status else None,
        provided=step.provided,
        payment=step.payment,
        line=history_line(order.id, step, version=changes["version"], before=order.status),
    )
    if moved is None:
        return False
    for name, value in {**changes, **moved}.items():
        setattr(order, name, value)
    await announce(book, order, step)
    return True


def history_line(order_id: UUID, step: Step, *, version: int, before: Status | None = None) -> dict[str, Any]:
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


async def announce(book: OrderBook, order: Order, step: Step) -> None:
    """Publish the events of a move; `order` is as the move has left it."""
    first = order.version - len(step.emits) + 1
    # Whoever moves it, by a request of their own or by the clock: the order's trace goes on.
    with tracing.resumed(f"order {step.move.trigger}", order.traceparent) as span:
        span.note(haat__correlation_id=str(order.id))
        for version, kind in enumerate(step.emits, start=first):
            event = announcement(
                kind, order, version=version, attempt_id=step.attempt_id, refund_reason=step.refund_reason
            )
            await book.record(event, order_id=order.id, version=version)


async def hold_for_review(book: OrderBook, order: Order, *, why: str) -> None:
    """T14: note in its history why a person must look at an order, and raise the alarm."""

    def decide(order: Order) -> Step | None:
        move = move_for(state_of(order), Trigger.REVIEW_NEEDED)
        return Step(move=move, note=why, changes={"needs_review": True}) if move else None

    await advance(book, order.id, decide)
    get_logger().error("order needs review", order_id=str(order.id), number=order.number, why=why)
