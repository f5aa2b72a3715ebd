"""How a review ends: staff looked at an order that did not fit, settled it, and say how.

What begins a review stands where it happens (`hold_for_review` in `payment_outcome` and `stock_outcome`); the same
cause coming again begins it again. Each cause is a line of the order's history, and staff end what they have seen:
they name the version that they looked at, and a cause that was written since is not ended with it.
"""

from uuid import UUID

from orders.errors import OrderChanged, OrderNotFound, OrderNotInReview
from orders.models import Order
from orders.order_book import OrderBook, advance
from orders.order_states import Actor, Step, Trigger, move_for, state_of


async def end_review(book: OrderBook, actor: Actor, *, order_id: UUID, seen: int, note: str) -> Order:
    """T13, of the order as it was at version `seen`. Raises OrderNotFound, OrderNotInReview, OrderChanged."""
    order, _ = await advance(book, order_id, lambda order: decide_review_ended(order, actor, seen=seen, note=note))
    if order is None:
        raise OrderNotFound
    return order


def decide_review_ended(order: Order, actor: Actor, *, seen: int, note: str) -> Step:
    """The step that ends a review, whatever the order's state. Raises OrderNotInReview, OrderChanged."""
    move = move_for(state_of(order), Trigger.REVIEWED)
    if move is None or not order.needs_review:
        raise OrderNotInReview("Nothing to do: its timeline tells whether somebody has ended the review before.")
    if order.version != seen:
        raise OrderChanged("Read its timeline again, then end the review with the version that is there.")
    return Step(move=move, actor=actor, note=note, changes={"needs_review": False})
