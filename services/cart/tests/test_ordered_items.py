"""Orders take from the cart once and give back at most once, in whatever order the news arrives."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop, Shopper


class Order:
    """An order of a user as the events and the checkout call tell of it."""

    def __init__(self, shop: "Shop", user: "Shopper", items: dict[str, int]) -> None:
        self.id = str(new_id())
        self.shop = shop
        self.user = user
        self.items = [{"variant_id": variant, "quantity": quantity} for variant, quantity in items.items()]

    async def placed(self) -> None:
        """The event of its placing."""
        details = {"product_id": str(new_id()), "sku": "S", "name": "Lamp", "price_at_purchase": 100}
        await self._deliver(
            "order.placed.v1", {"version": 1, "items": [{**item, **details} for item in self.items], "total": 100}
        )

    async def closed(self, *, was_paid: bool = False, event: str = "order.cancelled.v1") -> None:
        """The event of its end."""
        await self._deliver(event, {"version": 3, "was_paid": was_paid, "reason": "cancelled", "items": self.items})

    async def _deliver(self, event: str, data: dict[str, Any]) -> None:
        whole = {"order_id": self.id, "user_id": str(self.user.user_id), "cart_id": str(new_id()), **data}
        await self.shop.harness.deliver(event, whole, subject=self.id)

    def named(self, *, is_closed: bool = False, was_paid: bool = False) -> dict[str, Any]:
        """As the checkout call names it."""
        return {"order_id": self.id, "items": self.items, "is_closed": is_closed, "was_paid": was_paid}


async def _checkout(
    shop: "Shop", user: "Shopper", *orders: dict[str, Any], guest: "Shopper | None" = None
) -> dict[str, Any]:
    token_hash = hashlib.sha256(guest.token.encode()).hexdigest() if guest and guest.token else None
    response = await shop.harness.client.post(
        f"/internal/carts/{user.user_id}/checkout",
        json={"guest_token_hash": token_hash, "orders": list(orders)},
        headers=shop.harness.as_service("orders"),
    )
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_checkout_tells_what_there_is_to_order(shop: "Shop") -> None:
    user, lamp, bowl = shop.user(), shop.catalog.offer(), shop.catalog.offer()
    await user.add(lamp, 2)
    seen = (await user.add(bowl, 1)).json()
    assert await _checkout(shop, user) == {
        "cart_id": seen["id"], "version": seen["version"], "currency": "INR",
        "items": [{"variant_id": lamp, "quantity": 2}, {"variant_id": bowl, "quantity": 1}],
        "acknowledged": [], "taken_by": None,
    }  # fmt: skip


async def test_checkout_of_a_user_without_a_cart_is_empty_and_keeps_its_id(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    empty = await _checkout(shop, user)
    assert (empty["items"], empty["version"], empty["taken_by"]) == ([], 0, None)
    assert (await user.add(lamp)).json()["id"] == empty["cart_id"]


async def test_checkout_merges_the_guests_cart(shop: "Shop") -> None:
    user, guest, lamp = shop.user(), shop.guest(), shop.catalog.offer()
    await guest.add(lamp, 2)
    answer = await _checkout(shop, user, guest=guest)
    assert answer["items"] == [{"variant_id": lamp, "quantity": 2}]
    assert await guest.quantities() == {}


async def test_guests_item_comes_in_where_an_order_took_the_same_variant_a_moment_ago(shop: "Shop") -> None:
    """The order's event is under way: one call takes the user's lamps out and the guest's in."""
    user, guest, lamp = shop.user(), shop.guest(), shop.catalog.offer()
    await user.add(lamp, 2)
    await guest.add(lamp, 3)
    answer = await _checkout(shop, user, Order(shop, user, {lamp: 2}).named(), guest=guest)
    assert (answer["items"], answer["taken_by"]) == ([{"variant_id": lamp, "quantity": 3}], None)
    assert await user.quantities() == {lamp: 3}
    assert await guest.quantities() == {}


async def test_checkout_applies_an_order_whose_event_is_under_way(shop: "Shop") -> None:
    user, lamp, bowl = shop.user(), shop.catalog.offer(), shop.catalog.offer()
    await user.add(lamp, 2)
    order = Order(shop, user, {lamp: 2})
    emptied = await _checkout(shop, user, order.named())
    assert (emptied["items"], emptied["taken_by"], emptied["acknowledged"]) == ([], order.id, [])
    await user.add(bowl)
    answer = await _checkout(shop, user, order.named())
    assert (answer["items"], answer["taken_by"]) == ([{"variant_id": bowl, "quantity": 1}], None)
    await order.placed()
    assert await user.quantities() == {bowl: 1}


