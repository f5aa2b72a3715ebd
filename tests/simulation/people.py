"""What people do in a simulated shop: shoppers, staff, banks, and whoever works in the provider's dashboard."""

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from catalog.errors import StockBelowReserved
from catalog.stock import adjust_stock
from chassis.clients import UpstreamUnavailable
from chassis.money import Money
from chassis.problems import Problem
from orders.cancellation import cancel_order
from orders.fulfillment import deliver_order, ship_order
from orders.models import ActorKind
from orders.order_states import Actor
from orders.schemas import PlaceOrder, Tracking
from payments.models import Payment, PaymentStatus
from payments.observation import verify_handshake
from payments.opening import Lease
from payments.refunds import ask_for_refund
from tests.simulation.goods import SHOPPERS, STAFF, VARIANTS
from tests.simulation.under_way import UnderWay

CHECKOUT_PATIENCE = 90.0
WISH = PlaceOrder.model_validate(
    {
        "shipping_address": {
            "recipient_name": "A Shopper",
            "line1": "1 Market Road",
            "city": "Pune",
            "state": "MH",
            "postal_code": "411001",
            "country": "IN",
        }
    }
)
TRACKING = Tracking(carrier="Bluedart", number="BD1")
LATE = (200.0, 640.0, 900.0, 1500.0, 2400.0, 3300.0)
"""Seconds after which a bank speaks."""


