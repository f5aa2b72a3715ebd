"""Placing an order: what the shopper gets, what the others are told, and what is refused."""

import hashlib
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from sqlalchemy import text

if TYPE_CHECKING:
    from tests.conftest import OpenShop, Shop

OFFICE = {
    "recipient_name": "Asha at work", "line1": "1 MG Road", "line2": None, "city": "Pune",
    "state": "Maharashtra", "postal_code": "411002", "country": "IN", "phone": "+912012345678",
}  # fmt: skip


async def test_order_holds_what_was_in_the_cart_at_catalogs_prices(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp, bowl = shop.catalog.offer(price=149_900), shop.catalog.offer(price=20_050)
    asha.want(lamp, 2)
    asha.want(bowl, 1)
    response = await asha.order(note="Ring twice", expected_total={"amount": 319_850, "currency": "INR"})
    order = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/v1/orders/{order['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert order["status"] == "awaiting_payment"
    assert order["payment_status"] == "unpaid"
    assert re.fullmatch(r"HT-[2-9B-Z]{4}-[2-9B-Z]{3}", order["number"])
    assert [(item["variant_id"], item["quantity"], item["line_total"]["amount"]) for item in order["items"]] == [
        (lamp, 2, 299_800),
        (bowl, 1, 20_050),
    ]
    assert {name: money["amount"] for name, money in order["totals"].items()} == {
        "subtotal": 319_850, "discount": 0, "shipping": 0, "tax": 0, "total": 319_850,
    }  # fmt: skip
    assert order["shipping_address"]["recipient_name"] == "Asha Rao"
    assert (order["note"], order["billing_address"], order["tracking"]) == ("Ring twice", None, None)


async def test_others_are_told_all_they_need(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed(price=30_000, quantity=3)
    (placed,) = await shop.harness.events()
    assert (placed.type, placed.subject, placed.sequence) == ("order.placed.v1", order["id"], 1)
    assert placed.correlationid == order["id"]
    assert placed.data["user_id"] == str(asha.user_id)
    assert (placed.data["cart_id"], placed.data["cart_version"]) == (shop.cart.of(asha.user_id).id, 1)
    assert placed.data["items"][0].items() >= {"quantity": 3, "price_at_purchase": 30_000}.items()
    assert (placed.data["total"], placed.data["currency"]) == (90_000, "INR")
    assert (placed.data["placed_at"], placed.data["pay_by"]) == (order["placed_at"], order["pay_by"])


async def test_free_order_is_paid_at_once_without_a_payment(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed(price=0)
    assert (order["status"], order["payment_status"]) == ("paid", "paid")
    assert order["paid_at"] is not None
    placed, paid = await shop.harness.events()
    assert (placed.type, placed.sequence, paid.type, paid.sequence) == ("order.placed.v1", 1, "order.paid.v1", 2)
    assert (paid.data["payment_id"], paid.data["attempt_id"]) == (None, None)
    cancelled = (await asha.send("POST", f"/orders/{order['id']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    last = (await shop.harness.events())[-1]
    assert (last.type, last.sequence, last.data["was_paid"]) == ("order.cancelled.v1", 3, True)


@pytest.mark.parametrize("price", [1, 99])
async def test_total_below_the_providers_minimum_is_refused_and_nothing_stays_held(shop: "Shop", price: int) -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer(price=price))
    response = await asha.order()
    assert (response.status_code, response.json()["code"]) == (422, "total_too_small")
    assert shop.catalog.holds() == []
    assert await shop.told() == []


async def test_total_of_one_rupee_is_taken(shop: "Shop") -> None:
    order = await shop.shopper().placed(price=100)
    assert order["status"] == "awaiting_payment"


async def test_empty_cart_is_refused(shop: "Shop") -> None:
    response = await shop.shopper().order()
    assert (response.status_code, response.json()["code"]) == (409, "cart_empty")
    assert shop.catalog.calls == []


async def test_shortage_is_told_per_item_and_nothing_is_ordered(shop: "Shop") -> None:
    asha = shop.shopper()
    plenty, scarce = shop.catalog.offer(on_hand=10), shop.catalog.offer(on_hand=1)
    asha.want(plenty, 2)
    asha.want(scarce, 3)
    response = await asha.order()
    assert (response.status_code, response.json()["code"]) == (409, "insufficient_stock")
    assert response.json()["shortages"] == [{"variant_id": scarce, "wanted": 3, "available": 1}]
    assert shop.catalog.holds() == []
    shop.catalog.variants[scarce].on_hand = 3
    assert (await asha.order()).status_code == 201


async def test_price_change_is_told_with_the_new_quote_and_frees_the_hold(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer(price=60_000)
    asha.want(lamp, 2)
    expected = {"amount": 100_000, "currency": "INR"}
    response = await asha.order(key="k1", expected_total=expected)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (409, "price_changed")
    assert problem["quote"]["totals"]["total"] == {"amount": 120_000, "currency": "INR"}
    assert problem["quote"]["items"][0]["price_at_purchase"] == {"amount": 60_000, "currency": "INR"}
    assert shop.catalog.holds() == []
    shop.catalog.variants[lamp].price = 50_000
    assert (await asha.order(key="k1", expected_total=expected)).status_code == 201


async def test_total_in_another_currency_is_a_changed_price(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer(price=60_000))
    response = await asha.order(expected_total={"amount": 60_000, "currency": "USD"})
    assert (response.status_code, response.json()["code"]) == (409, "price_changed")


async def test_address_book_is_asked_and_its_address_kept(shop: "Shop") -> None:
    asha = shop.shopper()
    address_id = str(uuid4())
    shop.accounts.addresses[str(asha.user_id), address_id] = OFFICE
    asha.want(shop.catalog.offer())
    order = (await asha.order(shipping_address=None, shipping_address_id=address_id)).json()
    shop.accounts.addresses.clear()
    assert (await asha.send("GET", f"/orders/{order['id']}")).json()["shipping_address"] == OFFICE


async def test_somebody_elses_address_is_not_found(shop: "Shop") -> None:
    asha, ravi = shop.shopper(), shop.shopper()
    address_id = str(uuid4())
    shop.accounts.addresses[str(ravi.user_id), address_id] = {"recipient_name": "Ravi"}
    asha.want(shop.catalog.offer())
    response = await asha.order(shipping_address=None, shipping_address_id=address_id)
    assert (response.status_code, response.json()["code"]) == (404, "address_not_found")
    assert shop.catalog.calls == []


@pytest.mark.parametrize("sent_as", ["header", "cookie"])
async def test_guest_cart_carried_along_is_ordered_too(shop: "Shop", sent_as: str) -> None:
    asha, lamp, token = shop.shopper(), shop.catalog.offer(), "guest-token-of-some-length"
    shop.cart.guests[hashlib.sha256(token.encode()).hexdigest()] = {lamp: 2}
    headers = {"x-cart-token": token} if sent_as == "header" else {"cookie": f"cart_token={token}"}
    response = await asha.order(headers=headers)
    assert response.status_code == 201
    assert [(item["variant_id"], item["quantity"]) for item in response.json()["items"]] == [(lamp, 2)]
    assert ("cart_token=" in response.headers.get("set-cookie", "")) is (sent_as == "cookie")


@pytest.mark.parametrize("service", ["cart", "catalog", "accounts"])
async def test_neighbour_that_is_down_is_503_and_the_same_key_works_later(shop: "Shop", service: str) -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    address_id = str(uuid4())
    shop.accounts.addresses[str(asha.user_id), address_id] = OFFICE
    wish: dict[str, Any] = {"shipping_address": None, "shipping_address_id": address_id}
    getattr(shop, service).is_down = True
    response = await asha.order(key="k", **wish)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert response.json()["upstream"] == service
    assert "retry-after" in response.headers
    getattr(shop, service).is_down = False
    assert (await asha.order(key="k", **wish)).status_code == 201


@pytest.mark.parametrize("service", ["cart", "catalog", "accounts"])
async def test_neighbour_that_refuses_the_question_is_503(shop: "Shop", service: str) -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    fake = getattr(shop, service)
    fake.routes = dict.fromkeys(fake.routes, (422, {"code": "input_invalid"}))
    wish: dict[str, Any] = {"shipping_address": None, "shipping_address_id": str(uuid4())}
    wish = wish if service == "accounts" else {}
    response = await asha.order(**wish)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert response.json()["upstream"] == service


async def test_slow_checkout_is_refused_by_the_databases_clock_and_frees_its_hold(open_shop: "OpenShop") -> None:
    shop = await open_shop(checkout_limit=0)
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    response = await asha.order()
    assert (response.status_code, response.json()["code"]) == (503, "checkout_took_too_long")
    assert shop.catalog.holds() == []
    assert await shop.told() == []


async def test_no_other_service_is_called_inside_a_transaction(shop: "Shop") -> None:
    asha = shop.shopper()
    address_id = str(uuid4())
    shop.accounts.addresses[str(asha.user_id), address_id] = OFFICE
    seen: list[tuple[str, int]] = []

    for fake in (shop.accounts, shop.cart, shop.catalog):
        for (method, path), answer in list(fake.routes.items()):

            async def watched(request: Any, body: Any, answer: Any = answer) -> Any:
                seen.append((request.method, await shop.idle_transactions()))
                answered = answer(request, body)
                return await answered if hasattr(answered, "__await__") else answered

            fake.routes[method, path] = watched

    first = await asha.placed()
    asha.want(shop.catalog.offer(price=500))
    wish: dict[str, Any] = {"shipping_address": None, "shipping_address_id": address_id}
    await asha.order(**wish, expected_total={"amount": 1, "currency": "INR"})
    assert (await asha.order(**wish)).status_code == 201
    assert [method for method, _ in seen] == ["POST", "PUT", "GET", "POST", "PUT", "DELETE", "GET", "POST", "PUT"]
    assert [count for _, count in seen] == [0] * 9
    assert first["status"] == "awaiting_payment"


async def test_the_watch_for_open_transactions_sees_one(shop: "Shop") -> None:
    async with shop.harness.database.transaction() as session:
        await session.execute(text("SELECT 1"))
        assert await shop.idle_transactions() == 1
    assert await shop.idle_transactions() == 0
