"""Filling a cart: what goes in, what is refused, and what the shopper sees."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cart.shopper import hash_token
from chassis.database import count_statements
from chassis.ids import new_id
from chassis.plain_sql import driver_connection

if TYPE_CHECKING:
    from tests.conftest import Shop


async def test_newcomer_sees_an_empty_cart_and_nothing_is_stored(shop: "Shop") -> None:
    response = await shop.guest().send("GET", "/cart")
    assert response.status_code == 200
    assert response.json() == {
        "id": None, "version": 0, "currency": "INR", "items": [], "item_count": 0,
        "subtotal": {"amount": 0, "currency": "INR"}, "updated_at": None, "capped": [],
    }  # fmt: skip
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in response.headers
    assert "x-cart-token" not in response.headers
    assert await shop.harness.fetch("SELECT 1 FROM carts") == []


async def test_added_items_are_shown_with_prices_and_totals(shop: "Shop") -> None:
    guest = shop.guest()
    lamp = shop.catalog.offer(price=149_900, available=5, name="Brass lamp, large", image_url="/media/l.webp")
    bowl = shop.catalog.offer(price=2_550)
    assert (await guest.add(lamp, 2)).status_code == 201
    answer = (await guest.add(bowl, 3)).json()
    first = answer["items"][0]
    assert first == {
        "id": first["id"], "variant_id": lamp, "product_id": shop.catalog.variants[lamp]["product_id"],
        "sku": "SKU-0", "name": "Brass lamp, large", "image_url": "/media/l.webp", "quantity": 2,
        "unit_price": {"amount": 149_900, "currency": "INR"},
        "line_total": {"amount": 299_800, "currency": "INR"},
        "available": 5, "price_changed": False, "insufficient_stock": False,
    }  # fmt: skip
    assert answer["subtotal"] == {"amount": 299_800 + 3 * 2_550, "currency": "INR"}
    assert (answer["item_count"], answer["version"], answer["currency"]) == (5, 2, "INR")
    assert answer["updated_at"].endswith("Z")
    assert answer == await guest.cart()


async def test_same_variant_adds_up(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer()
    first = (await user.add(lamp, 2)).json()
    second = (await user.add(lamp, 3)).json()
    assert [item["quantity"] for item in second["items"]] == [5]
    assert second["items"][0]["id"] == first["items"][0]["id"]
    assert second["id"] == first["id"]


async def test_stock_limits_what_goes_in(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer(available=3)
    sold_out = shop.catalog.offer(available=0)
    await user.add(lamp, 2)
    refused = await user.add(lamp, 2)
    assert refused.status_code == 409
    assert refused.json() | {"code": "insufficient_stock", "available": 3, "in_cart": 2} == refused.json()
    refused = await user.add(sold_out)
    assert (refused.status_code, refused.json()["code"], refused.json()["available"]) == (409, "out_of_stock", 0)
    assert await user.quantities() == {lamp: 2}


async def test_unknown_and_withdrawn_variants_are_not_found(shop: "Shop") -> None:
    user = shop.user()
    gone = shop.catalog.offer(is_sellable=False)
    for variant_id in ("0197a000-0000-7000-8000-000000000000", gone):
        refused = await user.add(variant_id)
        assert (refused.status_code, refused.json()["code"]) == (404, "variant_not_found")
    assert (await user.cart())["id"] is None


async def test_a_cart_holds_99_of_a_variant(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer(available=1000)
    await user.add(lamp, 99)
    refused = await user.add(lamp, 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "quantity_limit_reached")
    assert await user.quantities() == {lamp: 99}


async def test_a_cart_holds_50_items(shop: "Shop") -> None:
    guest = shop.guest()
    variants = [shop.catalog.offer() for _ in range(51)]
    for variant_id in variants[:50]:
        assert (await guest.add(variant_id)).status_code == 201
    refused = await guest.add(variants[50])
    assert (refused.status_code, refused.json()["code"]) == (409, "cart_full")
    assert (await guest.add(variants[0])).status_code == 201
    assert [item["variant_id"] for item in (await guest.cart())["items"]] == variants[:50]


async def test_quantity_is_changed_within_stock(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer(available=5)
    item = (await user.add(lamp, 2)).json()["items"][0]
    changed = await user.send("PATCH", f"/cart/items/{item['id']}", {"quantity": 5})
    assert (changed.status_code, changed.json()["items"][0]["quantity"]) == (200, 5)
    refused = await user.send("PATCH", f"/cart/items/{item['id']}", {"quantity": 6})
    assert (refused.status_code, refused.json()["code"], refused.json()["available"]) == (409, "insufficient_stock", 5)
    assert await user.quantities() == {lamp: 5}


async def test_items_are_removed_and_the_cart_is_cleared(shop: "Shop") -> None:
    user = shop.user()
    lamp, bowl, cup = (shop.catalog.offer() for _ in range(3))
    for variant_id in (lamp, bowl, cup):
        await user.add(variant_id)
    first = (await user.cart())["items"][0]
    left = await user.send("DELETE", f"/cart/items/{first['id']}")
    assert [item["variant_id"] for item in left.json()["items"]] == [bowl, cup]
    again = await user.send("DELETE", f"/cart/items/{first['id']}")
    assert (again.status_code, again.json()["code"]) == (404, "cart_item_not_found")
    cleared = await user.send("DELETE", "/cart")
    assert (cleared.status_code, cleared.json()["items"]) == (200, [])
    assert cleared.json()["id"] == left.json()["id"]


async def test_version_rises_with_changes_of_items_and_nothing_else(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer(available=5)
    added = (await user.add(lamp, 2)).json()
    item = added["items"][0]["id"]
    same = (await user.send("PATCH", f"/cart/items/{item}", {"quantity": 2})).json()
    refused = await user.send("PATCH", f"/cart/items/{item}", {"quantity": 9})
    await shop.product(lamp, unit_price=1)
    await shop.stock(lamp, 1)
    assert refused.status_code == 409
    assert added["version"] == same["version"] == (await user.cart())["version"]
    cleared = (await user.send("DELETE", "/cart")).json()
    assert cleared["version"] > added["version"]
    assert (await user.send("DELETE", "/cart")).json()["version"] == cleared["version"]


async def test_changed_price_is_marked_until_the_shopper_adds_again(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer(price=10_000)
    item = (await user.add(lamp)).json()["items"][0]
    await shop.product(lamp, unit_price=12_000)
    seen = (await user.cart())["items"][0]
    assert (seen["unit_price"]["amount"], seen["price_changed"]) == (12_000, True)
    changed = await user.send("PATCH", f"/cart/items/{item['id']}", {"quantity": 2})
    assert changed.json()["items"][0]["price_changed"] is True
    assert changed.json()["subtotal"]["amount"] == 24_000
    added = (await user.add(lamp)).json()["items"][0]
    assert (added["quantity"], added["price_changed"]) == (3, False)


async def test_shrunken_stock_is_marked(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer(available=5)
    await user.add(lamp, 4)
    await shop.stock(lamp, 3)
    seen = (await user.cart())["items"][0]
    assert (seen["quantity"], seen["available"], seen["insufficient_stock"]) == (4, 3, True)


async def test_withdrawn_item_stays_visible_and_can_only_be_removed(shop: "Shop") -> None:
    user = shop.user()
    lamp = shop.catalog.offer()
    item = (await user.add(lamp, 2)).json()["items"][0]
    await shop.withdraw(lamp)
    seen = (await user.cart())["items"][0]
    assert (seen["name"], seen["available"], seen["insufficient_stock"]) == ("Brass lamp", 0, True)
    refused = await user.send("PATCH", f"/cart/items/{item['id']}", {"quantity": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "out_of_stock")
    assert (await user.add(lamp)).json()["code"] == "variant_not_found"
    assert (await user.send("DELETE", f"/cart/items/{item['id']}")).json()["items"] == []


async def test_parallel_adds_of_a_new_user_all_land_in_one_cart(shop: "Shop") -> None:
    user = shop.user()
    lamp, bowl = shop.catalog.offer(available=99), shop.catalog.offer(available=99)
    answers = await asyncio.gather(*(user.add(variant_id) for variant_id in [lamp, bowl] * 10))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await user.quantities() == {lamp: 10, bowl: 10}
    versions = [answer.json()["version"] for answer in answers]
    assert len(set(versions)) == 20


async def test_last_unit_in_stock_goes_into_a_cart_once_per_request_that_fits(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer(available=3)
    answers = await asyncio.gather(*(user.add(lamp) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    assert await user.quantities() == {lamp: 3}


VARIANT = "0197a000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"variant_id": VARIANT, "quantity": "3"}, "/quantity"),
        ({"variant_id": VARIANT, "quantity": True}, "/quantity"),
        ({"variant_id": VARIANT, "quantity": 0}, "/quantity"),
        ({"variant_id": VARIANT, "quantity": -1}, "/quantity"),
        ({"variant_id": VARIANT, "quantity": 100}, "/quantity"),
        ({"variant_id": VARIANT, "quantity": 1.5}, "/quantity"),
        ({"variant_id": VARIANT, "quantity": 10**19}, "/quantity"),
        ({"variant_id": VARIANT}, "/quantity"),
        ({"variant_id": "lamp", "quantity": 1}, "/variant_id"),
        ({"variant_id": 7, "quantity": 1}, "/variant_id"),
        ({"variant_id": VARIANT, "quantity": 1, "unit_price": 1}, "/unit_price"),
        ([], ""),
        (None, ""),
    ],
)
async def test_wrong_input_is_refused_with_its_place(shop: "Shop", body: Any, pointer: str) -> None:
    refused = await shop.user().send("POST", "/cart/items", body)
    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert shop.catalog.calls == []


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_item_id_that_is_no_uuid_is_refused(shop: "Shop", method: str) -> None:
    body = {"quantity": 1} if method == "PATCH" else None
    refused = await shop.user().send(method, "/cart/items/nonsense", body)
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "item_id")


async def test_nobody_touches_items_of_another(shop: "Shop") -> None:
    owner, lamp = shop.user(), shop.catalog.offer()
    guest = shop.guest()
    items = [(await shopper.add(lamp)).json()["items"][0]["id"] for shopper in (owner, guest)]
    for stranger in (shop.user(), shop.guest(), guest):
        for method, body in (("PATCH", {"quantity": 3}), ("DELETE", None)):
            refused = await stranger.send(method, f"/cart/items/{items[0]}", body)
            assert (refused.status_code, refused.json()["code"]) == (404, "cart_item_not_found")
    assert await owner.quantities() == {lamp: 1}
    assert await shop.user().quantities() == {}


async def test_reading_a_cart_is_one_statement(shop: "Shop") -> None:
    user = shop.user()
    for _ in range(3):
        await user.add(shop.catalog.offer())
    in_sessions = count_statements(shop.harness.database)
    in_pool: list[str] = []
    async with shop.harness.database.primary_reads.acquire() as connection:
        connection.add_query_logger(lambda statement: in_pool.append(statement.query))
    await user.cart()
    assert (len(in_pool), in_sessions) == (1, [])


async def test_what_a_purchase_does_to_a_cart_takes_few_statements(shop: "Shop") -> None:
    user, lamp, bowl = shop.user(), shop.catalog.offer(), shop.catalog.offer()
    await user.add(lamp)
    await shop.user().add(bowl)
    seen: list[str] = []

    def note(record: Any) -> None:
        seen.append(record.query)

    async with shop.harness.database.transaction() as session:
        (await driver_connection(session)).add_query_logger(note)

    await asyncio.sleep(0)  # the driver tells of a statement in the loop's next turn
    seen.clear()
    await shop.guest().add(bowl)
    await asyncio.sleep(0)
    assert len(seen) == 1, seen  # A newcomer's cart is made with its first item, and that is the transaction.
    seen.clear()
    await user.add(bowl)
    await asyncio.sleep(0)
    assert len(seen) == 4, seen  # The cart locked with its items, then written, in a transaction.
    guest = shop.guest()
    await guest.add(bowl)
    await asyncio.sleep(0)
    seen.clear()
    answer = await shop.harness.client.post(
        f"/internal/carts/{user.user_id}/checkout",
        json={"orders": [], "guest_token_hash": hash_token(guest.token or "")},
        headers=shop.harness.as_service("orders"),
    )
    assert [item["quantity"] for item in answer.json()["items"]] == [1, 2]
    await asyncio.sleep(0)
    assert len(seen) == 4, seen  # Begun, the guest's cart, the user's, committed with what both are since.
    seen.clear()
    items = [{"variant_id": variant, "quantity": quantity} for variant, quantity in ((lamp, 1), (bowl, 2))]
    order = {"order_id": str(new_id()), "user_id": str(user.user_id), "items": items}
    await shop.harness.deliver("order.placed.v1", order)
    await asyncio.sleep(0)
    assert len(seen) == 4, seen  # Begun with the inbox, cart, what the order took, committed with the cart.
    seen.clear()
    await shop.stock(lamp, 3)
    await asyncio.sleep(0)
    assert len(seen) == 2, seen  # Begun with the inbox, committed with the copy.
    assert await user.quantities() == {}
