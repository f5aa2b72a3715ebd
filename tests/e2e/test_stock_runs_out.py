"""Nobody is sold what is not there, and everybody is told precisely."""

from tests.patience import eventually
from tests.shop import Shop


async def test_the_last_piece_goes_to_one_shopper(shop: Shop) -> None:
    variant = await shop.new_variant(stock=1)
    first, second = await shop.customer(), await shop.customer()
    await first.add_to_cart(variant)
    await second.add_to_cart(variant)

    await first.place_order()
    refused = await second.try_to_order()

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (409, "insufficient_stock")
    assert [(item["variant_id"], item["wanted"], item["available"]) for item in problem["shortages"]] == [
        (variant, 1, 0)
    ]
    assert (await second.get("/orders"))["items"] == []


async def test_a_shortage_of_one_item_holds_nothing_of_the_others(shop: Shop) -> None:
    plenty, scarce = await shop.new_variant(stock=9), await shop.new_variant(stock=2)
    shopper, rival = await shop.customer(), await shop.customer()
    await shopper.add_to_cart(plenty, 3)
    await shopper.add_to_cart(scarce, 2)
    await rival.add_to_cart(scarce)
    await rival.place_order()

    refused = await shopper.try_to_order()

    assert [item["variant_id"] for item in refused.json()["shortages"]] == [scarce]
    await shop.sees_stock(plenty, reserved=0)
    await shop.sees_stock(scarce, reserved=1)


async def test_the_cart_warns_before_the_order_does(shop: Shop) -> None:
    variant = await shop.new_variant(stock=4)
    shopper, rival = await shop.customer(), await shop.customer()
    await shopper.add_to_cart(variant, 3)
    await rival.add_to_cart(variant, 2)
    await rival.place_order()

    async def is_marked() -> bool:
        (item,) = (await shopper.cart())["items"]
        return bool(item["insufficient_stock"]) and item["available"] == 2

    await eventually(is_marked, what="The warning in the cart")


async def test_more_than_there_is_cannot_be_put_into_the_cart(shop: Shop) -> None:
    variant = await shop.new_variant(stock=2)
    guest = shop.visitor()

    refused = await guest.send("POST", "/api/v1/cart/items", json={"variant_id": variant, "quantity": 3})
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient_stock")
    assert refused.json()["available"] == 2


async def test_a_new_price_is_shown_before_anything_is_bought(shop: Shop) -> None:
    product = await shop.new_product(price=10_000)
    variant = product["variants"][0]["id"]
    shopper, staff = await shop.customer(), await shop.staff()
    seen = await shopper.add_to_cart(variant)
    dearer = {"price": {"amount": 12_500, "currency": "INR"}}
    await staff.send("PATCH", f"/api/v1/products/{product['id']}/variants/{variant}", json=dearer)

    refused = await shopper.try_to_order(expected_total=seen["subtotal"])

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (409, "price_changed")
    assert problem["quote"]["totals"]["total"]["amount"] == 12_500
    await shop.sees_stock(variant, reserved=0)
    order = await shopper.place_order(expected_total=problem["quote"]["totals"]["total"])
    assert order["totals"]["total"]["amount"] == 12_500
