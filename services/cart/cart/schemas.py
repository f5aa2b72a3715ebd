"""The shapes of cart's requests and answers."""

from typing import Annotated

from pydantic import Field, StringConstraints

from cart.models import MAX_ITEMS
from chassis.money import Currency, Money
from chassis.strict import Answer, Id, Quantity, RequestBody, Time

TokenText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    Field(examples=["RdpEUyYViZ-B0O5sBmh6TDGkLNGOvrPx6i_OPevv4Bc"]),
]
TokenHash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class AddItem(RequestBody):
    """How many of which variant to add."""

    variant_id: Id
    quantity: Quantity


class ChangeItem(RequestBody):
    """The new quantity of an item."""

    quantity: Quantity


class MergeCart(RequestBody):
    """A guest's token, for apps that keep it elsewhere than in header or cookie."""

    token: TokenText | None = None


class CartItem(Answer):
    """One variant in the cart, with today's price and stock."""

    id: Id
    variant_id: Id
    product_id: Id
    sku: str
    name: str
    image_url: str | None
    quantity: int
    unit_price: Money
    line_total: Money
    available: Annotated[int, Field(description="How many can be had now; 0 when it is no longer sold.")]
    price_changed: Annotated[bool, Field(description="The price differs from the one shown when it was added.")]
    insufficient_stock: Annotated[bool, Field(description="The cart holds more than can be had now.")]


class CappedItem(Answer):
    """A variant of which a merge could not take over all that both carts held."""

    variant_id: Id
    wanted: int
    got: int


class Cart(Answer):
    """What the shopper wants to buy."""

    id: Annotated[Id | None, Field(description="None until the first item.")]
    version: Annotated[int, Field(description="Rises with every change of the items and with nothing else.")]
    currency: Currency
    items: list[CartItem]
    item_count: Annotated[int, Field(description="The quantities of all items, added up.")]
    subtotal: Money
    updated_at: Time | None
    capped: Annotated[
        list[CappedItem],
        Field(description="What the merge of the guest cart, whose token this request carried, had to cap."),
    ]


class OrderedItem(RequestBody):
    """A variant in an order, and how many."""

    variant_id: Id
    quantity: Quantity


class NamedOrder(RequestBody):
    """An order of the user which this service has not acknowledged yet."""

    order_id: Id
    items: Annotated[list[OrderedItem], Field(min_length=1, max_length=MAX_ITEMS)]
    is_closed: bool
    was_paid: bool


class CheckoutRequest(RequestBody):
    """What the cart must know before it tells what there is to order."""

    guest_token_hash: TokenHash | None
    orders: list[NamedOrder]


class CheckoutItem(Answer):
    """A variant to be ordered, and how many."""

    variant_id: Id
    quantity: int


class CheckoutAnswer(Answer):
    """What there is to order."""

    cart_id: Id
    version: int
    currency: Currency
    items: list[CheckoutItem]
    acknowledged: Annotated[list[Id], Field(description="Named orders that need not be named again.")]
    taken_by: Annotated[Id | None, Field(description="The order because of which the cart is empty.")]
