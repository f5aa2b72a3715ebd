"""From a stranger's first look to a paid order, as one shopper lives it."""

from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import PASSWORD, Shopper


async def test_a_stranger_becomes_a_customer_and_buys(shop: Shop) -> None:
    product = await shop.new_product(stock=5, price=129_900)
    variant = product["variants"][0]["id"]

    shopper = shop.visitor()
    found = await shopper.browse(search=product["name"])
    assert found[0]["slug"] == product["slug"]
    detail = await shopper.get(f"/products/{found[0]['slug']}")
    assert detail["variants"][0]["available"] == 5

    cart = await shopper.add_to_cart(variant, 2)
    assert cart["subtotal"] == {"amount": 259_800, "currency": "INR"}
    assert shopper.cart_token, "a guest is given a token for the cart"

    await shopper.register()
    order = await shopper.place_order(expected_total=cart["subtotal"])
    assert order["status"] == "awaiting_payment"
    assert [(item["variant_id"], item["quantity"]) for item in order["items"]] == [(variant, 2)]
    await shop.sees_stock(variant, on_hand=5, reserved=2, available=3)

    payment = await shopper.start_payment(order)
    assert payment["amount"] == order["totals"]["total"]
    handshake = await shopper.pay(payment)
    assert handshake["razorpay_order_id"] == payment["checkout"]["razorpay_order_id"]

    paid = await shopper.sees_order(order["id"], within=5, status="paid", payment_status="paid")
    assert paid["paid_at"] is not None
    await shop.sees_stock(variant, on_hand=3, reserved=0, available=3)
    assert (await shopper.cart())["items"] == []
    assert await _story(shopper, order["id"]) == [
        (None, "awaiting_payment", "customer"),
        ("awaiting_payment", "paid", "system"),
    ]


async def _story(shopper: Shopper, order_id: str) -> list[tuple[str | None, str, str]]:
    timeline = await shopper.get(f"/orders/{order_id}/timeline")
    return [(entry["from_status"], entry["to_status"], entry["actor"]) for entry in timeline["items"]]


async def test_signing_in_brings_the_guest_cart_along(shop: Shop) -> None:
    """The carts are added up once, whether or not the client ever asks for its cart."""
    variant = await shop.new_variant(stock=9)
    regular = await shop.customer()
    await regular.add_to_cart(variant, 3)

    guest = shop.visitor()
    await guest.add_to_cart(variant, 2)
    await guest.sign_in(regular.session["user"]["email"], PASSWORD)

    cart = await guest.cart()
    assert [(item["variant_id"], item["quantity"]) for item in cart["items"]] == [(variant, 5)]
    assert (await regular.cart())["items"][0]["quantity"] == 5


async def test_the_handshake_of_the_checkout_page_pays_too(shop: Shop) -> None:
    """A shopper whose webhook is late need not wait: what the page got from the provider proves the payment."""
    variant = await shop.new_variant()
    shopper = await shop.customer()
    await shopper.add_to_cart(variant)
    order = await shopper.place_order()
    payment = await shopper.start_payment(order)
    handshake = await shopper.pay(payment, outcome="success")

    proof = {name: handshake[name] for name in ("razorpay_order_id", "razorpay_payment_id", "razorpay_signature")}
    verified = await shopper.post(f"/payments/{payment['id']}/verify", proof, status=200)
    assert verified["status"] == "captured"
    again = await shopper.post(f"/payments/{payment['id']}/verify", proof, status=200)
    assert again["captured"] == verified["captured"] == order["totals"]["total"]
    await shopper.sees_order(order["id"], status="paid")


async def test_a_forged_handshake_pays_nothing(shop: Shop) -> None:
    variant = await shop.new_variant()
    shopper = await shop.customer()
    await shopper.add_to_cart(variant)
    order = await shopper.place_order()
    payment = await shopper.start_payment(order)
    forged = {
        "razorpay_order_id": payment["checkout"]["razorpay_order_id"],
        "razorpay_payment_id": "pay_ForgedForged12",
        "razorpay_signature": "0" * 64,
    }

    refusal = await shopper.post(f"/payments/{payment['id']}/verify", forged, status=400)
    assert refusal["code"] == "signature_invalid"
    assert (await shopper.order(order["id"]))["status"] == "awaiting_payment"


async def test_staff_send_a_paid_order_and_the_shopper_follows_it(shop: Shop) -> None:
    variant = await shop.new_variant()
    shopper, staff = await shop.customer(), await shop.staff()
    order = await shopper.buy(variant)
    await shop.sees_stock(variant, on_hand=9, reserved=0)

    async def shipped() -> bool:
        parcel = {"carrier": "India Post", "tracking": "EE123456789IN"}
        answer = await staff.send("POST", f"/api/v1/admin/orders/{order['id']}/ship", json=parcel)
        assert answer.status_code in (200, 409), answer.text
        return answer.is_success

    await eventually(shipped, what="An order that may be sent")
    seen = await shopper.order(order["id"])
    assert (seen["status"], seen["tracking"]["number"]) == ("shipped", "EE123456789IN")
    await staff.post(f"/admin/orders/{order['id']}/deliver", status=200)
    assert (await shopper.order(order["id"]))["status"] == "delivered"


async def test_an_order_keeps_what_was_agreed(shop: Shop) -> None:
    """A later price, name or withdrawal changes no order."""
    product = await shop.new_product(price=10_000)
    variant = product["variants"][0]["id"]
    shopper, staff = await shop.customer(), await shop.staff()
    order = await shopper.buy(variant)

    dearer = {"price": {"amount": 99_900, "currency": "INR"}}
    await staff.send("PATCH", f"/api/v1/products/{product['id']}/variants/{variant}", json=dearer)
    await staff.send("DELETE", f"/api/v1/products/{product['id']}")

    seen = await shopper.order(order["id"])
    assert seen["items"] == order["items"]
    assert seen["totals"]["total"]["amount"] == 10_000
