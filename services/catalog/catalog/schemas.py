"""The shapes of requests."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from catalog.questions import Ordering
from chassis.money import Currency
from chassis.pagination import PageQuery
from chassis.strict import MAX_AMOUNT, Amount, Id, Quantity, QueryBool, QueryText, RequestBody, one_of, query_int

MAX_STOCK = 1_000_000
MAX_VARIANTS = 100

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), Field(examples=["Brass Desk Lamp"])
]
Slug = Annotated[
    str, StringConstraints(max_length=100, pattern="^[a-z0-9]+(-[a-z0-9]+)*$"), Field(examples=["brass-desk-lamp"])
]
Sku = Annotated[
    str,
    StringConstraints(max_length=64, pattern="^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"),
    Field(examples=["LAMP-042-01"]),
]
Description = Annotated[
    str, StringConstraints(max_length=10_000, strip_whitespace=True), Field(examples=["Warm light, made to last."])
]
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True),
    Field(examples=["Delivered by the workshop"]),
]
Stock = Annotated[int, Field(ge=0, le=MAX_STOCK, examples=[25])]
Position = Annotated[int, Field(ge=0, le=100_000)]
OptionName = Annotated[str, StringConstraints(min_length=1, max_length=40, strip_whitespace=True)]
OptionValue = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
Options = Annotated[dict[OptionName, OptionValue], Field(max_length=5, examples=[{"colour": "brass"}])]
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
AttributeValue = Annotated[str, StringConstraints(max_length=500)] | StrictInt | StrictFloat | StrictBool
Attributes = Annotated[dict[AttributeName, AttributeValue], Field(max_length=50, examples=[{"made in": "India"}])]


class PatchBody(RequestBody):
    """Only the fields that are sent are changed; null is for those that can be empty."""

    nullable: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def refuse_null(cls, value: Any, info: ValidationInfo) -> Any:
        """Null is no value for a field that always has one."""
        if value is None and info.field_name not in cls.nullable:
            raise PydanticCustomError("null", "must not be null; leave it out to keep it as it is")
        return value

    def changes(self) -> dict[str, Any]:
        """What was sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Price(RequestBody):
    """A price in the shop's currency."""

    amount: Amount
    currency: Currency


class CategoryDraft(RequestBody):
    """A new category."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Lamps", "slug": "lamps", "position": 3}]})

    name: Name
    slug: Slug | None = None
    """Made of the name when it is not given."""
    description: Description = ""
    parent_id: Id | None = None
    """None is at the top."""
    position: Position = 0
    """Among its siblings, the smallest first."""
    is_active: bool = True
    """Shoppers see active ones only."""


class CategoryPatch(PatchBody):
    """Changes to a category; `parent_id` null moves it to the top."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Lamps & Lights", "position": 2}]})
    nullable: ClassVar[frozenset[str]] = frozenset({"parent_id"})

    name: Name | None = None
    slug: Slug | None = None
    description: Description | None = None
    parent_id: Id | None = None
    position: Position | None = None
    is_active: bool | None = None


class VariantDraft(RequestBody):
    """A new variant with what is on hand of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sku": "LAMP-042-01",
                    "price": {"amount": 149900, "currency": "INR"},
                    "compare_at_price": {"amount": 179900, "currency": "INR"},
                    "stock": 25,
                    "options": {"colour": "brass"},
                }
            ]
        }
    )

    sku: Sku
    price: Price
    stock: Stock
    """What is on hand."""
    options: Options = Field(default_factory=dict)
    """What tells it from the other variants."""
    compare_at_price: Price | None = None
    """Shown crossed out; higher than the price."""
    low_stock_threshold: Stock = 5
    """Staff are told of it at this many and below."""
    is_active: bool = True

    @model_validator(mode="after")
    def compare_with_more(self) -> Self:
        """A crossed-out price that is not higher would mislead."""
        if self.compare_at_price is not None and self.compare_at_price.amount <= self.price.amount:
            raise PydanticCustomError("compare_at_price", "compare_at_price must be higher than price")
        return self


class VariantPatch(PatchBody):
    """Changes to a variant; stock changes by adjustments only."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"price": {"amount": 139900, "currency": "INR"}, "low_stock_threshold": 3}]}
    )
    nullable: ClassVar[frozenset[str]] = frozenset({"compare_at_price"})

    sku: Sku | None = None
    price: Price | None = None
    compare_at_price: Price | None = None
    options: Options | None = None
    low_stock_threshold: Stock | None = None
    is_active: bool | None = None


class ProductDraft(RequestBody):
    """A new product; it has at least one variant."""

    name: Name
    category_id: Id
    variants: Annotated[list[VariantDraft], Field(min_length=1, max_length=MAX_VARIANTS)]
    slug: Slug | None = None
    """Made of the name when it is not given."""
    description: Description = ""
    is_featured: bool = False
    """Whether the shop wants it to be seen."""
    is_active: bool = True
    attributes: Attributes = Field(default_factory=dict)
    """What else is known of it; shown, not searched."""


class ProductPatch(PatchBody):
    """Changes to a product; its variants have routes of their own."""

    name: Name | None = None
    category_id: Id | None = None
    slug: Slug | None = None
    description: Description | None = None
    is_featured: bool | None = None
    is_active: bool | None = None
    attributes: Attributes | None = None


class Adjustment(RequestBody):
    """Stock that was counted, delivered, lost or broken."""

    delta: Annotated[int, Field(ge=-MAX_STOCK, le=MAX_STOCK, examples=[-2])]
    """Added to what is on hand; below 0 is taken away."""
    reason: Reason
    """For the ledger."""

    @field_validator("delta")
    @classmethod
    def change_something(cls, delta: int) -> int:
        """An adjustment of nothing is a mistake."""
        if delta == 0:
            raise PydanticCustomError("delta", "must not be 0")
        return delta


class ProductQuery(PageQuery):
    """The filters and orders of the product list."""

    search: QueryText | None = None
    """Words of name, SKUs or description: all of them, the last also unfinished; typing mistakes are forgiven."""
    category: QueryText | None = None
    """Id or slug; its whole subtree."""
    min_price: query_int(0, MAX_AMOUNT) | None = None  # type: ignore[valid-type]  # a type made for these bounds
    """Minor units (paise)."""
    max_price: query_int(0, MAX_AMOUNT) | None = None  # type: ignore[valid-type]  # as above
    """Minor units (paise)."""
    in_stock: QueryBool | None = None
    """true: only what can be had now."""
    featured: QueryBool | None = None
    """true: only what the shop wants to be seen."""
    is_active: QueryBool | None = None
    """For staff, who see inactive products too."""
    ordering: one_of(Ordering) | None = None  # type: ignore[valid-type]  # a type made for this enum
    """A minus is from the greatest on. `relevance` with `search`, else newest first."""
    facets: QueryBool = False
    """Whether to count the products by category and price band too."""


class WantedItem(RequestBody):
    """A variant and how many of it."""

    variant_id: Id
    quantity: Quantity


class ReservationBody(RequestBody):
    """What an order wants to hold."""

    items: Annotated[list[WantedItem], Field(min_length=1, max_length=50)]

    @field_validator("items")
    @classmethod
    def name_each_once(cls, items: list[WantedItem]) -> list[WantedItem]:
        """Two items of one variant would be one item."""
        if len({item.variant_id for item in items}) != len(items):
            raise PydanticCustomError("distinct", "each variant may stand here once")
        return items


class LookupBody(RequestBody):
    """Variants to be described."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=50)]
