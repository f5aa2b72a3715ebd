"""Money back, as a rule after capture. The same `X-Refund-Idempotency` and body give the same refund."""

import hashlib
import re
from typing import Any

from razorpay_simulator.entities import collection, refund_entity
from razorpay_simulator.errors import (
    InvalidField,
    NotRefundable,
    ProviderRefusal,
    RefundKeyMismatch,
    UnknownId,
)
from razorpay_simulator.events import emit
from razorpay_simulator.fields import (
    Page,
    amount_field,
    checked_notes,
    choice_field,
    receipt_field,
    refuse_unknown,
)
from razorpay_simulator.identifiers import new_id
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Payment, Refund, RefundKey

SIX_MONTHS = 182 * 86400
Body = dict[str, Any]


def refund_once(provider: Provider, payment_id: str, body: Body, *, raw: bytes, key: str | None) -> Body:
    if key is None:
        return refund_entity(refund(provider, payment_id, body), provider.variants)
    check_key(key)
    fingerprint = hashlib.sha256(payment_id.encode() + b"\n" + raw).hexdigest()
    used = provider.store.refund_keys.get(key)
    if used is None:
        made = refund(provider, payment_id, body)
        provider.store.refund_keys.save(RefundKey(id=key, fingerprint=fingerprint, refund_id=made.id))
        return refund_entity(made, provider.variants)
    if used.fingerprint != fingerprint:
        raise RefundKeyMismatch(provider.variants.refund_key_mismatch_status)
    return refund_entity(provider.refund(used.refund_id), provider.variants)


def check_key(key: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{10,}", key, re.ASCII):
        raise ProviderRefusal("The idempotency key must have at least 10 characters: letters, digits, - and _ only.")


def refund(provider: Provider, payment_id: str, body: Body, *, by_dashboard: bool = False) -> Refund:
    refuse_unknown(body, known={"amount", "speed", "notes", "receipt"})
    payment, now = provider.payment(payment_id), provider.clock.now()
    rest = payment.amount - payment.amount_refunded
    amount = rest if body.get("amount") is None else amount_field(body)
    _refuse_unrefundable(payment, amount=amount, rest=rest, now=now)
    speed = choice_field(body, "speed", ("normal", "optimum"), default="normal")
    made = Refund(
        id=new_id("rfnd"),
        payment_id=payment.id,
        amount=amount,
        currency=payment.currency,
        created_at=int(now),
        notes=checked_notes(body),
        receipt=receipt_field(body),
        speed_requested=speed,
        speed_processed="instant" if speed == "optimum" else "normal",
        made_by="dashboard" if by_dashboard else "api",
    )
    payment.amount_refunded += amount
    if provider.variants.refunded_when == "created" and payment.amount_refunded == payment.amount:
        payment.status = "refunded"
    provider.store.refunds.save(made)
    provider.store.payments.save(payment)
    emit(provider, "refund.created", at=now, payment=payment, refund=made)
    if provider.variants.refund_answer == "pending":
        provider.store.schedule("settle_refund", subject=made.id, due_at=now + provider.variants.refund_seconds)
        return made
    return settle(provider, made, processed=provider.variants.refund_outcome == "processed", at=now)


def refund_by_itself(provider: Provider, payment: Payment, *, at: float) -> None:
    """An authorisation that was let go has a refund like any other, and webhooks; only `captured` tells them apart."""
    made = Refund(
        id=new_id("rfnd"),
        payment_id=payment.id,
        amount=payment.amount,
        currency=payment.currency,
        created_at=int(at),
        made_by="razorpay",
    )
    payment.amount_refunded = payment.amount
    provider.store.refunds.save(made)
    provider.store.payments.save(payment)
    emit(provider, "refund.created", at=at, payment=payment, refund=made)
    settle(provider, made, processed=True, at=at)


def settle(provider: Provider, made: Refund, *, processed: bool, at: float) -> Refund:
    """The bank's word on a pending refund. A failed one leaves its money with the merchant."""
    if made.status != "pending":
        return made
    payment = provider.payment(made.payment_id)
    if processed:
        made.status, made.arn = "processed", str(int(at * 1000)).zfill(14)
        if _processed_before(provider, payment) + made.amount == payment.amount:
            payment.status = "refunded"
    else:
        made.status = "failed"
        payment.amount_refunded -= made.amount
        payment.status = "captured"
    provider.store.refunds.save(made)
    provider.store.payments.save(payment)
    emit(provider, f"refund.{made.status}", at=at, payment=payment, refund=made)
    return made


def fetch(provider: Provider, refund_id: str) -> Body:
    return refund_entity(provider.refund(refund_id), provider.variants)


def fetch_of_payment(provider: Provider, payment_id: str, refund_id: str) -> Body:
    payment, made = provider.payment(payment_id), provider.refund(refund_id)
    if made.payment_id != payment.id:
        raise UnknownId(provider.variants.unknown_id_status)
    return refund_entity(made, provider.variants)


def edit(provider: Provider, refund_id: str, body: Body) -> Body:
    refuse_unknown(body, known={"notes"})
    made = provider.refund(refund_id)
    made.notes = checked_notes(body)
    provider.store.refunds.save(made)
    return refund_entity(made, provider.variants)


def listing(provider: Provider, page: Page) -> Body:
    found = page.of(provider.store.refunds, provider.variants)
    return collection([refund_entity(made, provider.variants) for made in found])


def of_payment(provider: Provider, payment_id: str, page: Page) -> Body:
    payment = provider.payment(payment_id)
    newest = provider.variants.list_inside_parent_order == "newest_first"
    found = provider.store.refunds.where(
        "payment_id = ? AND created_at BETWEEN ? AND ?",
        (payment.id, page.since or 0, page.until if page.until is not None else 2**40),
        order=f"position {'DESC' if newest else 'ASC'} LIMIT {page.count} OFFSET {page.skip}",
    )
    return collection([refund_entity(made, provider.variants) for made in found])


def _refuse_unrefundable(payment: Payment, *, amount: int, rest: int, now: float) -> None:
    if not payment.captured:
        raise NotRefundable("The payment status should be captured for action to be taken")
    if rest == 0:
        raise NotRefundable("The payment has been fully refunded already")
    if amount > payment.amount:
        raise InvalidField("The refund amount provided is greater than amount captured", field="amount")
    if amount > rest:
        raise InvalidField("The total refund amount is greater than the refund payment amount", field="amount")
    if now - payment.created_at > SIX_MONTHS:
        raise NotRefundable("The payment is more than six months old and cannot be refunded")


def _processed_before(provider: Provider, payment: Payment) -> int:
    made = provider.store.refunds.where("payment_id = ?", (payment.id,))
    return sum(refund.amount for refund in made if refund.status == "processed")
