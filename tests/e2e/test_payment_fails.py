"""Cards are declined and tabs are closed; neither loses an order, and neither buys anything."""

from tests.patience import eventually
from tests.shop import Shop


async def test_a_declined_card_can_be_followed_by_a_good_one(shop: Shop) -> None:
    """Same order, same payment, one more attempt."""
    variant = await shop.new_variant(stock=3)
    shopper = await shop.customer()
    await shopper.add_to_cart(variant)
    order = await shopper.place_order()
    payment = await shopper.start_payment(order)

    await shopper.pay(payment, outcome="failure")

    async def failure_is_shown() -> bool:
        attempts = (await shopper.get(f"/payments/{payment['id']}"))["attempts"]
        return [attempt["status"] for attempt in attempts] == ["failed"]

    await eventually(failure_is_shown, what="The failed attempt in the payment")
    assert (await shopper.order(order["id"]))["status"] == "awaiting_payment"
    await shop.sees_stock(variant, reserved=1)

    same = await shopper.start_payment(order)
    assert (same["id"], same["checkout"]["razorpay_order_id"]) == (
        payment["id"],
        payment["checkout"]["razorpay_order_id"],
    )
    await shopper.pay(same, method="card", outcome="success")
    await shopper.sees_order(order["id"], status="paid")
    attempts = (await shopper.get(f"/payments/{payment['id']}"))["attempts"]
    assert sorted(attempt["status"] for attempt in attempts) == ["captured", "failed"]


async def test_an_abandoned_checkout_keeps_its_stock_until_it_is_cancelled(shop: Shop) -> None:
    variant = await shop.new_variant(stock=1)
    shopper, rival = await shop.customer(), await shop.customer()
    await shopper.add_to_cart(variant)
    await rival.add_to_cart(variant)
    order = await shopper.place_order()
    await shopper.start_payment(order)

    refused = await rival.try_to_order()
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient_stock")

    await shopper.post(f"/orders/{order['id']}/cancel", status=200)
    await shopper.sees_order(order["id"], status="cancelled", payment_status="unpaid")
    await shop.sees_stock(variant, reserved=0, available=1)
    assert (await rival.place_order())["status"] == "awaiting_payment"


async def test_what_was_not_paid_for_returns_to_the_cart(shop: Shop) -> None:
    variant = await shop.new_variant()
    shopper = await shop.customer()
    await shopper.add_to_cart(variant, 2)
    order = await shopper.place_order()
    await shopper.post(f"/orders/{order['id']}/cancel", status=200)
    await shopper.sees_order(order["id"], status="cancelled")

    async def is_back() -> bool:
        items = (await shopper.cart())["items"]
        return [(item["variant_id"], item["quantity"]) for item in items] == [(variant, 2)]

    await eventually(is_back, what="The cart as it was before the order")


async def test_a_payment_that_the_bank_confirms_late_still_pays(shop: Shop) -> None:
    """UPI answers after minutes; the provider says so by itself, nobody asks the shopper again."""
    variant = await shop.new_variant()
    shopper = await shop.customer()
    await shopper.add_to_cart(variant)
    order = await shopper.place_order()
    payment = await shopper.start_payment(order)
    attempt = await shopper.pay(payment, outcome="late", late_after=1200)
    assert (await shopper.order(order["id"]))["status"] == "awaiting_payment"

    await shop.provider_is_told(f"payments/{attempt['razorpay_payment_id']}/answer", {"outcome": "success"})
    await shopper.sees_order(order["id"], status="paid")
