"""From the bank's yes to money in the merchant's account, or back to the customer.

An authorisation inside the order's automatic window is captured by Razorpay. One that comes later waits
for the merchant until the manual window closes, and is then released. Only one payment of an order is
authorised at a time.
"""

from typing import Any

from razorpay_simulator.entities import payment_entity
from razorpay_simulator.errors import InvalidField, NotCapturable, OrderAlreadyPaid
from razorpay_simulator.events import emit
from razorpay_simulator.fields import amount_field, currency_field
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Order, Payment
from razorpay_simulator.refunds import refund_by_itself

FEE_BASIS_POINTS = 200
GST_BASIS_POINTS = 1800


def capture_by_merchant(provider: Provider, payment_id: str, body: dict[str, Any]) -> dict[str, Any]:
    payment, amount = provider.payment(payment_id), amount_field(body)
    currency_field(body, default=payment.currency)
    if payment.captured:
        raise NotCapturable("This payment has already been captured")
    if payment.status != "authorized":
        raise NotCapturable("Only payments which have been authorized and not yet captured can be captured")
    if amount > payment.amount or (amount != payment.amount and provider.variants.smaller_capture == "refused"):
        raise InvalidField("Capture amount must be equal to the amount authorized", field="amount")
    order = provider.order(payment.order_id)
    if order.status == "paid":
        raise OrderAlreadyPaid
    payment.amount = amount
    capture(provider, payment, order=order, at=provider.clock.now())
    return payment_entity(payment, provider.variants)


def authorize(provider: Provider, payment: Payment, *, at: float) -> None:
    """The bank said yes. What happens next depends on how late it did, and on the order's other payments."""
    order = provider.order(payment.order_id)
    payment.status, payment.error, payment.authorized_at = "authorized", None, int(at)
    provider.store.payments.save(payment)
    emit(provider, "payment.authorized", at=at, payment=payment)
    another = order.status == "paid" or _another_authorized(provider, payment)
    if another and provider.variants.late_second_payment == "released":
        release(provider, payment, at=at)
    elif another or (order.capture.automatic and not payment.held and _in_automatic_window(payment, order, at)):
        capture(provider, payment, order=order, at=at)
    else:
        deadline = payment.created_at + order.capture.manual_minutes * 60
        provider.store.schedule("release", subject=payment.id, due_at=max(at, deadline))


def capture(provider: Provider, payment: Payment, *, order: Order, at: float) -> None:
    payment.status, payment.captured, payment.captured_at = "captured", True, int(at)
    payment.tax = _tax(payment.amount)
    payment.fee = _fee(payment.amount) + payment.tax
    order.amount_paid = min(order.amount, order.amount_paid + payment.amount)
    order.status = "paid" if order.amount_paid == order.amount else "attempted"
    provider.store.payments.save(payment)
    provider.store.orders.save(order)
    paid_first = provider.variants.paid_event_order == "order_first"
    if order.status == "paid" and paid_first:
        emit(provider, "order.paid", at=at, payment=payment, order=order)
    emit(provider, "payment.captured", at=at, payment=payment)
    if order.status == "paid" and not paid_first:
        emit(provider, "order.paid", at=at, payment=payment, order=order)


def release(provider: Provider, payment: Payment, *, at: float) -> None:
    """Nobody captured it in time, or another has paid: the customer's money goes back by itself."""
    if payment.status != "authorized":
        return
    payment.released = True
    payment.status = provider.variants.released_status
    provider.store.payments.save(payment)
    if payment.status == "refunded":
        refund_by_itself(provider, payment, at=at)


def _another_authorized(provider: Provider, payment: Payment) -> bool:
    found = provider.store.payments.where(
        "order_id = ? AND status = 'authorized' AND id <> ?", (payment.order_id, payment.id)
    )
    return bool(found)


def _in_automatic_window(payment: Payment, order: Order, at: float) -> bool:
    return at - payment.created_at <= order.capture.automatic_minutes * 60


def _fee(amount: int) -> int:
    """Two per cent of the amount, rounded half up, before tax."""
    return (amount * FEE_BASIS_POINTS + 5_000) // 10_000


def _tax(amount: int) -> int:
    return (_fee(amount) * GST_BASIS_POINTS + 5_000) // 10_000
