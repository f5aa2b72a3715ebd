"""What cart listens to: of each event only the part that cart needs, so that producers may add what they like."""

from uuid import UUID

from chassis.events import Reader


class SignedIn(Reader):
    """`user.signed_in.v1` and `user.registered.v1`: somebody became a user, perhaps with a guest's cart in hand."""

    user_id: UUID
    guest_token_hash: str | None = None


class ListedVariant(Reader):
    """A variant as its product lists it."""

    variant_id: UUID
    sku: str
    name: str
    unit_price: int
    is_active: bool


class ProductChanged(Reader):
    """`product.changed.v1`: the whole product as of `version`."""

    product_id: UUID
    version: int
    is_active: bool
    image_url: str | None = None
    currency: str
    variants: list[ListedVariant]


class ProductWithdrawn(Reader):
    """`product.withdrawn.v1`: not sold any more."""

    product_id: UUID
    version: int


class StockChanged(Reader):
    """`stock.changed.v1`: so many can be had as of `stock_version`."""

    variant_id: UUID
    available: int
    stock_version: int


class OrderedItem(Reader):
    """A variant in an order, and how many."""

    variant_id: UUID
    quantity: int


class OrderPlaced(Reader):
    """`order.placed.v1`: what the order took from the user's cart."""

    order_id: UUID
    user_id: UUID
    items: list[OrderedItem]


class OrderClosed(Reader):
    """`order.cancelled.v1` and `order.expired.v1`."""

    order_id: UUID
    user_id: UUID
    was_paid: bool
    items: list[OrderedItem]
