"""Minds change. Money and goods go back where they came from, exactly once."""

from uuid import uuid4

from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import Document, Shopper


async def returned(shop: Shop, payment: Document) -> int:
    """How much the provider has given back of all attempts at this payment."""
    place = payment["checkout"]["razorpay_order_id"]
    return sum(
        attempt["amount_refunded"] for attempt in (await shop.ledger())["payments"] if attempt["order_id"] == place
    )


async def order_and_payment(shop: Shop, shopper: Shopper, variant: str, quantity: int = 1) -> tuple[Document, Document]:
    """An order with its checkout, not yet paid."""
    await shopper.add_to_cart(variant, quantity)
    order = await shopper.place_order()
    return order, await shopper.start_payment(order)


async def test_cancelling_an_unpaid_order_frees_its_stock(shop: Shop) -> None:
    variant = await shop.new_variant(stock=5)
    shopper = await shop.customer()
    await shopper.add_to_cart(variant, 4)
    order = await shopper.place_order()
    await shop.sees_stock(variant, reserved=4)

    answer = await shopper.post(f"/orders/{order['id']}/cancel", {"reason": "Ordered the wrong size"}, status=200)
    assert answer["status"] in ("closing", "cancelled")
    await shopper.sees_order(order["id"], status="cancelled")
    await shop.sees_stock(variant, on_hand=5, reserved=0)

    refused = await shopper.send("POST", "/api/v1/payments", json={"order_id": order["id"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "order_not_payable")
    again = await shopper.post(f"/orders/{order['id']}/cancel", status=200)
    assert again["status"] == "cancelled", "cancelling twice is cancelling once"


async def test_cancelling_a_paid_order_returns_money_and_goods(shop: Shop) -> None:
    variant = await shop.new_variant(stock=5)
    shopper = await shop.customer()
    order, payment = await order_and_payment(shop, shopper, variant, 2)
    await shopper.pay(payment)
    await shopper.sees_order(order["id"], status="paid")
    await shop.sees_stock(variant, on_hand=3, reserved=0)

    answer = await shopper.post(f"/orders/{order['id']}/cancel", status=200)
    assert answer["status"] == "cancelled"
    await shopper.sees_order(order["id"], payment_status="refunded")
    await shop.sees_stock(variant, on_hand=5, reserved=0)
    assert await returned(shop, payment) == order["totals"]["total"]["amount"]
    seen = await shopper.get(f"/payments/{payment['id']}")
    assert (seen["status"], seen["refunded"]) == ("refunded", order["totals"]["total"])


async def test_money_that_comes_after_the_cancel_goes_back(shop: Shop) -> None:
    """The shopper cancels in one tab while the bank still thinks about the other."""
    variant = await shop.new_variant(stock=5)
    shopper = await shop.customer()
    order, payment = await order_and_payment(shop, shopper, variant)
    attempt = await shopper.pay(payment, outcome="failure")
    await shopper.post(f"/orders/{order['id']}/cancel", status=200)
    await shopper.sees_order(order["id"], status="cancelled")

    await shop.provider_is_told(f"payments/{attempt['razorpay_payment_id']}/answer", {"outcome": "success"})

    async def all_is_back() -> bool:
        return bool(await returned(shop, payment) == order["totals"]["total"]["amount"])

    await eventually(all_is_back, what="The return of the late payment", within=30)
    await shopper.sees_order(order["id"], status="cancelled", payment_status="refunded")
    await shop.sees_stock(variant, on_hand=5, reserved=0)


async def test_staff_refund_a_part_once_however_often_they_ask(shop: Shop) -> None:
    variant = await shop.new_variant(price=100_000)
    shopper, staff = await shop.customer(), await shop.staff()
    order, payment = await order_and_payment(shop, shopper, variant)
    await shopper.pay(payment)
    await shopper.sees_order(order["id"], status="paid")
    place, key = f"/payments/{payment['id']}/refunds", uuid4().hex
    part = {"amount": {"amount": 30_000, "currency": "INR"}, "reason": "Scratched on arrival"}

    first = await staff.post(place, part, status=202, key=key)
    second = await staff.post(place, part, status=202, key=key)
    assert first["id"] == second["id"]
    await shopper.sees_order(order["id"], status="paid", payment_status="partially_refunded")
    assert await returned(shop, payment) == 30_000

    too_much = {"amount": {"amount": 70_001, "currency": "INR"}, "reason": "All of it and more"}
    refused = await staff.send("POST", f"/api/v1{place}", json=too_much, headers={"idempotency-key": uuid4().hex})
    assert refused.status_code in (409, 422), refused.text
    assert await returned(shop, payment) == 30_000


async def test_goodwill_after_delivery_changes_the_money_and_not_the_order(shop: Shop) -> None:
    variant = await shop.new_variant(stock=5, price=100_000)
    shopper, staff = await shop.customer(), await shop.staff()
    order, payment = await order_and_payment(shop, shopper, variant)
    await shopper.pay(payment)
    await is_sent(staff, order)
    await staff.post(f"/admin/orders/{order['id']}/deliver", status=200)
    goodwill = {"amount": {"amount": 20_000, "currency": "INR"}, "reason": "It came a week late"}

    await staff.post(f"/payments/{payment['id']}/refunds", goodwill, status=202, key=uuid4().hex)

    await shopper.sees_order(order["id"], status="delivered", payment_status="partially_refunded")
    assert await returned(shop, payment) == 20_000
    assert (await staff.get(f"/admin/orders/{order['id']}"))["needs_review"] is False
    await shop.sees_stock(variant, on_hand=4, reserved=0)


async def test_a_refund_made_in_the_providers_dashboard_is_seen_and_counts(shop: Shop) -> None:
    """Whoever gives money back behind the shop's back: the shop knows, and never gives back more than is left."""
    variant = await shop.new_variant(price=100_000)
    shopper, staff = await shop.customer(), await shop.staff()
    order, payment = await order_and_payment(shop, shopper, variant)
    attempt = await shopper.pay(payment)
    await shopper.sees_order(order["id"], status="paid")

    await shop.provider_is_told(f"payments/{attempt['razorpay_payment_id']}/refund", {"amount": 30_000})

    await shopper.sees_order(order["id"], status="paid", payment_status="partially_refunded")
    rest = {"amount": {"amount": 70_001, "currency": "INR"}, "reason": "More than is left"}
    place = f"/api/v1/payments/{payment['id']}/refunds"
    refused = await staff.send("POST", place, json=rest, headers={"idempotency-key": uuid4().hex})
    assert (refused.status_code, refused.json()["code"]) == (409, "refund_too_large")
    await shopper.post(f"/orders/{order['id']}/cancel", status=200)
    await shopper.sees_order(order["id"], status="cancelled", payment_status="refunded")
    assert await returned(shop, payment) == 100_000


async def is_sent(staff: Shopper, order: Document) -> None:
    """Wait until the order can be sent, and send it."""

    async def sent() -> bool:
        parcel = {"carrier": "India Post", "tracking": "EE1"}
        return (await staff.send("POST", f"/api/v1/admin/orders/{order['id']}/ship", json=parcel)).is_success

    await eventually(sent, what="An order that may be sent")


async def test_what_was_sent_cannot_be_cancelled(shop: Shop) -> None:
    variant = await shop.new_variant()
    shopper, staff = await shop.customer(), await shop.staff()
    order = await shopper.buy(variant)
    await is_sent(staff, order)
    refused = await shopper.send("POST", f"/api/v1/orders/{order['id']}/cancel", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "order_not_cancellable")