async def test_cart_emptied_by_its_owner_was_not_taken(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    await user.add(lamp, 2)
    await Order(shop, user, {lamp: 2}).placed()
    assert (await _checkout(shop, user))["taken_by"] is not None
    await user.add(lamp)
    await user.send("DELETE", "/cart")
    assert (await _checkout(shop, user))["taken_by"] is None


async def test_order_takes_only_what_is_there(shop: "Shop") -> None:
    user = shop.user()
    lamp, bowl, cup = (shop.catalog.offer() for _ in range(3))
    order = Order(shop, user, {lamp: 2, bowl: 3, cup: 1})
    await user.add(lamp, 5)
    await user.add(bowl, 1)
    await order.placed()
    assert await user.quantities() == {lamp: 3}
    await order.closed()
    assert await user.quantities() == {lamp: 5, bowl: 1}


PLACED: Callable[[Order], Awaitable[None]] = Order.placed


async def _closed(order: Order) -> None:
    await order.closed()


async def _expired(order: Order) -> None:
    await order.closed(event="order.expired.v1")


async def _named_open(order: Order) -> None:
    await _checkout(order.shop, order.user, order.named())


async def _named_closed(order: Order) -> None:
    answer = await _checkout(order.shop, order.user, order.named(is_closed=True))
    assert answer["acknowledged"] == [order.id]


@pytest.mark.parametrize("news", [*permutations([PLACED, PLACED, _closed, _named_open])])
async def test_unpaid_order_leaves_no_trace_in_any_order_of_news(shop: "Shop", news: Any) -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    await user.add(lamp, 3)
    order = Order(shop, user, {lamp: 2})
    for tell in news:
        await tell(order)
    assert await user.quantities() == {lamp: 3}


@pytest.mark.parametrize("end", [_closed, _expired, _named_closed])
@pytest.mark.parametrize("other", [_closed, _expired, _named_closed])
async def test_order_gives_back_once_whoever_tells(shop: "Shop", end: Any, other: Any) -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    await user.add(lamp, 3)
    order = Order(shop, user, {lamp: 2})
    await order.placed()
    await end(order)
    await other(order)
    await order.placed()
    assert await user.quantities() == {lamp: 3}


@pytest.mark.parametrize("placed_first", [True, False])
async def test_paid_order_that_is_cancelled_keeps_what_it_took(shop: "Shop", placed_first: bool) -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    await user.add(lamp, 3)
    order = Order(shop, user, {lamp: 2})
    if placed_first:
        await order.placed()
    await order.closed(was_paid=True)
    await order.placed()
    assert await user.quantities() == {lamp: 1}
    answer = await _checkout(shop, user, order.named(is_closed=True, was_paid=True))
    assert answer["acknowledged"] == [order.id]


async def test_paid_order_need_not_be_named_again(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    await user.add(lamp, 2)
    order = Order(shop, user, {lamp: 2})
    answer = await _checkout(shop, user, order.named(was_paid=True))
    assert (answer["acknowledged"], answer["items"]) == ([order.id], [])


async def test_what_comes_back_adds_up_to_99_and_ignores_stock_that_the_order_held(shop: "Shop") -> None:
    user = shop.user()
    lamp, bowl = shop.catalog.offer(available=99), shop.catalog.offer(available=2)
    await user.add(lamp, 60)
    await user.add(bowl, 2)
    order = Order(shop, user, {lamp: 60, bowl: 2})
    await order.placed()
    await user.add(lamp, 60)
    await shop.stock(bowl, 0)
    await order.closed()
    cart = await user.cart()
    assert {item["variant_id"]: item["quantity"] for item in cart["items"]} == {lamp: 99, bowl: 2}
    assert [item["insufficient_stock"] for item in cart["items"]] == [False, True]


async def test_returned_item_still_shows_that_its_price_changed(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer(price=100)
    await user.add(lamp)
    order = Order(shop, user, {lamp: 1})
    await order.placed()
    await shop.product(lamp, unit_price=120)
    await order.closed()
    assert (await user.cart())["items"][0]["price_changed"] is True


async def test_one_checkout_undoes_one_order_and_applies_another(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    await user.add(lamp, 3)
    one, other = Order(shop, user, {lamp: 3}), Order(shop, user, {lamp: 1})
    await one.placed()
    answer = await _checkout(shop, user, one.named(is_closed=True), other.named(), other.named())
    assert (answer["items"], answer["acknowledged"]) == ([{"variant_id": lamp, "quantity": 2}], [one.id])
    again = await _checkout(shop, user, other.named(is_closed=True), one.named(is_closed=True))
    assert again["items"] == [{"variant_id": lamp, "quantity": 3}]


async def test_one_checkout_gives_back_what_another_order_takes_whole(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    await user.add(lamp, 3)
    one, other = Order(shop, user, {lamp: 3}), Order(shop, user, {lamp: 3})
    await one.placed()
    answer = await _checkout(shop, user, one.named(is_closed=True), other.named())
    assert (answer["items"], answer["taken_by"], answer["acknowledged"]) == ([], other.id, [one.id])
    again = await _checkout(shop, user, other.named(is_closed=True))
    assert again["items"] == [{"variant_id": lamp, "quantity": 3}]


async def test_version_rises_when_an_order_takes_and_stays_when_it_finds_nothing(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer()
    before = (await user.add(lamp)).json()["version"]
    await Order(shop, user, {shop.catalog.offer(): 1}).placed()
    assert (await user.cart())["version"] == before
    await Order(shop, user, {lamp: 1}).placed()
    assert (await user.cart())["version"] > before


async def test_event_and_checkout_at_once_take_once(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer(available=99)
    await user.add(lamp, 50)
    order = Order(shop, user, {lamp: 5})
    calls = [_checkout(shop, user, order.named()) for _ in range(5)]
    await asyncio.gather(*calls, *(order.placed() for _ in range(3)), *(user.add(lamp) for _ in range(5)))
    assert await user.quantities() == {lamp: 50}


async def test_only_orders_may_ask_for_a_checkout(shop: "Shop") -> None:
    user = shop.user()
    path = f"/internal/carts/{user.user_id}/checkout"
    body: dict[str, Any] = {"guest_token_hash": None, "orders": []}
    client, harness = shop.harness.client, shop.harness
    assert (await client.post(path, json=body)).status_code == 401
    assert (await client.post(path, json=body, headers=harness.as_service("payments"))).status_code == 403
    assert (await client.post(path, json=body, headers=harness.as_user("admin"))).status_code == 401
    wrong = {"guest_token_hash": "short", "orders": []}
    assert (await client.post(path, json=wrong, headers=harness.as_service("orders"))).status_code == 422
