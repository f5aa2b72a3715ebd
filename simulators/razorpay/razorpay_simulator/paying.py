"""What the shopper does at the checkout, and what the shopper's bank answers: at once, late, or never.

A payment without an answer is marked failed after ten minutes. That is not final: the bank may still say
yes, or the customer may try again inside the UPI app, and then the same payment becomes authorised.
"""

import re
from typing import Any, Literal

from msgspec import Struct

from razorpay_simulator.capture import authorize
from razorpay_simulator.errors import InvalidField, NotCapturable, OrderAlreadyPaid, PaymentAlreadyAuthorized
from razorpay_simulator.events import emit
from razorpay_simulator.identifiers import new_id
from razorpay_simulator.instruments import CARDS, REASONS, UPI_FAILURES, failure, is_card_number, network_of
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Card, Order, Payment, PaymentError

GIVE_UP_SECONDS = 600
LATE_SECONDS = 900
Outcome = Literal["success", "failure", "late", "authorize_only"]


class PaymentForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the shopper pays. Without an outcome, the test card or UPI id decides, as at Razorpay."""

    method: Literal["card", "upi"]
    card_number: str | None = None
    vpa: str | None = None
    otp: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    amount: int | None = None
    late_after: float = LATE_SECONDS
    email: str = "shopper@example.com"
    contact: str = "+919000090000"


def pay(provider: Provider, order_id: str, form: PaymentForm) -> Payment:
    order, now = provider.order(order_id), provider.clock.now()
    _refuse_second_payment(provider, order)
    payment = _new_payment(order, form, at=now)
    error = _failure_of(form)
    outcome = form.outcome or ("failure" if error else "success")
    if not 0 < form.late_after <= 30 * 86400:
        raise InvalidField("The late_after must be more than 0 and at most 30 days, in seconds.", field="late_after")
    order.attempts += 1
    order.status = "attempted"
    provider.store.orders.save(order)
    provider.store.payments.save(payment)
    match outcome:
        case "failure":
            fail(provider, payment, error or failure("payment_failed"), at=now)
        case "late":
            provider.store.schedule("give_up", subject=payment.id, due_at=now + GIVE_UP_SECONDS)
            provider.store.schedule("bank_says_yes", subject=payment.id, due_at=now + form.late_after)
        case "authorize_only":
            payment.held = True
            authorize(provider, payment, at=now)
        case "success":
            authorize(provider, payment, at=now)
    return payment


def answer_late(provider: Provider, payment_id: str, *, yes: bool) -> Payment:
    """The bank speaks about an open or failed payment, or the customer retries it in the app."""
    payment = provider.payment(payment_id)
    if payment.status not in ("created", "failed") or payment.released:
        raise NotCapturable("This payment has been answered by the bank already")
    if yes:
        authorize(provider, payment, at=provider.clock.now())
    else:
        fail(provider, payment, failure("payment_failed"), at=provider.clock.now())
    return payment


def fail(provider: Provider, payment: Payment, error: PaymentError, *, at: float) -> None:
    payment.status, payment.error = "failed", error
    provider.store.payments.save(payment)
    if provider.variants.payment_failed_webhook == "sent":
        emit(provider, "payment.failed", at=at, payment=payment)


def handshake(provider: Provider, payment: Payment) -> dict[str, Any]:
    """What checkout hands to the browser: signed proof of an authorisation, or the error and no signature."""
    proven = payment.authorized_at is not None
    answer: dict[str, Any] = {
        "razorpay_payment_id": payment.id,
        "razorpay_order_id": payment.order_id,
        "razorpay_signature": provider.sign(payment.order_id, payment.id) if proven else None,
    }
    if payment.error:
        error = payment.error
        answer["error"] = {
            "code": error.code,
            "description": error.description,
            "source": error.source,
            "step": error.step,
            "reason": error.reason,
            "metadata": {"payment_id": payment.id, "order_id": payment.order_id},
        }
    return answer


def _refuse_second_payment(provider: Provider, order: Order) -> None:
    if order.status == "paid":
        raise OrderAlreadyPaid
    if provider.store.payments.where("order_id = ? AND status = 'authorized'", (order.id,)):
        raise PaymentAlreadyAuthorized


def _new_payment(order: Order, form: PaymentForm, *, at: float) -> Payment:
    payment = Payment(
        id=new_id("pay"),
        order_id=order.id,
        amount=_amount_of(order, form),
        currency=order.currency,
        method=form.method,
        created_at=int(at),
        email=form.email,
        contact=form.contact,
        notes=order.notes,
    )
    if form.method == "card":
        payment.card = _card_of(form)
        payment.acquirer_data = {"auth_code": new_id("auth")[5:11].upper(), "rrn": None, "arn": None}
        return payment
    payment.vpa = form.vpa or "success@razorpay"
    if not re.fullmatch(r"[A-Za-z0-9.\-_]{2,256}@[A-Za-z][A-Za-z0-9]{1,64}", payment.vpa, re.ASCII):
        raise InvalidField("Invalid VPA. Please enter a valid Virtual Payment Address", field="vpa")
    payment.acquirer_data = {
        "rrn": str(int(at * 1000))[-12:],
        "upi_transaction_id": new_id("upi")[4:].upper(),
    }
    return payment


def _amount_of(order: Order, form: PaymentForm) -> int:
    due = order.amount - order.amount_paid
    if form.amount is None or form.amount == due:
        return due
    least = 100
    if not order.amount_paid and order.first_payment_min_amount:
        least = order.first_payment_min_amount
    if not order.partial_payment or not least <= form.amount < due:
        raise InvalidField("Payment amount is different from the amount due of the order", field="amount")
    return form.amount


def _card_of(form: PaymentForm) -> Card:
    number = (form.card_number or next(iter(CARDS))).replace(" ", "")
    if not is_card_number(number):
        raise InvalidField("The card number is invalid.", field="card_number")
    known = CARDS.get(number)
    return Card(
        id=new_id("card"),
        last4=number[-4:],
        network=network_of(number),
        international=known is not None and known.international,
    )


def _failure_of(form: PaymentForm) -> PaymentError | None:
    """The reason asked for; else what the OTP, the test card or the test UPI id stands for."""
    if form.reason is not None:
        if form.reason not in REASONS:
            raise InvalidField(f"The reason must be one of: {', '.join(sorted(REASONS))}.", field="reason")
        return failure(form.reason)
    if form.otp is not None and not (form.otp.isascii() and form.otp.isdecimal() and 4 <= len(form.otp) <= 10):
        return failure("incorrect_otp")
    if form.method == "upi":
        reason = UPI_FAILURES.get(form.vpa or "")
    else:
        card = CARDS.get((form.card_number or "").replace(" ", ""))
        reason = card.failure if card else None
    return failure(reason) if reason else None
