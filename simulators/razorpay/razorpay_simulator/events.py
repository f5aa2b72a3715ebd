"""Telling the merchant: an event is kept with the change it reports, with a delivery for each webhook."""

import msgspec

from razorpay_simulator.entities import order_entity, payment_in_webhook, refund_entity
from razorpay_simulator.faults import Fault
from razorpay_simulator.identifiers import new_id
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Delivery, Event, Order, Payment, Refund, Webhook

HELD_BACK_SECONDS = 60.0


def emit(
    provider: Provider,
    name: str,
    *,
    at: float,
    payment: Payment,
    order: Order | None = None,
    refund: Refund | None = None,
) -> None:
    """The payload is a snapshot of this moment, as it is at Razorpay: later changes do not reach it."""
    payload = {}
    if refund is not None:
        payload["refund"] = {"entity": refund_entity(refund, provider.variants)}
    payload["payment"] = {"entity": payment_in_webhook(payment, provider.variants)}
    if order is not None:
        payload["order"] = {"entity": order_entity(order, provider.variants)}
    envelope = {
        "entity": "event",
        "account_id": provider.settings.account_id,
        "event": name,
        "contains": list(payload),
        "payload": payload,
        "created_at": int(at),
    }
    body = msgspec.json.encode(envelope).decode()
    event = Event(id=new_id("evt")[4:], name=name, created_at=int(at), body=body)
    provider.store.events.save(event)
    fault = provider.faults.take("webhook", event=name)
    for webhook in provider.store.webhooks.where():
        if webhook.active and not webhook.disabled_at and (not webhook.events or name in webhook.events):
            _dispatch(provider, event, webhook=webhook, at=at, fault=fault)
    provider.wake_courier()


def _dispatch(provider: Provider, event: Event, *, webhook: Webhook, at: float, fault: Fault | None) -> None:
    delivery = Delivery(
        id=new_id("dlv"),
        event_id=event.id,
        event=event.name,
        webhook_id=webhook.id,
        secret=webhook.secret,
        created_at=at,
        due_at=at,
    )
    if fault is not None:
        _spoil(delivery, fault)
    provider.store.deliveries.save(delivery)


def _spoil(delivery: Delivery, fault: Fault) -> None:
    delivery.trick = fault.action
    match fault.action:
        case "drop":
            delivery.status = "dropped"
        case "delay":
            delivery.due_at += fault.seconds
        case "reorder":
            delivery.held_back = True
            delivery.due_at += HELD_BACK_SECONDS
        case "duplicate":
            delivery.copies = max(2, fault.count)
