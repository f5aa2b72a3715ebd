"""What the provider remembers. Entities on the wire are made from these in `entities.py`."""

from typing import Literal

from msgspec import Struct, field

Notes = dict[str, str | int | float | bool | None]
OrderStatus = Literal["created", "attempted", "paid"]
PaymentStatus = Literal["created", "authorized", "captured", "refunded", "failed"]
RefundStatus = Literal["pending", "processed", "failed"]
DeliveryStatus = Literal["pending", "delivered", "dropped", "abandoned"]


class CaptureSettings(Struct, frozen=True, kw_only=True):
    """For how long an authorisation is captured by itself, and until when the merchant may capture it."""

    automatic: bool
    automatic_minutes: int
    manual_minutes: int
    refund_speed: str = "normal"


class Order(Struct, kw_only=True):
    id: str
    amount: int
    currency: str
    created_at: int
    receipt: str | None = None
    notes: Notes = field(default_factory=dict)
    status: OrderStatus = "created"
    amount_paid: int = 0
    attempts: int = 0
    partial_payment: bool = False
    first_payment_min_amount: int | None = None
    capture: CaptureSettings


class PaymentError(Struct, frozen=True, kw_only=True):
    code: str
    description: str
    source: str
    step: str
    reason: str


class Card(Struct, frozen=True, kw_only=True):
    id: str
    last4: str
    network: str
    international: bool


class Payment(Struct, kw_only=True):
    """One attempt to pay an order. `released`: it was authorised and let go, no money was taken."""

    id: str
    order_id: str
    amount: int
    currency: str
    method: Literal["card", "upi"]
    created_at: int
    status: PaymentStatus = "created"
    captured: bool = False
    released: bool = False
    held: bool = False
    amount_refunded: int = 0
    fee: int | None = None
    tax: int | None = None
    error: PaymentError | None = None
    card: Card | None = None
    vpa: str | None = None
    email: str = "shopper@example.com"
    contact: str = "+919000090000"
    description: str | None = None
    notes: Notes = field(default_factory=dict)
    acquirer_data: dict[str, str | None] = field(default_factory=dict)
    authorized_at: int | None = None
    captured_at: int | None = None


class Refund(Struct, kw_only=True):
    id: str
    payment_id: str
    amount: int
    currency: str
    created_at: int
    status: RefundStatus = "pending"
    notes: Notes = field(default_factory=dict)
    receipt: str | None = None
    arn: str | None = None
    speed_requested: str = "normal"
    speed_processed: str = "normal"
    made_by: Literal["api", "dashboard", "razorpay"] = "api"


class RefundKey(Struct, kw_only=True):
    """An `X-Refund-Idempotency` header that was used, and the request it stood for."""

    id: str
    fingerprint: str
    refund_id: str


class Webhook(Struct, kw_only=True):
    """An address of the merchant that wants to be told. `id` is a name such as `primary`, or fourteen characters."""

    id: str
    url: str
    secret: str
    events: list[str] = field(default_factory=list)
    disabled_at: int = 0
    delivered_at: float = 0.0
    active: bool = True
    alert_email: str | None = None
    created_at: int = 0
    updated_at: int = 0


class Event(Struct, kw_only=True):
    id: str
    name: str
    created_at: int
    body: str


class DeliveryAttempt(Struct, frozen=True, kw_only=True):
    at: float
    status: int | None
    error: str | None = None


class Delivery(Struct, kw_only=True):
    """One event on its way to one webhook, signed with the secret of the moment the event happened."""

    id: str
    event_id: str
    event: str
    webhook_id: str
    secret: str
    created_at: float
    due_at: float
    status: DeliveryStatus = "pending"
    attempts: list[DeliveryAttempt] = field(default_factory=list)
    trick: str | None = None
    copies: int = 1
    held_back: bool = False
