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

from typing import Any, ClassVar

from chassis.problems import Conflict, NotFound, Problem, Unavailable, Unprocessable

_TEXT = {"type": "string"}
_COUNT = {"type": "integer"}
_ID = {"type": "string", "format": "uuid"}
_MONEY = {"$ref": "#/components/schemas/Money"}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


class OrderNotFound(NotFound):
    """There is no such order, or it belongs to somebody else: list yours with `GET /orders`."""

    code = "order_not_found"
    title = "Order not found"

    def __init__(self) -> None:
        super().__init__("Check the id; the caller's own orders are at /api/v1/orders.")


class AddressNotFound(NotFound):
    """An order is sent to an address of the caller's book: choose another, or send the address itself."""

    code = "address_not_found"
    title = "Address not found"


class CartEmpty(Conflict):
    """There is nothing to order: put something into the cart first."""

    code = "cart_empty"
    title = "The cart is empty"


class InsufficientStock(Conflict):
    """For an order: `shortages` names each variant of which there is less than wanted: order fewer, or leave it out."""

    code = "insufficient_stock"
    title = "Insufficient stock"
    members: ClassVar = {
        "shortages": {
            "type": "array",
            "items": _object(
                {"variant_id": _ID, "wanted": _COUNT, "available": _COUNT, "reason": _TEXT}, optional=("reason",)
            ),
            "description": "What there is too little of; `reason` is `variant_not_found` when it is no longer sold.",
        }
    }


class PriceChanged(Conflict):
    """The total is not the expected one. `quote` holds the present prices: show them, then order with the new total."""

    code = "price_changed"
    title = "The total has changed"
    members: ClassVar = {
        "quote": {
            **_object(
                {
                    "currency": _TEXT,
                    "items": {
                        "type": "array",
                        "items": _object(
                            dict.fromkeys(("variant_id", "product_id"), _ID)
                            | {"sku": _TEXT, "name": _TEXT, "quantity": _COUNT}
                            | dict.fromkeys(("price_at_purchase", "line_total"), _MONEY)
                        ),
                    },
                    "totals": _object(dict.fromkeys(("subtotal", "discount", "shipping", "tax", "total"), _MONEY)),
                }
            ),
            "description": "The present prices.",
        }
    }


class CartAlreadyOrdered(Conflict):
    """This cart was ordered already, under another key: `order_id` names that order."""

    code = "cart_already_ordered"
    title = "The cart was ordered already"
    members: ClassVar = {"order_id": {**_ID, "description": "The order that was made of this cart."}}


class OrderNotCancellable(Conflict):
    """The order was sent, or has expired: it cannot be cancelled any more."""

    code = "order_not_cancellable"
    title = "The order cannot be cancelled"


class OrderNotReady(Conflict):
    """A paid order is sent when its stock is taken out and its money was not given back in full: repeat in a moment."""

    code = "order_not_ready"
    title = "The order is not ready to be sent"


class OrderNotShippable(Conflict):
    """Only a paid order can be sent: read the order."""

    code = "order_not_shippable"
    title = "The order cannot be sent"


class OrderAlreadyShipped(Conflict):
    """The order was sent with another carrier or tracking code; `tracking` tells which."""

    code = "order_already_shipped"
    title = "The order was sent already"
    members: ClassVar = {
        "tracking": {**_object({"carrier": _TEXT, "number": _TEXT}), "description": "How the order was sent."}
    }


class OrderNotDeliverable(Conflict):
    """Only an order that was sent can be delivered: send it first."""

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
    members: ClassVar = {"total": {**_MONEY, "description": "What the cart adds up to."}}


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
