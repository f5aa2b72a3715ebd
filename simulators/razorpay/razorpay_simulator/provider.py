"""Razorpay's side of the world in one object: ledger, clock, credentials, and what it is told to do wrong."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from razorpay_simulator.clock import Clock
from razorpay_simulator.errors import NotAnId, UnknownId
from razorpay_simulator.faults import FaultMenu
from razorpay_simulator.identifiers import is_id
from razorpay_simulator.records import Order, Payment, Refund, Webhook
from razorpay_simulator.settings import Settings
from razorpay_simulator.store import Store
from razorpay_simulator.variants import Variants

Record = TypeVar("Record", Order, Payment, Refund)


def _nobody_waits() -> None:
    """Until a courier runs, a new delivery simply waits in the ledger."""


@dataclass(slots=True, kw_only=True)
class Provider:
    settings: Settings
    store: Store
    clock: Clock
    variants: Variants
    faults: FaultMenu
    wake_courier: Callable[[], None] = field(default=_nobody_waits)

    @classmethod
    def open(cls, settings: Settings) -> "Provider":
        store = Store.open(settings.data)
        remembered = store.recall("variants")
        variants = msgspec.json.decode(remembered, type=Variants) if remembered else Variants()
        clock = Clock(store)
        provider = cls(settings=settings, store=store, clock=clock, variants=variants, faults=FaultMenu())
        if settings.webhook_url:
            events = list(settings.webhook_events)
            provider.set_webhook("primary", url=settings.webhook_url, secret=settings.webhook_secret, events=events)
        return provider

    def choose(self, variants: Variants) -> None:
        self.variants = variants
        self.store.remember("variants", msgspec.json.encode(variants).decode())

    def set_webhook(self, name: str, *, url: str, secret: str, events: list[str]) -> Webhook:
        """Enable a webhook under this name. What is on its way keeps the secret of its event."""
        now = self.clock.now()
        webhook = Webhook(
            id=name,
            url=url,
            secret=secret,
            events=events,
            delivered_at=now,
            created_at=int(now),
            updated_at=int(now),
        )
        self.store.webhooks.save(webhook)
        return webhook

    def sign(self, order_id: str, payment_id: str) -> str:
        """The proof the shopper's browser carries back to the shop."""
        message = f"{order_id}|{payment_id}".encode()
        return hmac.new(self.settings.key_secret.encode(), message, hashlib.sha256).hexdigest()

    def order(self, order_id: str) -> Order:
        return self._found(self.store.orders.get(_checked(order_id, "order")))

    def payment(self, payment_id: str) -> Payment:
        return self._found(self.store.payments.get(_checked(payment_id, "pay")))

    def refund(self, refund_id: str) -> Refund:
        return self._found(self.store.refunds.get(_checked(refund_id, "rfnd")))

    def _found(self, record: Record | None) -> Record:
        if record is None:
            raise UnknownId(self.variants.unknown_id_status)
        return record


def _checked(text: str, prefix: str) -> str:
    if not is_id(text, prefix):
        raise NotAnId(text)
    return text
