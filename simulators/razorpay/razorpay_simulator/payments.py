"""Payments as the merchant's server reads them."""

from typing import Any

from razorpay_simulator.entities import collection, payment_entity
from razorpay_simulator.fields import Page, checked_notes, refuse_unknown
from razorpay_simulator.provider import Provider


def fetch(provider: Provider, payment_id: str) -> dict[str, Any]:
    return payment_entity(provider.payment(payment_id), provider.variants)


def listing(provider: Provider, page: Page) -> dict[str, Any]:
    found = page.of(provider.store.payments, provider.variants)
    return collection([payment_entity(payment, provider.variants) for payment in found])


def edit(provider: Provider, payment_id: str, body: dict[str, Any]) -> dict[str, Any]:
    refuse_unknown(body, known={"notes"})
    payment = provider.payment(payment_id)
    payment.notes = checked_notes(body)
    provider.store.payments.save(payment)
    return payment_entity(payment, provider.variants)
