"""The shapes of this service's requests and answers."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from chassis.money import Money
from chassis.pagination import PageAnswer, PageQuery
from chassis.strict import Answer, Id, QueryBool, QueryText, RequestBody, Time
from chassis.traces import TraceEntry
from orders.models import ActorKind, PaymentStatus, Status

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
PersonName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=ONE_LINE),
    Field(examples=["Asha Verma"]),
]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=ONE_LINE),
    Field(examples=["12 Temple Road"]),
]
ShortLine = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=ONE_LINE)]
City = Annotated[ShortLine, Field(examples=["Pune"])]
State = Annotated[ShortLine, Field(examples=["Maharashtra"])]
PostalCode = Annotated[
    str,
    StringConstraints(max_length=12, strip_whitespace=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9 \-]*$"),
    Field(examples=["411001"]),
]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), Field(examples=["IN"])]
Phone = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$"), Field(examples=["+919876543210"])]
Note = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500, strip_whitespace=True),
    Field(examples=["Please ring twice."]),
]


class Address(RequestBody):
    """Where goods or bills go."""

    recipient_name: PersonName
    line1: Line
    line2: Line | None = None
    city: City
    state: State
    postal_code: PostalCode
    country: Country
    phone: Phone | None = None


class PlaceOrder(RequestBody):
    """What a caller says about the order to be made of their cart; what is in it, the cart knows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "shipping_address_id": "01a2233d-49f2-715f-a3b8-13b64f7b0153",
                    "expected_total": {"amount": 149900, "currency": "INR"},
                    "note": "Please ring twice.",
                }
            ]
        }
    )

    shipping_address_id: Id | None = None
    """An address of the caller's address book; or give `shipping_address`."""
    shipping_address: Address | None = None
    """Of its own; or give `shipping_address_id`."""
    billing_address: Address | None = None
    """Where the bill goes, if not to the shipping address."""
    expected_total: Money | None = None
    """The total the shopper was shown. When it is not the order's, nothing is ordered."""
    note: Note | None = None

    @model_validator(mode="after")
    def _exactly_one_address(self) -> Self:
        if (self.shipping_address_id is None) == (self.shipping_address is None):
            raise PydanticCustomError("one_address", "give either shipping_address_id or shipping_address")
        return self


class CancelOrder(RequestBody):
    """Why an order is cancelled, if its canceller likes to say."""

    reason: Note | None = None


class ShipOrder(RequestBody):
    """How the goods travel."""

    carrier: Annotated[ShortLine, Field(examples=["Blue Dart"])]
    tracking: Annotated[ShortLine, Field(examples=["BD123456789IN"])]


class EndReview(RequestBody):
    """What staff found and did about an order in review."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1, examples=[4])]
    """The order's, when they looked at it: what was written since is not ended with it."""
    note: Annotated[Note, Field(examples=["Settled with the customer by phone; the goods were sent back."])]


class OrderQuery(PageQuery):
    """Which of my orders."""

    status: Status | None = None


class AdminOrderQuery(PageQuery):
    """Which of all orders."""

    number: QueryText | None = None
    """An order number as people say it: case, spaces and hyphens do not matter."""
    user_id: Id | None = None
    status: Status | None = None
    placed_from: Time | None = None
    placed_before: Time | None = None
    needs_review: QueryBool | None = None


class OrderItemView(Answer):
    """A row of an order."""

    id: Id
    variant_id: Id
    product_id: Id
    sku: str
    name: str
    image_url: str | None
    quantity: int
    price_at_purchase: Money
    """Of one, fixed when the order was placed."""
    line_total: Money


class Totals(Answer):
    """What is charged, and how it comes about."""

    subtotal: Money
    discount: Money
    shipping: Money
    tax: Money
    total: Money


class AddressView(Answer):
    """An address as it was when the order was placed."""

    recipient_name: str
    line1: str
    line2: str | None = None
    city: str
    state: str
    postal_code: str
    country: str
    phone: str | None = None


class Tracking(Answer):
    """How the goods travel."""

    carrier: str
    number: str


class OrderView(Answer):
    """An order as its owner sees it."""

    id: Id
    number: str
    """What people call it."""
    status: Status
    payment_status: PaymentStatus
    currency: str
    items: list[OrderItemView]
    totals: Totals
    shipping_address: AddressView
    billing_address: AddressView | None
    note: str | None
    placed_at: Time
    pay_by: Time
    """When it expires unless it is paid."""
    paid_at: Time | None
    """When the money was captured."""
    shipped_at: Time | None
    delivered_at: Time | None
    closed_at: Time | None
    """When it was cancelled, or expired."""
    tracking: Tracking | None


class AdminOrderView(OrderView):
    """An order as staff see it."""

    user_id: Id
    version: int
    close_reason: str | None
    needs_review: bool
    stock_committed_at: Time | None


class OrderPage(PageAnswer):
    """A page of orders, newest first."""

    items: list[OrderView]


class AdminOrderPage(PageAnswer):
    """A page of orders, newest first."""

    items: list[AdminOrderView]


class Event(Answer):
    """One thing that happened to an order."""

    at: Time
    from_status: Status | None
    to_status: Status
    cause: str
    actor: ActorKind
    note: str | None


class AdminEvent(Event):
    """One thing that happened to an order, with who did it."""

    move: str
    version: int
    actor_id: Id | None
    attempt_id: Id | None


class Timeline(Answer):
    """Everything that happened to an order, first to last."""

    items: list[Event]


class AdminTimeline(Answer):
    """Everything that happened to an order, first to last."""

    items: list[AdminEvent]


class InternalOrder(Answer):
    """What payments and catalog ask about an order."""

    id: Id
    number: str
    user_id: Id
    status: Status
    is_closed: bool
    total: int
    currency: str
    placed_at: Time
    pay_by: Time
    version: int
    was_paid: bool
    payment_version: int
    """The newest report of payments that it shows; 0 before the first."""


class TraceItem(TraceEntry):
    """One thing that happened, in one of the services."""

    service: str


class TraceGap(Answer):
    """A service that did not answer, and what is missing for it."""

    service: str
    missing: str


class OrderTrace(Answer):
    """Everything that touched an order, across the services, in time order."""

    order_id: Id
    number: str
    items: list[TraceItem]
    gaps: list[TraceGap]


class OrderTotal(Answer):
    """What an order is worth, and what pays it."""

    id: Id
    number: str
    status: Status
    total: int
    currency: str
    paying_attempt_id: Id | None
    paid_at: Time | None


class OrderTotals(Answer):
    """Some orders with what they are worth."""

    items: list[OrderTotal]
    next_cursor: str | None
