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

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.events import Reader
from chassis.plain_sql import driver_connection
from orders.events import RefundReason
from orders.models import CloseReason, Order, Status
from orders.order_states import Step, Trigger, advance, hold_for_review, move_for, state_of

SENT = (Status.SHIPPED, Status.DELIVERED)


class StockAnswer(Reader):
    """Something happened to the stock of an order."""

    order_id: UUID


class CommitFailed(StockAnswer):
    """There is not enough: for holding what was placed, or for selling what was paid."""

    cause: Literal["placed", "paid"]


async def on_stock_committed(session: AsyncSession, answer: StockAnswer) -> bool:
    """One of the two conditions of sending an order."""
    return await _remember(session, answer, Order.stock_committed_at.key)


async def on_stock_released(session: AsyncSession, answer: StockAnswer) -> bool:
    """What was held is free again."""
    return await _remember(session, answer, Order.stock_given_back_at.key)


async def on_stock_returned(session: AsyncSession, answer: StockAnswer) -> bool:
    """What was sold is back on the shelf."""
    return await _remember(session, answer, Order.stock_given_back_at.key)


async def _remember(session: AsyncSession, answer: StockAnswer, column: str) -> bool:
    """Keep when it was first heard; hearing it again changes nothing."""
    connection = await driver_connection(session)
    first_heard = f"UPDATE orders SET {column} = clock_timestamp() WHERE id = $1 AND {column} IS NULL RETURNING true"  # noqa: S608 - one of two columns
    return bool(await connection.fetchval(first_heard, answer.order_id))


async def on_commit_failed(session: AsyncSession, failed: CommitFailed) -> bool:
    """T4 or T9, or an alarm when the goods are gone already."""
    order, step = await advance(session, failed.order_id, lambda order: decide_commit_failed(order, failed.cause))
    if order is not None and step is None and failed.cause == "paid" and order.status in SENT:
        await hold_for_review(session, order, why="sent, but catalog could not sell its items")
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
