"""What catalog answers about an order's stock.

* `on_stock_committed`: the items of a paid order have left the shelf; it may be sent.
* `on_commit_failed`, cause `placed`: the hold was gone and could not be had again. The unpaid order closes
  (`order.closing`), as if cancelled.
* `on_commit_failed`, cause `paid`: the items of a paid order are not there. It is cancelled and the money goes back
  (`order.cancelled`, `refund.requested`). Already sent: a person must look at it.
* `on_stock_released`, `on_stock_returned`: a closed order holds nothing any more.

Each function returns whether anything changed.
"""

from typing import Literal
from uuid import UUID

from chassis.events import Reader
from orders.events import RefundReason
from orders.models import CloseReason, Order, Status
from orders.order_book import OrderBook, advance, hold_for_review
from orders.order_states import Step, Trigger, move_for, state_of

SENT = (Status.SHIPPED, Status.DELIVERED)


class StockAnswer(Reader):
    """Something happened to the stock of an order."""

    order_id: UUID


class CommitFailed(StockAnswer):
    """There is not enough: for holding what was placed, or for selling what was paid."""

    cause: Literal["placed", "paid"]


async def on_stock_committed(book: OrderBook, answer: StockAnswer) -> bool:
    """The stock has left the shelf: besides money that was kept, this is what sending an order needs."""
    return await book.remember(answer.order_id, "stock_committed_at")


async def on_stock_released(book: OrderBook, answer: StockAnswer) -> bool:
    """What was held is free again."""
    return await book.remember(answer.order_id, "stock_given_back_at")


async def on_stock_returned(book: OrderBook, answer: StockAnswer) -> bool:
    """What was sold is back on the shelf."""
    return await book.remember(answer.order_id, "stock_given_back_at")


async def on_commit_failed(book: OrderBook, failed: CommitFailed) -> bool:
    """T4 or T9, or an alarm when the goods are gone already."""
    order, step = await advance(book, failed.order_id, lambda order: decide_commit_failed(order, failed.cause))
    if order is not None and step is None and failed.cause == "paid" and order.status in SENT:
        await hold_for_review(book, order, why="sent, but catalog could not sell its items")
        return True
    return step is not None


def decide_commit_failed(order: Order, cause: str) -> Step | None:
    """An order is closed for want of stock where the table allows it."""
    trigger = Trigger.STOCK_NOT_HELD if cause == "placed" else Trigger.STOCK_NOT_SOLD
    move = move_for(state_of(order), trigger)
    if move is None:
        return None
    return Step(
        move=move,
        attempt_id=order.paying_attempt_id,
        refund_reason=RefundReason.OUT_OF_STOCK,
        changes={"close_reason": CloseReason.OUT_OF_STOCK},
    )
