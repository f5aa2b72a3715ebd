"""What catalog refuses, and what the caller can do about it.

NotFound 404         CategoryNotFound, ProductNotFound, VariantNotFound
Conflict 409         SlugTaken, SkuTaken, OptionsTaken, CategoryNotEmpty, CategoryCycle, LastVariant,
                     StockBelowReserved, StockAboveLimit, InsufficientStock, ReservationDecided
PreconditionFailed 412
Unprocessable 422    SlugReserved, CurrencyUnsupported, CategoryTooDeep
"""

from typing import ClassVar

from sqlalchemy.exc import IntegrityError

from chassis.problems import Conflict, NotFound, PreconditionFailed, Problem, Unprocessable


class CategoryNotFound(NotFound):
    """No category has this id or slug, or it is not shown: see `GET /categories`."""

    code = "category_not_found"
    title = "Category not found"


class ProductNotFound(NotFound):
    """No product has this id or slug, or it is no longer sold: see `GET /products`."""

    code = "product_not_found"
    title = "Product not found"


class VariantNotFound(NotFound):
    """No variant has this id, or it is no longer sold: read its product again."""

    code = "variant_not_found"
    title = "Variant not found"


class SlugTaken(Conflict):
    """Another one has this slug: choose a different one, or leave it out and one is made from the name."""

    code = "slug_taken"
    title = "Slug taken"


class SkuTaken(Conflict):
    """Another variant has this SKU, and SKUs are unique over all products: choose another."""

    code = "sku_taken"
    title = "SKU taken"


class OptionsTaken(Conflict):
    """Another variant of the product has exactly these options: variants must differ in at least one."""

    code = "variant_options_taken"
    title = "Options taken"


class CategoryNotEmpty(Conflict):
    """A category that holds products or other categories cannot be deleted: move or delete those first."""

    code = "category_not_empty"
    title = "Category not empty"


class CategoryCycle(Conflict):
    """A category cannot be moved below itself or below one of its own children: choose another parent."""

    code = "category_cycle"
    title = "Category cannot be its own ancestor"


class LastVariant(Conflict):
    """A product has at least one variant: add another one first, or delete the product."""

    code = "last_variant"
    title = "Last variant"


class StockBelowReserved(Conflict):
    """Orders hold more than would be left: `on_hand` cannot go below `reserved`. Take less, or cancel orders first."""

    code = "stock_below_reserved"
    title = "Stock below what is reserved"
    members: ClassVar = {
        "on_hand": {"type": "integer", "description": "As it is now."},
        "reserved": {"type": "integer", "description": "Held by orders that are not paid yet."},
    }


class StockAboveLimit(Conflict):
    """More than can be counted for one variant would be on hand: check the number."""

    code = "stock_above_limit"
    title = "Stock above the limit"
    members: ClassVar = {"on_hand": {"type": "integer", "description": "As it is now."}}


class InsufficientStock(Conflict):
    """For an order: `shortages` names each variant of which there is less than wanted: order fewer, or leave it out."""

    code = "insufficient_stock"
    title = "Insufficient stock"
    members: ClassVar = {
        "shortages": {"type": "array", "items": {"type": "object"}, "description": "What there is too little of."}
    }


class ReservationDecided(Conflict):
    """The order of this reservation has already been placed or closed: ask orders what became of it."""

    code = "reservation_decided"
    title = "Reservation decided"


class SlugReserved(Unprocessable):
    """The slug would be mistaken for an id or a fixed path: choose another one."""

    code = "slug_reserved"
    title = "Slug reserved"


class CurrencyUnsupported(Unprocessable):
    """The shop has one currency: give every price in it."""

    code = "currency_unsupported"
    title = "Currency unsupported"


class CategoryTooDeep(Unprocessable):
    """The tree may be ten levels deep: choose a parent higher up."""

    code = "category_too_deep"
    title = "Category too deep"


PROBLEMS: tuple[type[Problem], ...] = (
    CategoryNotFound,
    ProductNotFound,
    VariantNotFound,
    SlugTaken,
    SkuTaken,
    OptionsTaken,
    CategoryNotEmpty,
    CategoryCycle,
    LastVariant,
    StockBelowReserved,
    StockAboveLimit,
    InsufficientStock,
    ReservationDecided,
    PreconditionFailed,
    SlugReserved,
    CurrencyUnsupported,
    CategoryTooDeep,
)

_BY_CONSTRAINT: dict[str, Problem] = {
    "uq_products_slug": SlugTaken("Choose another slug."),
    "uq_categories_slug": SlugTaken("Choose another slug."),
    "uq_variants_sku": SkuTaken("Choose another SKU; SKUs are unique over all products."),
    "uq_variants_options": OptionsTaken("Give the variant options that no other variant of the product has."),
}


def refusal_for(error: IntegrityError) -> Problem:
    """The refusal behind a broken constraint. Raises the error again when it is none of a caller's making."""
    constraint = getattr(getattr(error.orig, "__cause__", None), "constraint_name", None)
    if constraint not in _BY_CONSTRAINT:
        raise error
    known = _BY_CONSTRAINT[constraint]
    return type(known)(known.detail)
