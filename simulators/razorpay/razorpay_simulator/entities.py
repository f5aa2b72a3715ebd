"""The JSON of orders, payments and refunds, field for field as Razorpay documents it."""

from typing import Any

from razorpay_simulator.records import Notes, Order, Payment, Refund
from razorpay_simulator.variants import Variants


def order_entity(order: Order, variants: Variants) -> dict[str, Any]:
    return {
        "id": order.id,
        "entity": "order",
        "amount": order.amount,
        "amount_paid": order.amount_paid,
        "amount_due": order.amount - order.amount_paid,
        "currency": order.currency,
        "receipt": order.receipt,
        "offer_id": None,
        "status": order.status,
        "attempts": order.attempts,
        "notes": _notes(order.notes, variants),
        "created_at": order.created_at,
    }


def payment_entity(payment: Payment, variants: Variants) -> dict[str, Any]:
    refund_status = None
    if payment.amount_refunded:
        refund_status = "full" if payment.amount_refunded == payment.amount else "partial"
    entity: dict[str, Any] = {
        "id": payment.id,
        "entity": "payment",
        "amount": payment.amount,
        "currency": payment.currency,
        "status": payment.status,
        "order_id": payment.order_id,
        "invoice_id": None,
        "international": payment.card is not None and payment.card.international,
        "method": payment.method,
        "amount_refunded": payment.amount_refunded,
        "refund_status": refund_status,
        "captured": payment.captured,
        "description": payment.description,
        "card_id": payment.card.id if payment.card else None,
        "bank": None,
        "wallet": None,
        "vpa": payment.vpa,
        "email": payment.email,
        "contact": payment.contact,
        "notes": _notes(payment.notes, variants),
        "fee": payment.fee,
        "tax": payment.tax,
        **_error_fields(payment, variants),
        "acquirer_data": payment.acquirer_data,
        "created_at": payment.created_at,
    }
    if payment.card:
        entity["card"] = _card_entity(payment)
    else:
        entity["upi"] = {"payer_account_type": "bank_account", "vpa": payment.vpa, "flow": "collect"}
    return entity


def payment_in_webhook(payment: Payment, variants: Variants) -> dict[str, Any]:
    return {**payment_entity(payment, variants), "base_amount": payment.amount, "amount_transferred": 0}


def refund_entity(refund: Refund, variants: Variants) -> dict[str, Any]:
    return {
        "id": refund.id,
        "entity": "refund",
        "amount": refund.amount,
        "currency": refund.currency,
        "payment_id": refund.payment_id,
        "notes": _notes(refund.notes, variants),
        "receipt": refund.receipt,
        "acquirer_data": {"arn": refund.arn},
        "created_at": refund.created_at,
        "batch_id": None,
        "status": refund.status,
        "speed_requested": refund.speed_requested,
        "speed_processed": refund.speed_processed,
    }


def collection(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"entity": "collection", "count": len(items), "items": items}


def _notes(notes: Notes, variants: Variants) -> Notes | list[Any]:
    return notes or ([] if variants.empty_notes == "list" else {})


def _error_fields(payment: Payment, variants: Variants) -> dict[str, str | None]:
    error, empty = payment.error, None if variants.empty_error_fields == "null" else ""
    return {
        "error_code": error.code if error else empty,
        "error_description": error.description if error else empty,
        "error_source": error.source if error else empty,
        "error_step": error.step if error else empty,
        "error_reason": error.reason if error else empty,
    }


def _card_entity(payment: Payment) -> dict[str, Any]:
    card = payment.card
    if card is None:
        return {}
    return {
        "id": card.id,
        "entity": "card",
        "name": "",
        "last4": card.last4,
        "network": card.network,
        "type": "credit",
        "issuer": None,
        "international": card.international,
        "emi": False,
        "sub_type": "consumer",
        "token_iin": None,
    }
