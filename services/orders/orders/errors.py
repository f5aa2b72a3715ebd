"""What this service refuses, and what the caller can do about it.

Problem
├── NotFound 404        OrderNotFound, AddressNotFound
├── Conflict 409
│   ├── at checkout     CartEmpty, InsufficientStock, PriceChanged, CartAlreadyOrdered
│   └── later           OrderNotCancellable, OrderNotReady, OrderNotShippable, OrderAlreadyShipped, OrderNotDeliverable,
│                       OrderNotInReview
├── Unprocessable 422   TotalTooSmall
└── Unavailable 503     CheckoutTookTooLong, CheckoutInterrupted
"""

from chassis.problems import Conflict, NotFound, Problem, Unavailable, Unprocessable


class OrderNotFound(NotFound):
    """There is no such order, or it belongs to somebody else."""

    code = "order_not_found"
    title = "Order not found"

    def __init__(self) -> None:
        super().__init__("Check the id; the caller's own orders are at /api/v1/orders.")


class AddressNotFound(NotFound):
    """The caller's address book has no such address: choose another, or send the address itself."""

    code = "address_not_found"
    title = "Address not found"


class CartEmpty(Conflict):
    """There is nothing to order: put something into the cart first."""

    code = "cart_empty"
    title = "The cart is empty"


class InsufficientStock(Conflict):
    """`shortages` names each variant of which there is less than wanted: lower the quantities, or remove the items."""

    code = "insufficient_stock"
    title = "Insufficient stock"


class PriceChanged(Conflict):
    """The total is not the expected one. `quote` holds the present prices: show them, then order with the new total."""

    code = "price_changed"
    title = "The total has changed"


class CartAlreadyOrdered(Conflict):
    """This cart was ordered already, under another key: `order_id` names that order."""

    code = "cart_already_ordered"
    title = "The cart was ordered already"


class OrderNotCancellable(Conflict):
    """The order was sent, or has expired: it cannot be cancelled any more."""

    code = "order_not_cancellable"
    title = "The order cannot be cancelled"


class OrderNotReady(Conflict):
    """A paid order is sent only when its stock is taken out and its money was not given back in full."""

    code = "not_ready"
    title = "The order is not ready to be sent"


class OrderNotShippable(Conflict):
    """Only a paid order can be sent."""

    code = "order_not_shippable"
    title = "The order cannot be sent"


class OrderAlreadyShipped(Conflict):
    """The order was sent with another carrier or tracking code; `tracking` tells which."""

    code = "order_already_shipped"
    title = "The order was sent already"


class OrderNotDeliverable(Conflict):
    """Only an order that was sent can be delivered."""

    code = "order_not_deliverable"
    title = "The order cannot be delivered"


class OrderNotInReview(Conflict):
    """The order needs no review, or no longer: `?needs_review=true` lists those that do."""

    code = "order_not_in_review"
    title = "The order is not in review"


class OrderChanged(Conflict):
    """Something happened to the order since the version that was named: look at it again, and name the present one."""

    code = "order_changed"
    title = "The order has changed"


class TotalTooSmall(Unprocessable):
    """The payment provider takes one rupee at least: add something to the cart."""

    code = "total_too_small"
    title = "The total is too small to be paid"


class CheckoutTookTooLong(Unavailable):
    """The order was not made, because asking cart and catalog took too long: repeat with the same Idempotency-Key."""

    code = "checkout_took_too_long"
    title = "Checkout took too long"


class CheckoutInterrupted(Unavailable):
    """The order was not made: repeat with the same Idempotency-Key."""

    code = "checkout_interrupted"
    title = "Checkout was interrupted"


PROBLEMS: tuple[type[Problem], ...] = (
    OrderNotFound, AddressNotFound, CartEmpty, InsufficientStock, PriceChanged, CartAlreadyOrdered,
    OrderNotCancellable, OrderNotReady, OrderNotShippable, OrderAlreadyShipped, OrderNotDeliverable,
    OrderNotInReview, OrderChanged, TotalTooSmall, CheckoutTookTooLong, CheckoutInterrupted,
)  # fmt: skip
