"""Field sets and JSON types of every entity, as the provider's documents show them."""

from typing import Any

import pytest
import razorpay

from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver

NULLABLE_TEXT = (str, type(None))
NOTES = (dict, list)
ORDER = {
    "id": str,
    "entity": str,
    "amount": int,
    "amount_paid": int,
    "amount_due": int,
    "currency": str,
    "receipt": NULLABLE_TEXT,
    "offer_id": NULLABLE_TEXT,
    "status": str,
    "attempts": int,
    "notes": NOTES,
    "created_at": int,
}
PAYMENT = {
    "id": str,
    "entity": str,
    "amount": int,
    "currency": str,
    "status": str,
    "order_id": NULLABLE_TEXT,
    "invoice_id": NULLABLE_TEXT,
    "international": bool,
    "method": str,
    "amount_refunded": int,
    "refund_status": NULLABLE_TEXT,
    "captured": bool,
    "description": NULLABLE_TEXT,
    "card_id": NULLABLE_TEXT,
    "bank": NULLABLE_TEXT,
    "wallet": NULLABLE_TEXT,
    "vpa": NULLABLE_TEXT,
    "email": NULLABLE_TEXT,
    "contact": NULLABLE_TEXT,
    "notes": NOTES,
    "fee": (int, type(None)),
    "tax": (int, type(None)),
    "error_code": NULLABLE_TEXT,
    "error_description": NULLABLE_TEXT,
    "error_source": NULLABLE_TEXT,
    "error_step": NULLABLE_TEXT,
    "error_reason": NULLABLE_TEXT,
    "acquirer_data": dict,
    "created_at": int,
}
CARD_PAYMENT = {**PAYMENT, "card": dict}
UPI_PAYMENT = {**PAYMENT, "upi": dict}
CARD = {
    "id": str,
    "entity": str,
    "name": str,
    "last4": str,
    "network": str,
    "type": str,
    "issuer": NULLABLE_TEXT,
    "international": bool,
    "emi": bool,
    "sub_type": str,
    "token_iin": NULLABLE_TEXT,
}
REFUND = {
    "id": str,
    "entity": str,
    "amount": int,
    "currency": str,
    "payment_id": str,
    "notes": NOTES,
    "receipt": NULLABLE_TEXT,
    "acquirer_data": dict,
    "created_at": int,
    "batch_id": NULLABLE_TEXT,
    "status": str,
    "speed_requested": str,
    "speed_processed": str,
}


def assert_shape(entity: dict[str, Any], shape: dict[str, Any]) -> None:
    assert set(entity) == set(shape)
    for name, kind in shape.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        assert type(entity[name]) in kinds, f"{name} is {entity[name]!r}"


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ({"method": "card", "card_number": "4100280000001007"}, CARD_PAYMENT),
        ({"method": "card", "card_number": "4100280000060003"}, CARD_PAYMENT),
        ({"method": "upi", "vpa": "success@razorpay"}, UPI_PAYMENT),
        ({"method": "upi", "outcome": "late"}, UPI_PAYMENT),
    ],
)
def test_entities_have_the_documented_fields_and_types(
    simulator: SimulatorProcess, client: razorpay.Client, form: dict[str, Any], shape: dict[str, Any]
) -> None:
    order = client.order.create({"amount": 50000, "currency": "INR"})
    assert_shape(order, ORDER)
    payment = client.payment.fetch(simulator.pay(order["id"], **form)["razorpay_payment_id"])
    assert_shape(payment, shape)
    if "card" in payment:
        assert_shape(payment["card"], CARD)
    if payment["captured"]:
        assert_shape(client.payment.refund(payment["id"], {}), REFUND)
    collection = client.order.payments(order["id"])
    assert set(collection) == {"entity", "count", "items"}


def test_webhook_entities_add_what_the_samples_add(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    order = fresh_client.order.create({"amount": 50000, "currency": "INR"})
    fresh.pay(order["id"])
    fresh.settle_webhooks()
    for webhook in shop.received:
        payload = webhook.document["payload"]
        added = {"base_amount": int, "amount_transferred": int}
        assert_shape(payload["payment"]["entity"], {**UPI_PAYMENT, **added})
        if webhook.event == "order.paid":
            assert_shape(payload["order"]["entity"], ORDER)


def test_ids_are_a_prefix_and_fourteen_letters_or_digits(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    order = client.order.create({"amount": 50000, "currency": "INR"})
    payment_id = simulator.pay(order["id"])["razorpay_payment_id"]
    refund = client.payment.refund(payment_id, {})
    for text, prefix in ((order["id"], "order_"), (payment_id, "pay_"), (refund["id"], "rfnd_")):
        assert text.startswith(prefix)
        assert len(text) == len(prefix) + 14
        assert text[len(prefix) :].isalnum()
