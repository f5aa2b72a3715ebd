"""The shapes of answers. Hot ones are encoded from structs; their models here document them, and tests compare."""

from typing import Literal

from chassis.money import Money
from chassis.pagination import PageAnswer
from chassis.strict import Answer, Id, Time


class CategoryRef(Answer):
    """A category by name."""

    id: Id
    slug: str
    name: str


class CategoryNode(Answer):
    """A category with its children."""

    id: Id
    slug: str
    name: str
    description: str
    children: list["CategoryNode"]


class CategoryTree(Answer):
    """The active categories."""

    items: list[CategoryNode]


class CategoryRow(Answer):
    """A category in the flat list; `path` names it from the root on, `product_count` counts its whole subtree."""

    id: Id
    parent_id: Id | None
    slug: str
    name: str
    path: list[str]
    depth: int
    product_count: int
    is_active: bool


class CategoryRows(Answer):
    """All categories, parents before children."""

    items: list[CategoryRow]


class CategoryDetail(Answer):
    """One category with the way to it and what lies below."""

    id: Id
    parent_id: Id | None
    slug: str
    name: str
    description: str
    position: int
    is_active: bool
    breadcrumbs: list[CategoryRef]
    children: list[CategoryRef]
    updated_at: Time


class ProductListItem(Answer):
    """A product in a list; its price is that of the variant a shopper would take."""

    id: Id
    slug: str
    name: str
    category: CategoryRef
    price: Money
    compare_at_price: Money | None
    """To be shown crossed out."""
    in_stock: bool
    is_featured: bool
    image_url: str | None
    default_variant_id: Id | None
    """What `POST /api/v1/cart/items` takes when the shopper does not choose."""
    created_at: Time


class CategoryFacet(CategoryRef):
    """How many products a category's subtree has under all other filters."""

    count: int


class PriceBand(Answer):
    """How many products a price band has under all other filters; give the ends as min_price and max_price."""

    min_price: int
    """Minor units (paise)."""
    max_price: int | None
    """Minor units (paise); none for the last band."""
    count: int


class Facets(Answer):
    """Counts by category and price band."""

    categories: list[CategoryFacet]
    price_bands: list[PriceBand]


class ProductPage(PageAnswer):
    """A page of products; `facets` are there when asked for."""

    items: list[ProductListItem]
    facets: Facets | None = None
    """Only with `facets=true`."""


class FeaturedProducts(Answer):
    """The products the shop wants to be seen."""

    items: list[ProductListItem]


class VariantAnswer(Answer):
    """A variant as it is sold."""

    id: Id
    sku: str
    name: str
    options: dict[str, str]
    price: Money
    compare_at_price: Money | None
    available: int
    """How many can be had now."""
    in_stock: bool
    is_active: bool


class OptionAnswer(Answer):
    """An option and the values that variants have of it."""

    name: str
    values: list[str]


class ProductDetail(ProductListItem):
    """Everything about a product."""

    description: str
    attributes: dict[str, str | int | float | bool]
    options: list[OptionAnswer]
    variants: list[VariantAnswer]
    is_active: bool
    updated_at: Time


class StockAnswer(Answer):
    """How much there is of a variant."""

    variant_id: Id
    sku: str
    on_hand: int
    reserved: int
    """Held by orders that are not paid yet."""
    available: int
    """On hand and not reserved."""
    low_stock_threshold: int


class LowStockItem(StockAnswer):
    """A variant at or below its threshold."""

    product_id: Id
    product_name: str
    variant_name: str


class LowStockPage(PageAnswer):
    """Variants at or below their threshold, the scarcest first."""

    items: list[LowStockItem]


class Movement(Answer):
    """A row of the ledger."""

    number: int
    """Grows with every movement."""
    kind: Literal["initial", "adjustment", "committed", "returned"]
    delta: int
    on_hand: int
    """After it."""
    reason: str | None
    order_id: Id | None
    actor_id: Id | None
    created_at: Time


class MovementPage(PageAnswer):
    """The ledger of a variant, newest first."""

    items: list[Movement]


class ReservedItem(Answer):
    """What is held, with what it is called and costs."""

    variant_id: Id
    product_id: Id
    sku: str
    name: str
    image_url: str | None
    quantity: int
    unit_price: int


class ReservationAnswer(Answer):
    """A hold and its quote."""

    order_id: Id
    hold: int
    currency: str
    items: list[ReservedItem]


class LookedUpVariant(Answer):
    """A variant as cart's copy needs it."""

    variant_id: Id
    product_id: Id
    sku: str
    name: str
    image_url: str | None
    unit_price: int
    currency: str
    available: int
    is_sellable: bool
    product_version: int
    stock_version: int


class LookupAnswer(Answer):
    """The variants that are known; others are absent."""

    items: list[LookedUpVariant]
