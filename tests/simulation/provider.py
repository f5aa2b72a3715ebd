"""The provider: the domain of the Razorpay simulator itself, in virtual time, behind the port of payments.

Its ledger is a SQLite file in which one transaction is begun for each schedule and never committed. HTTP is left out:
a call is answered, refused, not delivered, or its answer is lost, as the schedule chooses.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from payments.provider import (
    OrderLabels,
    OutcomeUnknown,
    ProviderPayment,
    ProviderRefund,
    ProviderRefused,
    ProviderUnreachable,
    as_payment,
    as_refund,
)
from payments.settings import PaymentsSettings
from razorpay_simulator import capture, deadlines, orders, paying, payments, refunds
from razorpay_simulator.clock import Clock as RealClock
from razorpay_simulator.errors import ProviderRefusal
from razorpay_simulator.faults import FaultMenu
from razorpay_simulator.fields import Page
from razorpay_simulator.paying import PaymentForm
from razorpay_simulator.provider import Provider as Razorpay
from razorpay_simulator.records import Payment, Refund
from razorpay_simulator.settings import Settings
from razorpay_simulator.store import Store
from razorpay_simulator.variants import Variants
from tests.simulation.clock import Clock
from tests.simulation.fate import Fate

Effect = Callable[[], Any]
_NOT_DEFINITE = (408, 409, 425, 429)


class _VirtualClock(RealClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now.timestamp()

    def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)


class ProviderLedger:
    """The simulator's ledger, opened once for many schedules."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder, key_id="rzp_test_simulation", key_secret="simulation")
        self.store = Store.open(folder)
        razorpay = Razorpay(
            settings=self.settings,
            store=self.store,
            clock=RealClock(self.store),
            variants=Variants(),
            faults=FaultMenu(),
        )
        razorpay.set_webhook("primary", url="http://haat/webhooks", secret="simulation", events=[])
        self.last_delivery = 0

    def begin(self) -> None:
        """An empty ledger for a schedule."""
        self.store.connection.execute("BEGIN IMMEDIATE")
        self.store.next_deadline = None

    def end(self) -> None:
        """Nothing of the schedule is kept."""
        self.store.connection.execute("ROLLBACK")
        self.store.next_deadline = None

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()


