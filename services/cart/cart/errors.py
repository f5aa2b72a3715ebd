"""Why a cart refuses.

NotFound 404
├── VariantNotFound
└── CartItemNotFound
Conflict 409
├── OutOfStock
├── InsufficientStock
├── CartFull
└── QuantityLimitReached
Forbidden 403
└── OriginRefused
Unavailable 503
└── CatalogUnavailable
"""

from typing import Any, ClassVar
from uuid import UUID

from chassis.problems import Conflict, Forbidden, NotFound, Unavailable

_VARIANT: dict[str, Any] = {
    "variant_id": {"type": "string", "format": "uuid", "description": "The variant that was asked for."}
}
_AVAILABLE: dict[str, Any] = {"available": {"type": "integer", "description": "How many can be had now."}}
_LIMIT: dict[str, Any] = {"limit": {"type": "integer", "description": "How many are allowed."}}
_IN_CART: dict[str, Any] = {"in_cart": {"type": "integer", "description": "How many the cart holds."}}


class VariantNotFound(NotFound):
    """No variant has this id, or it is no longer sold: read its product again."""

    code = "variant_not_found"
    title = "Variant not found"
    members: ClassVar = _VARIANT

    def __init__(self, variant_id: UUID) -> None:
        super().__init__("Nothing with this variant_id is sold; choose another variant.", variant_id=str(variant_id))


class CartItemNotFound(NotFound):
    """The cart holds no item of this id; read the cart again."""

    code = "cart_item_not_found"
    title = "Item not found"

    def __init__(self) -> None:
        super().__init__("Your cart holds no item of this id; read the cart again.")


class OutOfStock(Conflict):
    """None of this variant is available right now: offer another, or try again later."""

    code = "out_of_stock"
    title = "Out of stock"
    members: ClassVar = {**_VARIANT, **_AVAILABLE}

    def __init__(self, variant_id: UUID) -> None:
        super().__init__("None is available right now; try again later.", variant_id=str(variant_id), available=0)


class InsufficientStock(Conflict):
    """In a cart: fewer are available than it would hold. Add no more than `available` minus `in_cart`."""

    code = "insufficient_stock"
    title = "Insufficient stock"
    members: ClassVar = {**_VARIANT, **_AVAILABLE, **_IN_CART}

    def __init__(self, variant_id: UUID, *, available: int, in_cart: int) -> None:
        super().__init__(
            f"Only {available} available and {in_cart} in the cart; ask for fewer.",
            variant_id=str(variant_id),
            available=available,
            in_cart=in_cart,
        )


class CartFull(Conflict):
    """A cart holds a limited number of different variants; remove one, or order first."""

    code = "cart_full"
    title = "Cart full"
    members: ClassVar = _LIMIT

    def __init__(self, limit: int) -> None:
        super().__init__(f"A cart holds at most {limit} different items; remove one first.", limit=limit)


class QuantityLimitReached(Conflict):
    """A cart holds at most `limit` of each variant: add fewer."""

    code = "quantity_limit_reached"
    title = "Quantity limit reached"
    members: ClassVar = {**_LIMIT, **_IN_CART}

    def __init__(self, limit: int, *, in_cart: int) -> None:
        detail = f"A cart holds at most {limit} of a variant and yours has {in_cart}; add fewer."
        super().__init__(detail, limit=limit, in_cart=in_cart)


class OriginRefused(Forbidden):
    """A browser's write that rests on the cart cookie alone must come from a page of the shop."""

    code = "origin_refused"
    title = "Origin refused"

    def __init__(self) -> None:
        super().__init__("Send the cart token as X-Cart-Token, or have the page's origin listed.")


class CatalogUnavailable(Unavailable):
    """This variant is new to the cart and the catalogue cannot be asked about it right now: repeat in a moment."""

    code = "catalog_unavailable"
    title = "Catalogue not available"

    def __init__(self) -> None:
        super().__init__("The catalogue does not answer; repeat in a moment.", retry_after=2)


PROBLEMS = (
    VariantNotFound,
    CartItemNotFound,
    OutOfStock,
    InsufficientStock,
    CartFull,
    QuantityLimitReached,
    OriginRefused,
    CatalogUnavailable,
)
"""All of them, for the table of codes."""
