"""What payments found out about the money, and what it means for the order.

* `on_payment_captured`: money was taken. The attempt pays the order (`order.paid`), or the order was being cancelled
  and it goes back at once (`order.cancelled`, `refund.requested`), or it comes too late, twice or in a wrong amount
  and goes back without touching the order (`refund.requested`).
* `on_payment_failed`: an attempt failed. The shopper may try again, so nothing moves.
* `on_intent_closed`: the provider's last word, nothing was taken. A closing order ends: `order.expired` or
  `order.cancelled`.
* `on_refund_submitted`, `on_refund_processed`, `on_refund_failed`: money is on its way back, is back, or is not.

`payment_status` copies what payments says and never decides a move; an older report does not overwrite a newer one.
Each function returns whether anything changed.
"""

from uuid import UUID

from chassis.events import Reader
from orders.events import RefundReason
from orders.models import CloseReason, Order, PaymentStatus, Status
from orders.order_book import OrderBook, advance, hold_for_review
from orders.order_states import Move, Step, Trigger, move_for, state_of

OWES_GOODS = (Status.PAID, Status.SHIPPED, Status.DELIVERED)


class PaymentReport(Reader):
    """Anything payments says about an order; reports of one payment are numbered."""

    order_id: UUID
    payment_version: int


class PaymentCaptured(PaymentReport):
    """Money was taken by this attempt."""

    payment_id: UUID
    attempt_id: UUID
    amount: int
    currency: str
    captured_total: int | None = None
    refunded_total: int | None = None
    """Both unknown to a release of payments before this one."""

    @property
    def shows(self) -> PaymentStatus:
        """Money was taken, and may have gone back since: a capture is told again, and attempts can be several."""
        if self.captured_total is None or self.refunded_total is None:
            return PaymentStatus.PAID
        return status_of_sums(self.captured_total, self.refunded_total)


class PaymentFailed(Reader):
    """An attempt took no money."""

    order_id: UUID


class IntentClosed(Reader):
    """No attempt took money, and none will any more."""

    order_id: UUID


class RefundReport(PaymentReport):
    """How a refund has changed the sums of its payment."""

    captured_total: int
    refunded_total: int


async def on_payment_captured(book: OrderBook, captured: PaymentCaptured) -> bool:
    """T3, T5, T6, T11 or T12, whichever the order's state and the amount call for."""
    order, is_unspent = await book.find_unspent(captured.order_id, attempt_id=captured.attempt_id)
    if order is None:
        return False
    if not is_unspent:
        # The money neither pays this order too nor goes back.
        await hold_for_review(book, order, why="captured by an attempt that pays another order")
        return False
    order, step = await advance(book, order.id, lambda order: decide_capture(order, captured), found=order)
    if order is None:
        return False
    shown = step is not None or await _show(book, order, captured, status=captured.shows)
    if step is not None and step.move.trigger is Trigger.CAPTURE_MISMATCHED:
        await hold_for_review(book, order, why="captured amount or currency differs from the order's")
    if shown:
        await _review_when_refunded(book, order)
    return shown


def decide_capture(order: Order, captured: PaymentCaptured) -> Step | None:
    """What a capture means for an order; nothing when it was reported before."""
    attempt_id = captured.attempt_id
    if attempt_id == order.paying_attempt_id or attempt_id in order.returned_attempts:
        return None
    state = state_of(order)
    if (captured.amount, captured.currency) != (order.total, order.currency):
        return _give_back(order, captured, Trigger.CAPTURE_MISMATCHED, RefundReason.MISMATCH)
    move = move_for(state, Trigger.CAPTURED)
    if move is None:
        late = order.paying_attempt_id is None
        reason = RefundReason.LATE_CAPTURE if late else RefundReason.DUPLICATE_CAPTURE
        return _give_back(order, captured, Trigger.CAPTURED_ELSEWHERE, reason)
    changes: dict[str, object] = {"paying_attempt_id": attempt_id, "payment_id": captured.payment_id}
    if move.after.status is Status.PAID:
        changes |= {"close_reason": None, "closing_since": None}
    missing = order.close_reason is CloseReason.OUT_OF_STOCK
    reason = RefundReason.OUT_OF_STOCK if missing else RefundReason.CANCELLED
    return _step(move, captured, reason=reason, changes=changes)


