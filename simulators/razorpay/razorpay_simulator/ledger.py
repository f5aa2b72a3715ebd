"""Everything the provider knows, with totals, so that a shop's books can be compared with it to the paisa."""

from typing import Any

import msgspec

from razorpay_simulator.entities import order_entity, payment_entity, refund_entity
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Delivery, Payment, Refund


def ledger(provider: Provider) -> dict[str, Any]:
    store, variants = provider.store, provider.variants
    orders, payments, refunds = store.orders.where(), store.payments.where(), store.refunds.where()
    deliveries = store.deliveries.where()
    return {
        "now": provider.clock.now(),
        "totals": {
            "orders": len(orders),
            "orders_paid": sum(order.status == "paid" for order in orders),
            "payments": len(payments),
            "deliveries": len(deliveries),
            "deliveries_pending": sum(delivery.status == "pending" for delivery in deliveries),
            **money(payments, refunds),
        },
        "orders": [order_entity(order, variants) for order in orders],
        "payments": [{**payment_entity(payment, variants), "released": payment.released} for payment in payments],
        "refunds": [{**refund_entity(refund, variants), "made_by": refund.made_by} for refund in refunds],
        "webhooks": [webhook_view(provider, webhook.id) for webhook in store.webhooks.where()],
        "deliveries": [delivery_view(delivery) for delivery in deliveries],
    }


def money(payments: list[Payment], refunds: list[Refund]) -> dict[str, int | bool]:
    """Captured is counted from payments, refunded from refunds, kept from what each payment says is left."""
    captured = [payment for payment in payments if payment.captured]
    taken = sum(payment.amount for payment in captured)
    returned = sum(refund.amount for refund in refunds if refund.status != "failed" and refund.made_by != "razorpay")
    kept = sum(payment.amount - payment.amount_refunded for payment in captured)
    return {
        "authorized": sum(payment.amount for payment in payments if payment.status == "authorized"),
        "captured": taken,
        "refunded": returned,
        "refunds_pending": sum(refund.amount for refund in refunds if refund.status == "pending"),
        "kept": kept,
        "released": sum(payment.amount for payment in payments if payment.released),
        "fees": sum(payment.fee or 0 for payment in captured),
        "balanced": taken == returned + kept,
    }


def delivery_view(delivery: Delivery) -> dict[str, Any]:
    return {
        "event_id": delivery.event_id,
        "event": delivery.event,
        "webhook": delivery.webhook_id,
        "status": delivery.status,
        "created_at": delivery.created_at,
        "next_attempt_at": delivery.due_at if delivery.status == "pending" else None,
        "attempts": [msgspec.to_builtins(attempt) for attempt in delivery.attempts],
        "trick": delivery.trick,
    }


def webhook_view(provider: Provider, name: str) -> dict[str, Any]:
    """A webhook without its secret."""
    webhook = provider.store.webhooks.get(name)
    if webhook is None:
        return {"name": name, "url": None, "active": False}
    return {
        "name": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "active": webhook.active and not webhook.disabled_at,
        "disabled_at": webhook.disabled_at,
        "secret_exists": bool(webhook.secret),
    }
