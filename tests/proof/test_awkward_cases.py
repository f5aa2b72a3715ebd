"""The awkward cases of a purchase, one test each: two things at once, too early, too late, twice, or not at all.

After each test every invariant holds in all databases, and the provider's ledger balances.
"""

import asyncio
from collections import Counter
from uuid import UUID, uuid4

import pytest

from tests.hand_carried import HandCarriedShop, together
from tests.purchase import PRICE, Purchase
from tests.shopper import API, HOME

MINUTES_OF_PATIENCE = "UPDATE attempts SET first_seen_at = first_seen_at - interval '16 minutes'"


@pytest.mark.parametrize("first", ["webhook", "redirect"])
async def test_webhook_before_redirect_and_redirect_before_webhook(carried: HandCarriedShop, first: str) -> None:
    purchase = await Purchase.begun(carried)
    proof = await purchase.pay()
    captured = (await purchase.webhooks(proof))["payment.captured"]
    if first == "webhook":
        await carried.hand_on(captured)
    await purchase.brings(proof)
    await carried.hand_on(captured)
    await carried.carry()
    assert await purchase.stands() == ("paid", "paid")
    assert await carried.moves(purchase.order) == ["T1", "T3"]


async def test_webhook_before_the_answer_of_order_create(carried: HandCarriedShop) -> None:
    """Payments has not even heard of the order when the provider already tells of its payment."""
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper = await carried.customer()
    await shopper.add_to_cart(variant)
    order = await shopper.place_order()
    payment = await shopper.start_payment(order)
    webhooks = await carried.webhooks_about(await shopper.pay(payment))
    await together(carried.hand_on(webhook) for webhook in webhooks.values())
    captured = await carried.take("payment.captured → orders", order)
    await carried.deliver(captured)
    assert (await shopper.order(order["id"]))["status"] == "paid"
    # The news that it was placed comes last of all.
    await carried.carry(order)
    assert (await shopper.order(order["id"]))["status"] == "paid"
    assert await carried.stock(variant) == {"on_hand": 9, "reserved": 0, "available": 9}