class People(UnderWay):
    """Whenever they like, and as often."""

    async def _shop_around(self) -> None:
        shopper = self.fate.choose(SHOPPERS)
        cart = self.carts[shopper]
        if not cart.items and (not self.keys[shopper] or self.fate.die.random() < 0.5):
            quantities = {variant: self.fate.choose((0, 1, 2)) for variant in VARIANTS}
            cart.put({variant: quantity for variant, quantity in quantities.items() if quantity})
            self.trace.tell(f"{self.trace.of(shopper)} fills the cart")
            return
        keys = self.keys[shopper]
        if not keys or (len(keys) < 3 and self.fate.die.random() < 0.5):
            keys.append(f"key-{len(keys) + 1}")
        key = self.fate.choose(keys)
        name = f"{self.trace.of(shopper)} orders with {key}"
        await self._begin("orders", name, self._place(shopper, key), CHECKOUT_PATIENCE)

    async def _place(self, shopper: UUID, key: str) -> None:
        try:
            placed = await self.shop.checkout.place_order(shopper, key, WISH)
        except (Problem, UpstreamUnavailable) as refusal:
            self.trace.tell(f"{self.trace.of(shopper)} is refused: {_name(refusal)}")
            return
        self.placed.setdefault(placed.order.id, shopper)
        self.checks.promise(placed.order.id, shopper)
        how = "again" if placed.replayed else "now"
        self.trace.tell(f"{self.trace.of(shopper)} {how} has {self.trace.of(placed.order.id)}")

    async def _open_payment(self) -> None:
        order_id = self.fate.choose(list(self.placed))
        await self._begin("payments", f"open a payment for {self.trace.of(order_id)}", self._open(order_id))

    async def _open(self, order_id: UUID) -> None:
        try:
            found = await self.shop.collection.lease_or_standing(order_id, user_id=self.placed[order_id])
        except (Problem, UpstreamUnavailable) as refusal:
            self.trace.tell(f"no payment for {self.trace.of(order_id)}: {_name(refusal)}")
            return
        if isinstance(found, Lease):
            # A creation goes on by itself, whatever becomes of the request.
            await self._begin("payments", f"create {self.trace.of(order_id)} at the provider", self._create(found))
            return
        self.trace.tell(f"the payment of {self.trace.of(order_id)} is {found.status}")
        if found.status is PaymentStatus.OPEN:
            books = await self.rows.books()
            orders = [name for name, (owner, _) in books.ledger.provider_orders.items() if owner == found.payment_id]
            self._hand_out(orders[0])

    async def _create(self, lease: Lease) -> None:
        try:
            opened = await self.shop.collection.create(lease)
        except Problem as refusal:
            self.trace.tell(f"creation for {self.trace.of(lease.order_id)}: {_name(refusal)}")
            return
        self.trace.tell(f"creation for {self.trace.of(lease.order_id)}: {'open' if opened else 'not opened'}")
        if opened:
            self._hand_out(opened.provider_order_id)

    def _hand_out(self, provider_order_id: str) -> None:
        """A shopper may pay there from now on, and nobody can take that back."""
        if provider_order_id not in self.checkouts:
            self.checkouts.append(provider_order_id)

    async def _pay(self) -> None:
        order_id = self.fate.choose(self.checkouts)
        outcome = self.fate.choose(("success", "success", "success", "failure", "late", "late", "authorize_only"))
        late_after = self.fate.choose(LATE)
        made = self.provider.pay(order_id, outcome=outcome, late_after=late_after)  # type: ignore[arg-type]  # one of the literals
        what = f"{outcome} of {self.trace.of(made.id)}" if made else "refused"
        self.trace.tell(f"pay {self.trace.of(order_id)}: {what}")

    async def _verify(self) -> None:
        seen = self.fate.choose(self.provider.all_payments())
        if seen.authorized_at is None:
            return
        books = await self.rows.books()
        owner = books.ledger.provider_orders.get(seen.order_id)
        if owner is None:
            return
        row = books.ledger.payments[owner[0]]
        payment = Payment(id=row["id"], amount=row["amount"], currency=row["currency"])
        await self._begin("payments", f"handshake of {self.trace.of(seen.id)}", self._handshake(payment, seen.id))

    async def _handshake(self, payment: Payment, payment_id: str) -> None:
        proof = self.provider.handshake(payment_id)
        await verify_handshake(
            self.gates.ledger,
            self.provider,
            payment,
            order=proof["razorpay_order_id"],
            attempt=proof["razorpay_payment_id"],
            signature=proof["razorpay_signature"],
        )

    async def _bank_answers(self) -> None:
        pending = [refund for refund in self.provider.all_refunds() if refund.status == "pending"]
        if pending and self.fate.die.random() < 0.6:
            refund = self.fate.choose(pending)
            processed = self.fate.die.random() < 0.7
            self.provider.settle_refund(refund, processed=processed)
            self.trace.tell(f"{self.trace.of(refund.id)} is {'processed' if processed else 'failed'}")
            return
        seen, yes = self.fate.choose(self.provider.all_payments()), self.fate.die.random() < 0.7
        if self.provider.bank_answers(seen.id, yes=yes):
            self.trace.tell(f"the bank says {'yes' if yes else 'no'} to {self.trace.of(seen.id)}")

    async def _in_the_dashboard(self) -> None:
        seen = self.fate.choose(self.provider.all_payments())
        part = self.fate.choose((None, 100, seen.amount // 2))
        if seen.captured:
            done = self.provider.refund_in_dashboard(seen.id, amount=part)
        else:
            done = self.provider.capture_in_dashboard(seen.id, amount=part or seen.amount)
        if done:
            self.trace.tell(
                f"the dashboard {'refunds' if seen.captured else 'captures'} {part} of {self.trace.of(seen.id)}"
            )

    async def _cancel(self) -> None:
        order_id = self.fate.choose(list(self.placed))
        by_owner = self.fate.die.random() < 0.7
        actor = Actor(ActorKind.CUSTOMER, self.placed[order_id]) if by_owner else Actor(ActorKind.STAFF, STAFF)
        name = f"{actor.kind} cancels {self.trace.of(order_id)}"
        await self._begin(
            "orders", name, self._command(name, lambda book: cancel_order(book, actor, order_id=order_id, reason=None))
        )

    async def _fulfill(self) -> None:
        order_id, actor = self.fate.choose(list(self.placed)), Actor(ActorKind.STAFF, STAFF)
        if self.fate.die.random() < 0.6:
            name = f"ship {self.trace.of(order_id)}"
            work = self._command(name, lambda book: ship_order(book, actor, order_id=order_id, tracking=TRACKING))
        else:
            name = f"deliver {self.trace.of(order_id)}"
            work = self._command(name, lambda book: deliver_order(book, actor, order_id=order_id))
        await self._begin("orders", name, work)

    async def _command(self, name: str, command: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
        try:
            async with self.gates.orders() as book:
                order = await command(book)
        except Problem as refusal:
            self.trace.tell(f"{name}: {_name(refusal)}")
            return
        self.trace.tell(f"{name}: {order.status}")

    async def _refund(self) -> None:
        order_id = self.fate.choose(list(self.placed))
        books = await self.rows.books()
        row = next((row for row in books.ledger.payments.values() if row["order_id"] == order_id), None)
        if row is None or row["user_id"] is None:
            return
        part = self.fate.choose((None, 150, row["amount"] // 2))
        self.refund_keys += self.fate.die.random() < 0.7
        payment = Payment(id=row["id"], amount=row["amount"], currency=row["currency"])
        name = f"staff refunds {part} of {self.trace.of(order_id)}"
        await self._begin("payments", name, self._ask_for_refund(name, payment, part, f"refund-{self.refund_keys}"))

    async def _ask_for_refund(self, name: str, payment: Payment, part: int | None, key: str) -> None:
        amount = None if part is None else Money(amount=part, currency=payment.currency)
        try:
            async with self.gates.ledger() as ledger:
                await ask_for_refund(ledger, payment, amount=amount, reason="goodwill", key=key, staff_id=STAFF)
        except Problem as refusal:
            self.trace.tell(f"{name}: {_name(refusal)}")

    async def _count_stock(self) -> None:
        variant, delta = self.fate.choose(VARIANTS), self.fate.choose((-1, 1))
        self.trace.tell(f"stock of {self.trace.of(variant)} {delta:+}")
        await self._begin("catalog", "count stock", self._adjust(variant, delta))

    async def _adjust(self, variant: UUID, delta: int) -> None:
        try:
            async with self.gates.stock() as room:
                await adjust_stock(room, variant, delta=delta, reason="counted", actor_id=STAFF)
        except StockBelowReserved:
            self.trace.tell("orders hold it")


def _name(refusal: BaseException) -> str:
    return getattr(refusal, "code", None) or type(refusal).__name__
