"""Orders as the merchant's server makes and reads them. Only a captured payment makes one paid."""

from typing import Any

from razorpay_simulator.entities import collection, order_entity, payment_entity
from razorpay_simulator.errors import InvalidField
from razorpay_simulator.fields import (
    Page,
    amount_field,
    checked_notes,
    choice_field,
    currency_field,
    receipt_field,
    refuse_unknown,
)
from razorpay_simulator.identifiers import new_id
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import CaptureSettings, Order

Body = dict[str, Any]
MINUTES_PER_DAY = 24 * 60
_HAS_AUTHORIZED = (
    "EXISTS (SELECT 1 FROM payments WHERE payments.order_id = orders.id AND payments.status = 'authorized')"
)


def create(provider: Provider, body: Body) -> Body:
    now, receipt = provider.clock.now(), receipt_field(body)
    if receipt is not None and provider.variants.duplicate_receipt == "refused":
        _refuse_used(provider, receipt)
    order = Order(
        id=new_id("order"),
        amount=amount_field(body),
        currency=currency_field(body),
        receipt=receipt,
        notes=checked_notes(body),
        created_at=int(now),
        partial_payment=_flag(body, "partial_payment"),
        first_payment_min_amount=_first_payment(body),
        capture=_capture_settings(provider, body),
    )
    provider.store.orders.save(order)
    return order_entity(order, provider.variants)


def fetch(provider: Provider, order_id: str) -> Body:
    return order_entity(provider.order(order_id), provider.variants)


def edit(provider: Provider, order_id: str, body: Body) -> Body:
    """Notes are the only thing of an order that can be changed."""
    refuse_unknown(body, known={"notes"})
    order = provider.order(order_id)
    order.notes = checked_notes(body)
    provider.store.orders.save(order)
    return order_entity(order, provider.variants)


def payments_of(provider: Provider, order_id: str) -> Body:
    order = provider.order(order_id)
    newest = provider.variants.list_inside_parent_order == "newest_first"
    found = provider.store.payments.where("order_id = ?", (order.id,), order="position DESC" if newest else "position")
    return collection([payment_entity(payment, provider.variants) for payment in found])


def listing(provider: Provider, page: Page, *, receipt: str | None, authorized: str | None, expand: list[str]) -> Body:
    conditions: list[str] = []
    if receipt is not None:
        conditions.append("receipt = ?")
    if authorized is not None:
        if authorized not in ("0", "1"):
            raise InvalidField("The selected authorized is invalid.", field="authorized")
        conditions.append(_HAS_AUTHORIZED if authorized == "1" else f"NOT {_HAS_AUTHORIZED}")
    values = [] if receipt is None else [receipt]
    found = page.of(provider.store.orders, provider.variants, conditions=conditions, values=values)
    items = [order_entity(order, provider.variants) for order in found]
    if "payments" in expand:
        for item in items:
            item["payments"] = payments_of(provider, item["id"])
    return collection(items)


def _refuse_used(provider: Provider, receipt: str) -> None:
    if provider.store.orders.where("receipt = ?", (receipt,)):
        raise InvalidField("The receipt has already been used for another order.", field="receipt")


def _flag(body: Body, name: str) -> bool:
    value = body.get(name, False)
    if value not in (True, False, 0, 1, "0", "1"):
        raise InvalidField(f"The {name} field must be true or false.", field=name)
    return value in (True, 1, "1")


def _first_payment(body: Body) -> int | None:
    if body.get("first_payment_min_amount") is None:
        return None
    return amount_field(body, "first_payment_min_amount")


def _capture_settings(provider: Provider, body: Body) -> CaptureSettings:
    """What the order says, or else what a merchant's dashboard is set to."""
    longest = provider.variants.capture_window_days * MINUTES_PER_DAY
    wanted = body.get("payment")
    if wanted is None:
        automatic = provider.variants.default_capture == "automatic"
        if "payment_capture" in body:
            automatic = _flag(body, "payment_capture")
        return CaptureSettings(automatic=automatic, automatic_minutes=longest, manual_minutes=longest)
    if not isinstance(wanted, dict):
        raise InvalidField("The payment must be an object.", field="payment")
    refuse_unknown(wanted, known={"capture", "capture_options"})
    automatic = choice_field(wanted, "capture", ("automatic", "manual")) == "automatic"
    options = wanted.get("capture_options") or {}
    if not isinstance(options, dict):
        raise InvalidField("The capture_options must be an object.", field="capture_options")
    refuse_unknown(options, known={"automatic_expiry_period", "manual_expiry_period", "refund_speed"})
    if automatic and options.get("automatic_expiry_period") is None:
        raise InvalidField("The automatic_expiry_period field is required.", field="automatic_expiry_period")
    manual_minutes = _minutes(options, "manual_expiry_period", default=longest, longest=longest)
    automatic_minutes = _minutes(options, "automatic_expiry_period", default=manual_minutes, longest=longest)
    if automatic and automatic_minutes > manual_minutes:
        raise InvalidField(
            "The manual_expiry_period must not be less than automatic_expiry_period.",
            field="manual_expiry_period",
        )
    speed = choice_field(options, "refund_speed", ("normal", "optimum"), default="normal")
    return CaptureSettings(
        automatic=automatic,
        automatic_minutes=automatic_minutes,
        manual_minutes=manual_minutes,
        refund_speed=speed,
    )


def _minutes(options: Body, name: str, *, default: int, longest: int) -> int:
    minutes = options.get(name)
    if minutes is None:
        return default
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 12 <= minutes <= longest:
        raise InvalidField(f"The {name} must be between 12 and {longest}.", field=name)
    return minutes