async def test_duplicate_click_with_the_same_key(carried: HandCarriedShop) -> None:
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper, key = await carried.customer(), uuid4().hex
    await shopper.add_to_cart(variant)
    answers = await asyncio.gather(*(shopper.try_to_order(key=key) for _ in range(6)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert len((await shopper.get("/orders"))["items"]) == 1


async def test_duplicate_click_with_another_key(carried: HandCarriedShop) -> None:
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper = await carried.customer()
    await shopper.add_to_cart(variant)
    answers = await asyncio.gather(*(shopper.try_to_order() for _ in range(6)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 5}
    (order,) = (answer.json() for answer in answers if answer.status_code == 201)
    named = {(answer.json()["code"], answer.json()["order_id"]) for answer in answers if answer.status_code == 409}
    assert named == {("cart_already_ordered", order["id"])}
    assert await carried.stock(variant) == {"on_hand": 10, "reserved": 1, "available": 9}


async def test_two_browser_tabs_pay_the_same_razorpay_order(carried: HandCarriedShop) -> None:
    """The provider refuses the second while one is authorised; what slips through is given back."""
    await carried.provider_is_told("variants", {"late_second_payment": "captured"})
    purchase = await Purchase.begun(carried)
    slow = await purchase.pay(outcome="late")
    statuses = sorted(await asyncio.gather(*(purchase.try_to_pay() for _ in range(4))))
    assert statuses == [200, 400, 400, 400]
    await purchase.bank_says_yes(slow)
    await carried.settle()
    assert await purchase.stands() == ("paid", "partially_refunded")
    assert (await purchase.taken(), await purchase.returned()) == (2, purchase.total)


async def test_a_second_payment_that_razorpay_gives_back_by_itself(carried: HandCarriedShop) -> None:
    """It comes with a refund and webhooks like any other, and the order stays paid by the first."""
    purchase = await Purchase.begun(carried)
    slow = await purchase.pay(outcome="late")
    proof = await purchase.pay()
    await purchase.bank_says_yes(slow)
    for attempt in (proof, slow):
        await together(carried.hand_on(webhook) for webhook in (await purchase.webhooks(attempt)).values())
    await carried.settle()
    assert await purchase.stands() == ("paid", "paid")
    assert not await purchase.needs_review()
    assert await purchase.taken() == 1
    assert (await purchase.ship())["status"] == "shipped"


async def test_failed_then_captured(carried: HandCarriedShop) -> None:
    """The same payment at the provider: `failed` is not its last word."""
    purchase = await Purchase.begun(carried)
    tried = await purchase.pay(outcome="failure")
    await carried.settle()
    assert (await purchase.stands())[0] == "awaiting_payment"
    await purchase.bank_says_yes(tried)
    await carried.settle()
    assert await purchase.stands() == ("paid", "paid")
    assert len(await purchase.attempts()) == 1


async def test_capture_after_expired(carried: HandCarriedShop) -> None:
    purchase = await Purchase.begun(carried)
    await carried.expire(purchase.order)
    await carried.settle()
    assert await purchase.stands() == ("expired", "unpaid")
    await purchase.pay()
    await carried.settle()
    assert await purchase.stands() == ("expired", "refunded")
    assert await purchase.returned() == purchase.total
    assert await purchase.stock() == (10, 0)
    (item,) = (await purchase.shopper.cart())["items"]
    assert item["quantity"] == 1


async def test_capture_while_closing_for_want_of_money(carried: HandCarriedShop) -> None:
    """The stock is still held, so the order is paid after all."""
    purchase = await Purchase.begun(carried)
    await carried.expire(purchase.order)
    assert (await purchase.stands())[0] == "closing"
    await purchase.pay()
    await carried.settle()
    assert await purchase.stands() == ("paid", "paid")
    assert await carried.moves(purchase.order) == ["T1", "T4", "T5"]
    assert await purchase.stock() == (9, 0)


async def test_capture_while_closing_for_a_cancel(carried: HandCarriedShop) -> None:
    purchase = await Purchase.begun(carried)
    await purchase.cancel()
    await purchase.pay()
    await carried.settle()
    assert await purchase.stands() == ("cancelled", "refunded")
    assert await purchase.returned() == purchase.total


async def test_refund_event_before_capture_event(carried: HandCarriedShop) -> None:
    """The first that is heard of a payment is that it went back, and nobody here had asked for that."""
    purchase = await Purchase.begun(carried)
    proof = await purchase.pay()
    await purchase.refunded_in_dashboard(proof)
    webhooks = await purchase.webhooks(proof)
    for event in ("refund.processed", "refund.created", "payment.captured", "payment.authorized"):
        await carried.hand_on(webhooks[event])
    await carried.carry()
    assert await purchase.stands() == ("paid", "refunded")
    assert await purchase.needs_review()


@pytest.mark.parametrize("found_by", ["webhook", "job"])
async def test_refund_made_in_razorpays_dashboard(carried: HandCarriedShop, found_by: str) -> None:
    """Recognised as somebody else's, shown to the shopper, and never made a second time."""
    purchase, proof = await Purchase.paid(carried)
    await purchase.refunded_in_dashboard(proof, amount=20_000)
    webhooks = await purchase.webhooks(proof)
    if found_by == "webhook":
        await together(carried.hand_on(webhook) for webhook in webhooks.values())
    else:
        await carried.job("payments", "sweep")
        await carried.job("payments", "returns")
    await carried.settle()
    assert await purchase.stands() == ("paid", "partially_refunded")
    assert not await purchase.needs_review()
    await purchase.cancel()
    await carried.settle()
    assert await purchase.returned() == purchase.total, "only the rest went back"


async def test_price_changes_after_the_order(carried: HandCarriedShop) -> None:
    purchase = await Purchase.begun(carried)
    await _price_becomes(carried, purchase.variant, PRICE + 10_000)
    await purchase.pay()
    await carried.settle()
    assert await purchase.stands() == ("paid", "paid")
    (attempt,) = await purchase.attempts()
    assert attempt["amount"] == PRICE


async def test_price_changes_before_the_order(carried: HandCarriedShop) -> None:
    """What the shopper was shown is not what it costs now: nothing is ordered, and nothing stays held."""
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper = await carried.customer()
    await shopper.add_to_cart(variant)
    await _price_becomes(carried, variant, PRICE + 10_000)
    shown = {"amount": PRICE, "currency": "INR"}
    answer = await shopper.try_to_order(expected_total=shown)
    assert (answer.status_code, answer.json()["code"]) == (409, "price_changed")
    now = answer.json()["quote"]["totals"]["total"]
    assert now == {"amount": PRICE + 10_000, "currency": "INR"}
    assert (await carried.stock(variant))["reserved"] == 0
    assert (await shopper.place_order(expected_total=now))["totals"]["total"] == now


async def _price_becomes(shop: HandCarriedShop, variant: str, amount: int) -> None:
    (row,) = await shop.services["catalog"].fetch("SELECT product_id FROM variants WHERE id = $1", UUID(variant))
    change = {"price": {"amount": amount, "currency": "INR"}}
    staff = await shop.staff()
    answer = await staff.send("PATCH", f"{API}/products/{row['product_id']}/variants/{variant}", json=change)
    assert answer.is_success, answer.text
    await shop.carry()


async def test_catalog_down_while_ordering(carried: HandCarriedShop) -> None:
    """503 and no order; the same key works once catalog is back."""
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper, key = await carried.customer(), uuid4().hex
    await shopper.add_to_cart(variant)
    with carried.away("catalog"):
        headers = {"idempotency-key": key}
        answer = await shopper.send("POST", f"{API}/orders", json={"shipping_address": HOME}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
    assert answer.headers["retry-after"]
    assert (await shopper.get("/orders"))["items"] == []
    assert (await shopper.place_order(key=key))["status"] == "awaiting_payment"


async def test_payments_down_after_ordering(carried: HandCarriedShop) -> None:
    """The order waits; when payments is back it hears of it and can be paid."""
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper = await carried.customer()
    await shopper.add_to_cart(variant)
    with carried.away("payments"):
        order = await shopper.place_order()
        for consumer in ("catalog", "cart", "orders"):
            await carried.carry(order, to=consumer)
    assert (await shopper.order(order["id"]))["status"] == "awaiting_payment"
    await carried.carry(order)
    await shopper.pay(await shopper.start_payment(order))
    await carried.settle()
    assert (await shopper.order(order["id"]))["status"] == "paid"


async def test_provider_down_while_closing(carried: HandCarriedShop) -> None:
    """The order closes without the provider's last word, and what comes later goes back."""
    purchase = await Purchase.begun(carried)
    await carried.expire(purchase.order)
    await carried.carry(purchase.order)
    await carried.provider_is_told("faults", {"route": "orders.payments", "action": "html", "times": 0})
    await carried.job("payments", "closing")
    await carried.carry(purchase.order)
    assert (await purchase.stands())[0] == "closing"
    webhooks = await purchase.webhooks(await purchase.pay())
    await carried.pass_closing_limits(purchase.order)
    await carried.job("orders", "closing-limit")
    await carried.carry(purchase.order)
    assert (await purchase.stands())[0] == "expired"
    await carried.hand_on(webhooks["payment.captured"])
    await carried.settle()
    assert await purchase.stands() == ("expired", "refunded")
    assert await purchase.returned() == purchase.total


async def test_an_attempt_nobody_answers_keeps_a_closing_order_for_a_quarter_of_an_hour(
    carried: HandCarriedShop,
) -> None:
    """Until then it may still succeed; after that it counts as nothing."""
    purchase = await Purchase.begun(carried)
    await purchase.pay(outcome="late", late_after=86_400)
    await purchase.poll()
    await purchase.cancel()
    await carried.carry(purchase.order)
    await carried.job("payments", "closing")
    await carried.carry(purchase.order)
    assert (await purchase.stands())[0] == "closing"
    await carried.services["payments"].execute(MINUTES_OF_PATIENCE)
    await carried.settle()
    assert await purchase.stands() == ("cancelled", "unpaid")


async def test_amount_mismatch(carried: HandCarriedShop) -> None:
    """Less was taken than the order costs: it is not paid, the money goes back, and a person is called."""
    await carried.provider_is_told("variants", {"smaller_capture": "allowed"})
    purchase = await Purchase.begun(carried)
    proof = await purchase.pay(outcome="authorize_only")
    body = {"amount": purchase.total - 5_000, "currency": "INR"}
    attempt = proof["razorpay_payment_id"]
    captured = await asyncio.to_thread(carried.provider.request, "POST", f"/v1/payments/{attempt}/capture", body=body)
    assert captured.status == 200
    await carried.settle()
    assert (await purchase.stands())[0] == "awaiting_payment"
    assert await purchase.needs_review()
    assert await purchase.returned() == purchase.total - 5_000
    again = await purchase.shopper.post("/payments", {"order_id": purchase.id}, status=200)
    assert again["checkout"] is None, "the provider's order is paid, so nobody is asked to pay it again"
