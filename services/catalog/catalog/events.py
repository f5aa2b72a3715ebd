"""What catalog tells the other services. The names are literal, the fields only grow within a version."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel

from chassis.events import Event


class ChangedVariant(BaseModel):
    """A variant as cart's copy needs it."""

    variant_id: UUID
    sku: str
    name: str
    unit_price: int
    is_active: bool


class ProductChanged(Event):
    """A product was made or changed; the event carries it whole."""

    type: ClassVar[str] = "product.changed.v1"

    product_id: UUID
    version: int
    slug: str
    name: str
    is_active: bool
    category_id: UUID
    image_url: str | None
    currency: str
    variants: list[ChangedVariant]


class ProductWithdrawn(Event):
    """A product was deleted: none of its variants is sold any more."""

    type: ClassVar[str] = "product.withdrawn.v1"

    product_id: UUID
    version: int


class StockChanged(Event):
    """What is available of a variant has changed."""

    type: ClassVar[str] = "stock.changed.v1"

    variant_id: UUID
    product_id: UUID
    available: int
    stock_version: int


class StockCommitted(Event):
    """The stock of a paid order has left the shelf."""

    type: ClassVar[str] = "stock.committed.v1"

    order_id: UUID


class StockReleased(Event):
    """What a closed order held is available again."""

    type: ClassVar[str] = "stock.released.v1"

    order_id: UUID


class StockReturned(Event):
    """What a paid and cancelled order had taken is back on the shelf."""

    type: ClassVar[str] = "stock.returned.v1"

    order_id: UUID


class MissingStock(BaseModel):
    """What was asked for of one variant, and what there was."""

    variant_id: UUID
    wanted: int
    available: int


class StockCommitFailed(Event):
    """The order cannot be supplied; nothing is held for it. `cause` is the order's event that found it out."""

    type: ClassVar[str] = "stock.commit_failed.v1"

    order_id: UUID
    cause: Literal["placed", "paid"]
    shortages: list[MissingStock]


PUBLISHED: tuple[type[Event], ...] = (
    ProductChanged,
    ProductWithdrawn,
    StockChanged,
    StockCommitted,
    StockReleased,
    StockReturned,
    StockCommitFailed,
)