def _give_back(order: Order, captured: PaymentCaptured, trigger: Trigger, reason: RefundReason) -> Step | None:
    move = move_for(state_of(order), trigger)
    if move is None:
        return None
    returned = [*order.returned_attempts, captured.attempt_id]
    return _step(move, captured, reason=reason, changes={"returned_attempts": returned})


def _step(move: Move, captured: PaymentCaptured, *, reason: RefundReason, changes: dict[str, object]) -> Step:
    shown = (captured.shows, captured.payment_version)
    return Step(move=move, attempt_id=captured.attempt_id, refund_reason=reason, changes=changes, payment=shown)


async def on_payment_failed(_book: OrderBook, _failed: PaymentFailed) -> bool:
    """Another attempt may follow until the order closes, or one before it has paid: a failure changes no sum."""
    return False


async def on_intent_closed(book: OrderBook, closed: IntentClosed) -> bool:
    """T7."""
    _, step = await advance(book, closed.order_id, decide_intent_closed)
    return step is not None


def decide_intent_closed(order: Order) -> Step | None:
    """Only an order that was waiting for this word ends by it."""
    move = move_for(state_of(order), Trigger.PAYMENT_CLOSED)
    return Step(move=move) if move else None


async def on_refund_submitted(book: OrderBook, refund: RefundReport) -> bool:
    """The provider was asked to return money; until it has, the sums stand as they were."""
    return await _refund_seen(book, refund, status=status_of_sums(refund.captured_total, refund.refunded_total))


async def on_refund_processed(book: OrderBook, refund: RefundReport) -> bool:
    """Money is back at the shopper's bank."""
    return await _refund_seen(book, refund, status=status_of_sums(refund.captured_total, refund.refunded_total))


async def on_refund_failed(book: OrderBook, refund: RefundReport) -> bool:
    """Money that should go back did not; payments tries again or calls for people."""
    return await _refund_seen(book, refund, status=status_after_failure(refund))


def status_of_sums(captured: int, refunded: int) -> PaymentStatus:
    """What the sums of a payment tell the shopper."""
    if refunded <= 0:
        return PaymentStatus.PAID
    return PaymentStatus.REFUNDED if refunded >= captured else PaymentStatus.PARTIALLY_REFUNDED


def status_after_failure(refund: RefundReport) -> PaymentStatus:
    """A refund that failed because all the money is back already, by whatever way, is no bad news."""
    is_all = status_of_sums(refund.captured_total, refund.refunded_total) is PaymentStatus.REFUNDED
    return PaymentStatus.REFUNDED if is_all else PaymentStatus.REFUND_FAILED


async def _refund_seen(book: OrderBook, refund: RefundReport, *, status: PaymentStatus) -> bool:
    order = await book.find(refund.order_id)
    if order is None:
        return False
    shown = await _show(book, order, refund, status=status)
    if shown:
        await _review_when_refunded(book, order)
    return shown


async def _show(book: OrderBook, order: Order, report: PaymentReport, *, status: PaymentStatus) -> bool:
    """Copy what payments says, unless something newer was said before."""
    shown = await book.show_payment(order.id, status=status, version=report.payment_version)
    if shown is not None:
        order.payment_status, order.status = shown
    return shown is not None


async def _review_when_refunded(book: OrderBook, order: Order) -> None:
    """We owe goods for money that we have given back: only a person can tell what is meant."""
    if order.payment_status is PaymentStatus.REFUNDED and order.status in OWES_GOODS:
        await hold_for_review(book, order, why="refunded in full without being cancelled")
