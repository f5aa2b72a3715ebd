"""Writing a new order, which is not done when somebody ordered the same cart meanwhile."""

from collections.abc import Collection
from uuid import UUID

from orders.models import Order
from orders.order_book import OrderBook, announce, history_line
from orders.order_states import Actor, State, Step, Trigger, move_for


async def begin(book: OrderBook, order: Order, *, actor: Actor, seen: int, acknowledged: Collection[UUID] = ()) -> bool:
    """Write a new order by T1 or T2, with its items, its history and its events, and what cart has acknowledged.

    False, and nothing is written, when there is an order of this cart that is newer than `seen`. The cart's turn must
    have been taken (`OrderBook.take_turn`).
    """
    move = move_for(State.NEW, Trigger.PLACED if order.total else Trigger.PLACED_FOR_NOTHING)
    assert move is not None  # noqa: S101 - two rows of the table
    order.status = move.after.status
    order.version = len(move.emits)
    step = Step(move=move, actor=actor)
    line = history_line(order.id, step, version=order.version)
    if not await book.write(order, line=line, seen=seen, acknowledged=acknowledged):
        return False
    await announce(book, order, step)
    return True
