"""A shopper, staff, a bank and a careless provider do what comes to their minds; the API must agree with the model.

Hypothesis chooses the steps. After each of them the shop comes to rest, and what its API shows of carts, orders,
payments and stock is what `tests/purchase_model.py` expects; at the end of each story every invariant holds in all
databases and the provider's ledger balances. The same seed tells the same stories: `make test-stories SEED=7
STORIES=500` tells other ones, and more. A failure prints the shortest story that leads to it.
"""

import asyncio
import os
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.hand_carried import HandCarriedShop
from tests.purchase import PRICE
from tests.purchase_model import CLOSED, Attempt, Model, Order, Word
from tests.shop import Shop
from tests.shopper import API, HOME, Document, Shopper, expect
from tests.stages import HOURS, HandCarriedStage, OpenStage, Stage

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SEED") or "2026")
STORIES = int(os.environ.get("STORIES") or "10")
STEPS = 16

STOCK = 6
FAULTS = (
    ("orders.create", "fail_after_commit"),
    ("orders.create", "html"),
    ("orders.payments", "reset"),
    ("payments.fetch", "truncate"),
    ("payments.capture", "fail_after_commit"),
    ("payments.refund", "fail_after_commit"),
    ("payments.refund", "rate_limit"),
    ("payments.refund", "html"),
    ("webhook", "duplicate"),
    ("webhook", "drop"),
    ("webhook", "forge"),
    ("webhook", "captured_flag"),
    ("webhook", "unknown_type"),
)

OUTCOMES = ("success", "failure", "late", "authorize_only")

TROUBLES = 3
"""Of one story: after five failures in a row payments leaves the provider alone for a while."""