class SimulatedProvider:
    """Implements `payments.provider.Provider`; and what shoppers, banks and the merchant's dashboard do."""

    def __init__(
        self, ledger: ProviderLedger, clock: Clock, fate: Fate, variants: Variants, settings: PaymentsSettings
    ) -> None:
        self.store = ledger.store
        self._fate = fate
        self._settings = settings
        self._has_news = False
        self._told = 0
        self._earlier: dict[str, Any] = {}
        self.razorpay = Razorpay(
            settings=ledger.settings,
            store=ledger.store,
            clock=_VirtualClock(clock),
            variants=variants,
            faults=FaultMenu(),
            wake_courier=self._note_news,
        )

    def _note_news(self) -> None:
        self._has_news = True

    def new_webhooks(self) -> list[tuple[str, str, dict[str, Any]]]:
        """What it wants to tell since the last look: id and name of the event, and the payload."""
        if not self._has_news:
            return []
        self._has_news = False
        found = self.store.deliveries.where("position > ?", (self._told,))
        self._told += len(found)
        events = [self.store.events.get(delivery.event_id) for delivery in found]
        return [(event.id, event.name, json.loads(event.body)["payload"]) for event in events if event is not None]

    def meet_deadlines(self, *, until: float) -> None:
        """What banks and capture windows do by the clock."""
        deadlines.settle_due(self.razorpay, until=until)

    def be_kind(self) -> None:
        """From now on every refund is given."""
        self.razorpay.variants = replace(self.razorpay.variants, refund_outcome="processed")

    # What payments asks for.

    async def create_order(self, *, receipt: str, amount: int, currency: str, notes: dict[str, str]) -> str:
        """As `razorpay_provider.py` sends it."""
        options = {
            "automatic_expiry_period": self._settings.automatic_capture,
            "manual_expiry_period": self._settings.manual_capture,
            "refund_speed": "normal",
        }
        body = {
            "amount": amount,
            "currency": currency,
            "receipt": receipt,
            "notes": notes,
            "payment": {"capture": "automatic", "capture_options": options},
        }
        made = await self._call("create order", lambda: orders.create(self.razorpay, body))
        return str(made["id"])

    async def orders_of(self, receipt: str) -> list[str]:
        """By receipt."""
        page = Page(since=None, until=None, count=100, skip=0)
        found = await self._read(
            f"orders {receipt}",
            lambda: orders.listing(self.razorpay, page, receipt=receipt, authorized=None, expand=[]),
        )
        return [item["id"] for item in found["items"]]

    async def labels_of(self, order_id: str) -> OrderLabels:
        """As they were given."""
        found = await self._call("order", lambda: orders.fetch(self.razorpay, order_id))
        return OrderLabels(found["receipt"], dict(found["notes"]))

    async def payments_of(self, order_id: str) -> list[ProviderPayment]:
        """Every attempt at an order."""
        found = await self._read(f"payments {order_id}", lambda: orders.payments_of(self.razorpay, order_id))
        return [as_payment(item) for item in found["items"]]

    async def payment(self, payment_id: str) -> ProviderPayment:
        """One attempt. Without a pause, since a shopper's time-out may run on the wall's clock."""
        effect = lambda: payments.fetch(self.razorpay, payment_id)  # noqa: E731 - as the other effects
        return as_payment(self._carried_out("fetch", effect))

    async def payments_since(self, since: int, *, skip: int) -> list[ProviderPayment]:
        """Of all orders."""
        page = Page(since=since, until=None, count=100, skip=skip)
        found = await self._read(f"all {skip}", lambda: payments.listing(self.razorpay, page))
        return [as_payment(item) for item in found["items"]]

    async def capture(self, payment_id: str, *, amount: int, currency: str) -> ProviderPayment:
        """Take authorised money."""
        body = {"amount": amount, "currency": currency}
        return as_payment(
            await self._call("capture", lambda: capture.capture_by_merchant(self.razorpay, payment_id, body))
        )

    async def refund(self, payment_id: str, *, key: str, body: str) -> ProviderRefund:
        """Give money back."""
        raw, asked = body.encode(), json.loads(body)
        return as_refund(
            await self._call("refund", lambda: refunds.refund_once(self.razorpay, payment_id, asked, raw=raw, key=key))
        )

    async def refunds_of(self, payment_id: str) -> list[ProviderRefund]:
        """Every refund of an attempt."""
        page = Page(since=None, until=None, count=100, skip=0)
        found = await self._call("refunds", lambda: refunds.of_payment(self.razorpay, payment_id, page))
        return [as_refund(item) for item in found["items"]]

    async def refunds_since(self, since: int, *, skip: int) -> list[ProviderRefund]:
        """Of all payments."""
        page = Page(since=since, until=None, count=100, skip=skip)
        found = await self._read(f"all refunds {skip}", lambda: refunds.listing(self.razorpay, page))
        return [as_refund(item) for item in found["items"]]

    def proves_handshake(self, *, order_id: str, payment_id: str, signature: str) -> bool:
        """By the simulator's own signature."""
        return self.razorpay.sign(order_id, payment_id) == signature

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _call(self, name: str, effect: Effect) -> Any:
        await self._fate.pause()
        return self._carried_out(name, effect)

    async def _read(self, name: str, effect: Effect) -> Any:
        """A list, which may be the one of the last time: the provider's reads lag behind its writes."""
        await self._fate.pause()
        if name in self._earlier and self._fate.strikes("stale"):
            return self._earlier[name]
        found = self._earlier[name] = self._carried_out(name, effect)
        return found

    def _carried_out(self, name: str, effect: Effect) -> Any:
        """The answer, unless the schedule loses question or answer."""
        if self._fate.strikes("unreachable"):
            raise ProviderUnreachable(f"{name} was not delivered")
        if self._fate.strikes("question lost"):
            raise OutcomeUnknown(f"{name} was lost")
        try:
            answer = effect()
        except ProviderRefusal as refusal:
            if refusal.status < 500 and refusal.status not in _NOT_DEFINITE:
                raise ProviderRefused(refusal.description) from None
            raise OutcomeUnknown(refusal.description) from None
        if self._fate.strikes("answer lost"):
            raise OutcomeUnknown(f"the answer to {name} was lost")
        return answer

    # What others do there.

    def pay(self, order_id: str, *, outcome: paying.Outcome, late_after: float) -> Payment | None:
        """A shopper pays; None when the checkout refuses."""
        try:
            return paying.pay(
                self.razorpay, order_id, PaymentForm(method="upi", outcome=outcome, late_after=late_after)
            )
        except ProviderRefusal:
            return None

    def handshake(self, payment_id: str) -> dict[str, Any]:
        """What the checkout hands to the browser."""
        return paying.handshake(self.razorpay, self.razorpay.payment(payment_id))

    def bank_answers(self, payment_id: str, *, yes: bool) -> bool:
        """The bank speaks late, or the shopper tries again within the app; whether that was possible."""
        try:
            paying.answer_late(self.razorpay, payment_id, yes=yes)
        except ProviderRefusal:
            return False
        return True

    def capture_in_dashboard(self, payment_id: str, *, amount: int) -> bool:
        """Somebody captures by hand, perhaps less than was authorised; whether that was possible."""
        try:
            capture.capture_by_merchant(self.razorpay, payment_id, {"amount": amount, "currency": "INR"})
        except ProviderRefusal:
            return False
        return True

    def refund_in_dashboard(self, payment_id: str, *, amount: int | None) -> bool:
        """Somebody refunds by hand; whether that was possible."""
        try:
            refunds.refund(self.razorpay, payment_id, {} if amount is None else {"amount": amount}, by_dashboard=True)
        except ProviderRefusal:
            return False
        return True

    def settle_refund(self, refund: Refund, *, processed: bool) -> None:
        """The bank's word on a pending refund."""
        refunds.settle(self.razorpay, refund, processed=processed, at=self.razorpay.clock.now())

    def all_payments(self) -> list[Payment]:
        """Everything it knows of."""
        return self.store.payments.where()

    def all_refunds(self) -> list[Refund]:
        """Everything it knows of."""
        return self.store.refunds.where()