class Purchases(RuleBasedStateMachine):
    """One shopper's story."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage, self.shop, self.run = stage, stage.shop, stage.run
        self.promised: dict[str, str] = {}

    @initialize(pieces=st.integers(1, 3), outcome=st.sampled_from(OUTCOMES))
    def enter(self, pieces: int, outcome: str) -> None:
        """A story begins with an order and a try to pay it."""
        self.variant = self.run(self.shop.new_variant(stock=STOCK, price=PRICE))
        self.shopper: Shopper = self.run(self.shop.customer())
        self.troubles = 0
        self.model = Model(on_hand=STOCK, price=PRICE)
        self.buy(pieces, outcome)

    def send(
        self, path: str, body: Document | None = None, *, by: Shopper | None = None, key: str = ""
    ) -> httpx.Response:
        headers = {"idempotency-key": key} if key else {}
        return self.run((by or self.shopper).send("POST", API + path, json=body or {}, headers=headers))

    def send_as_staff(self, path: str, body: Document | None = None, *, key: str = "") -> httpx.Response:
        return self.send(path, body, by=self.run(self.shop.staff()), key=key)

    def order(self, number: int) -> Order:
        return self.model.orders[number % len(self.model.orders)]

    @rule(pieces=st.integers(1, 3))
    def add_to_cart(self, pieces: int) -> None:
        answer = self.send("/cart/items", {"variant_id": self.variant, "quantity": pieces})
        if self.model.in_cart + pieces <= self.model.available:
            expect(201, answer)
            self.model.put(pieces)
        else:
            assert answer.json()["code"] == ("insufficient_stock" if self.model.available else "out_of_stock")

    @rule(pieces=st.integers(1, 3), outcome=st.sampled_from(OUTCOMES))
    def buy(self, pieces: int, outcome: str) -> None:
        """Cart, order and payment in one breath: no event is waited for."""
        before = len(self.model.orders)
        self.add_to_cart(pieces)
        self.place()
        if len(self.model.orders) > before:
            self.open_payment(-1)
            self.try_to_pay(self.model.orders[-1], method="upi", outcome=outcome)

    @rule()
    def place(self) -> None:
        key, pieces, other = uuid4().hex, self.model.in_cart, self.model.emptied_by
        answer = self.send("/orders", {"shipping_address": HOME}, key=key)
        if pieces == 0 and other is not None and other.status not in CLOSED:
            assert (answer.json()["code"], answer.json()["order_id"]) == ("cart_already_ordered", other.id)
        elif pieces == 0:
            assert answer.json()["code"] == "cart_empty"
        elif pieces > self.model.available:
            assert answer.json()["code"] == "insufficient_stock"
        else:
            order = expect(201, answer)
            assert order["totals"]["total"]["amount"] == PRICE * pieces
            self.promised[order["id"]] = self.shopper.user_id
            self.model.placed(Order(order["id"], key, pieces, PRICE * pieces))

    @precondition(lambda self: self.model.orders)
    @rule(number=st.integers(0, 9), note=st.sampled_from((None, "Ring twice")))
    def place_again_with_the_same_key(self, number: int, note: str | None) -> None:
        order = self.order(number)
        answer = self.send("/orders", {"shipping_address": HOME, "note": note}, key=order.key)
        if note is None:
            assert answer.headers["idempotency-replayed"] == "true"
            assert (expect(201, answer)["id"], answer.json()["status"]) == (order.id, order.status)
        else:
            assert expect(422, answer)["code"] == "idempotency_key_reused"

    @precondition(lambda self: self.model.orders)
    @rule(number=st.integers(0, 9))
    def open_payment(self, number: int) -> None:
        order = self.order(number)
        answer = self.send("/payments", {"order_id": order.id})
        if order.captured:
            assert expect(200, answer)["checkout"] is None
        elif order.status != "awaiting_payment":
            assert expect(409, answer)["code"] == "order_not_payable"
        else:
            while answer.status_code == 503:
                # The provider's trouble: what was begun is over after half a minute, and is looked up.
                self.run(self.stage.lease_is_over(order.id))
                answer = self.send("/payments", {"order_id": order.id})
            assert answer.status_code in (200, 201), answer.text
            order.payment_id = answer.json()["id"]
            order.provider_order = answer.json()["checkout"]["razorpay_order_id"]

    @precondition(lambda self: any(order.provider_order for order in self.model.orders))
    @rule(
        number=st.integers(0, 9),
        method=st.sampled_from(("card", "upi")),
        outcome=st.sampled_from(OUTCOMES),
    )
    def pay(self, number: int, method: str, outcome: str) -> None:
        """At the provider's page, which may still be open long after the order was closed."""
        opened = [order for order in self.model.orders if order.provider_order]
        self.try_to_pay(opened[number % len(opened)], method=method, outcome=outcome)

    def try_to_pay(self, order: Order, *, method: str, outcome: str) -> None:
        place = f"{self.shop.simulator}/simulator/orders/{order.provider_order}/pay"
        form = {"method": method, "outcome": outcome, "late_after": 30 * 86_400}
        answer = self.run(self.shop.http.post(place, json=form))
        if order.captured or order.with_word("authorized"):
            assert answer.status_code == 400, "the provider takes one payment of an order at a time"
            return
        words: dict[str, Word] = {"failure": "failed", "late": "pending", "authorize_only": "authorized"}
        attempt = Attempt(expect(200, answer)["razorpay_payment_id"], words.get(outcome, "pending"))
        order.attempts.append(attempt)
        if outcome == "success":
            self.model.captured(order, attempt)

    @precondition(lambda self: self.waiting_for_the_bank())
    @rule(number=st.integers(0, 9), outcome=st.sampled_from(("success", "failure")))
    def bank_answers_late(self, number: int, outcome: str) -> None:
        waiting = self.waiting_for_the_bank()
        order, attempt = waiting[number % len(waiting)]
        self.run(self.shop.provider_is_told(f"payments/{attempt.id}/answer", {"outcome": outcome}))
        if outcome == "failure":
            attempt.word = "failed"
        elif order.captured or order.with_word("authorized"):
            attempt.word = "lapsed"
        else:
            self.model.captured(order, attempt)

    def waiting_for_the_bank(self) -> list[tuple[Order, Attempt]]:
        return [
            (order, attempt)
            for order in self.model.orders
            for attempt in order.with_word("pending", "failed")
            if not attempt.is_old
        ]

    @precondition(lambda self: any(order.with_word("authorized", "captured") for order in self.model.orders))
    @rule(number=st.integers(0, 9), is_true=st.booleans())
    def verify(self, number: int, is_true: bool) -> None:
        """The browser brings the signature once more, or somebody brings one of their own."""
        proven = [order for order in self.model.orders if order.with_word("authorized", "captured")]
        order = proven[number % len(proven)]
        (attempt,) = order.with_word("authorized", "captured")
        signature = self.stage.proof_of(order.provider_order, attempt.id) if is_true else "0" * 64
        body = {
            "razorpay_order_id": order.provider_order,
            "razorpay_payment_id": attempt.id,
            "razorpay_signature": signature,
        }
        answer = self.send(f"/payments/{order.payment_id}/verify", body)
        assert answer.status_code == (200 if is_true else 400), answer.text

    @precondition(lambda self: self.stage.by_hand)
    @rule()
    def what_is_authorised_is_captured_by_us(self) -> None:
        """Two minutes without a capture: the job takes the money for orders that still wait for it."""
        self.run(self.stage.capture_job(troubles=self.troubles))
        for order in self.model.orders:
            if order.status == "awaiting_payment":
                for attempt in order.with_word("authorized"):
                    self.model.captured(order, attempt)

    @precondition(lambda self: self.model.orders)
    @rule(number=st.integers(0, 9), by=st.sampled_from(("owner", "staff")))
    def cancel(self, number: int, by: str) -> None:
        order = self.order(number)
        place = f"/orders/{order.id}/cancel"
        answer = self.send(place) if by == "owner" else self.send_as_staff(f"/admin{place}")
        if order.status in ("shipped", "delivered", "expired"):
            assert expect(409, answer)["code"] == "order_not_cancellable"
        else:
            expect(200, answer)
            self.model.cancelled(order)

    @precondition(lambda self: any(order.status == "awaiting_payment" for order in self.model.orders))
    @rule(number=st.integers(0, 9))
    def time_is_up(self, number: int) -> None:
        waiting = [order for order in self.model.orders if order.status == "awaiting_payment"]
        order = waiting[number % len(waiting)]
        self.run(self.stage.time_is_up(order.id))
        self.model.time_is_up(order)

    @precondition(lambda self: any(order.payment_id for order in self.model.orders))
    @rule(number=st.integers(0, 9), part=st.sampled_from((None, 100, 10_000, 49_850, 10**7)), again=st.booleans())
    def staff_refund(self, number: int, part: int | None, again: bool) -> None:
        opened = [order for order in self.model.orders if order.payment_id]
        order = opened[number % len(opened)]
        key = next(iter(order.refunds)) if again and order.refunds else uuid4().hex
        amount, known = order.refunds.get(key, (part, ""))
        body: Document = {"reason": "Scratched"}
        if amount is not None:
            body["amount"] = {"amount": amount, "currency": "INR"}
        answer = self.send_as_staff(f"/payments/{order.payment_id}/refunds", body, key=key)
        wanted = order.left if amount is None else amount
        if known:
            assert expect(202, answer)["id"] == known
        elif order.left == 0:
            assert answer.json()["code"] == "nothing_to_refund"
        elif wanted > order.left:
            assert answer.json()["code"] == "refund_too_large"
        elif 0 < order.left - wanted < 100:
            assert answer.json()["code"] == "refund_too_small"
        else:
            order.refunds[key] = (amount, expect(202, answer)["id"])
            order.refunded += wanted

    @precondition(lambda self: self.model.orders)
    @rule(number=st.integers(0, 9))
    def ship(self, number: int) -> None:
        order = self.order(number)
        parcel = {"carrier": "India Post", "tracking": f"EE{order.id[:8]}"}
        answer = self.send_as_staff(f"/admin/orders/{order.id}/ship", parcel)
        if order.status == "paid" and order.left == 0:
            assert expect(409, answer)["code"] == "order_not_ready"
        elif order.status in ("paid", "shipped"):
            expect(200, answer)
            order.status = "shipped"
        else:
            assert expect(409, answer)["code"] == "order_not_shippable"

    @precondition(lambda self: self.model.orders)
    @rule(number=st.integers(0, 9))
    def deliver(self, number: int) -> None:
        order = self.order(number)
        answer = self.send_as_staff(f"/admin/orders/{order.id}/deliver")
        if order.status in ("shipped", "delivered"):
            expect(200, answer)
            order.status = "delivered"
        else:
            assert expect(409, answer)["code"] == "order_not_deliverable"

    @rule()
    def hours_pass_at_the_provider(self) -> None:
        self.run(self.shop.provider_is_told("clock/advance", {"seconds": HOURS}))
        self.model.hours_pass_at_the_provider()

    @precondition(lambda self: self.stage.by_hand and self.troubles < TROUBLES)
    @rule(fault=st.sampled_from(FAULTS))
    def provider_has_trouble(self, fault: tuple[str, str]) -> None:
        """At its next call of this kind."""
        self.troubles += 1
        self.run(self.shop.provider_is_told("faults", {"route": fault[0], "action": fault[1]}))

    @invariant()
    def api_agrees_with_the_model(self) -> None:
        if hasattr(self, "model"):
            self.model.settle()
            self.run(self.stage.shows(self.difference, troubles=self.troubles))

    async def difference(self) -> str:
        """What the API shows and the model does not; nothing when they agree."""
        model = self.model
        items = (await self.shopper.cart())["items"]
        orders = (await self.shopper.get("/orders", limit=100))["items"]
        seen = {
            "stock": await self.shop.stock(self.variant),
            "cart": sum(item["quantity"] for item in items),
            "orders": {order["id"]: (order["status"], order["payment_status"]) for order in orders},
            "money": {order.id: await self.money_of(order) for order in model.orders if order.payment_id},
        }
        expected = {
            "stock": {"on_hand": model.on_hand, "reserved": model.reserved, "available": model.available},
            "cart": model.in_cart,
            "orders": {order.id: (order.status, order.payment_status) for order in model.orders},
            "money": {order.id: (order.captured, order.refunded) for order in model.orders if order.payment_id},
        }
        return "" if seen == expected else f"seen {seen}, expected {expected}"

    async def money_of(self, order: Order) -> tuple[int, int]:
        payment = await self.shopper.get(f"/payments/{order.payment_id}")
        return payment["captured"]["amount"], payment["refunded"]["amount"]

    def teardown(self) -> None:
        assert self.run(self.stage.broken(self.promised)) == []


@pytest.fixture
async def by_hand(carried: HandCarriedShop) -> HandCarriedStage:
    return HandCarriedStage(carried, asyncio.get_running_loop())


@pytest.fixture
async def open_stage(own_shop: Shop) -> OpenStage:
    return OpenStage(own_shop, asyncio.get_running_loop())


def test_whatever_people_do_the_shop_agrees_with_the_model(by_hand: HandCarriedStage) -> None:
    """Faults of the provider and lost webhooks included."""
    tell(STORIES, by_hand, steps=STEPS)


def test_the_open_shop_behind_its_gateway_agrees_with_the_model(open_stage: OpenStage) -> None:
    """Fewer and shorter stories, as here everything takes its own time."""
    tell(max(2, STORIES // 8), open_stage, steps=STEPS // 2)


def tell(stories: int, stage: Stage, *, steps: int) -> None:
    print(f"SEED={SEED} STORIES={STORIES}")

    def story() -> Purchases:
        return Purchases(stage)

    run_state_machine_as_test(
        seed(SEED)(story),  # type: ignore[arg-type]  # any factory will do, says its documentation
        settings=settings(
            max_examples=stories,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
