"""What happens between two steps of a checkout: whatever a request was about to answer, its key may have ordered."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from chassis.ids import derive_id

if TYPE_CHECKING:
    from tests.conftest import OpenShop, Shop


async def test_shortage_answers_the_order_that_its_key_has_made_meanwhile(shop: "Shop") -> None:
    """The shopper wanted three, took two back, and ordered: the first request still asks catalog for three."""
    asha = shop.shopper()
    lamp = shop.catalog.offer(on_hand=2)
    asha.want(lamp, 3)
    others: list[Any] = []

    async def fewer_are_ordered() -> None:
        asha.want(lamp, 1)
        others.append(await asha.order(key="k"))

    shop.catalog.calls_to.once(before=fewer_are_ordered)
    response = await asha.order(key="k")
    assert others[0].status_code == 201
    assert (response.status_code, response.content) == (201, others[0].content)
    assert response.headers["idempotency-replayed"] == "true"
    assert shop.catalog.released() == []


@pytest.mark.parametrize("price", [50, 60_000])
async def test_total_that_is_refused_answers_the_order_that_its_key_has_made_meanwhile(
    shop: "Shop", price: int
) -> None:
    """Too little to be paid, or not what was shown: neither matters once the key has made its order."""
    asha = shop.shopper()
    lamp = shop.catalog.offer(price=50_000)
    asha.want(lamp)
    wish: dict[str, Any] = {"expected_total": {"amount": 50_000, "currency": "INR"}} if price > 100 else {}
    others: list[Any] = []

    async def order_then_change_the_price() -> None:
        others.append(await asha.order(key="k", **wish))
        shop.catalog.variants[lamp].price = price

    shop.catalog.calls_to.once(before=order_then_change_the_price)
    response = await asha.order(key="k", **wish)
    assert (response.status_code, response.content) == (201, others[0].content)
    assert shop.catalog.released() == []


async def test_slow_request_answers_the_order_that_its_key_has_made_meanwhile(open_shop: "OpenShop") -> None:
    """Its own minute (here a second) is over, and the hold is no longer its own to give back."""
    limit = 1.0
    shop = await open_shop(checkout_limit=limit)
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    others: list[Any] = []

    async def order_and_let_the_minute_pass() -> None:
        while not others or others[-1].status_code == 503:
            others.append(await asha.order(key="k"))
        await asyncio.sleep(limit)

    shop.catalog.calls_to.once(after=order_and_let_the_minute_pass)
    response = await asha.order(key="k")
    assert (response.status_code, response.content) == (201, others[-1].content)
    assert shop.catalog.holds() == [response.json()["id"]]


async def test_order_written_between_hold_and_write_by_the_same_key_is_answered(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer(on_hand=1)
    asha.want(lamp)
    others: list[Any] = []

    async def the_same_key_is_faster() -> None:
        others.append(await asha.order(key="k"))

    shop.catalog.calls_to.once(after=the_same_key_is_faster)
    response = await asha.order(key="k")
    assert (response.status_code, response.content) == (201, others[0].content)
    assert shop.catalog.released() == []
    assert await shop.told() == ["order.placed.v1"]
    assert shop.catalog.available(lamp) == 0


async def test_two_faster_orders_in_a_row_are_the_end_of_a_third(shop: "Shop") -> None:
    """Once more from the look into the cart, and then no more: 409, naming the order that came last between."""
    asha = shop.shopper()
    lamp, bowl, vase = (shop.catalog.offer() for _ in range(3))
    asha.want(lamp)
    faster: list[Any] = []

    async def second_time() -> None:
        faster.append(await asha.order(key="second"))
        asha.want(vase)

    async def first_time() -> None:
        faster.append(await asha.order(key="first"))
        asha.want(bowl)
        shop.catalog.calls_to.once(after=second_time)

    shop.catalog.calls_to.once(after=first_time)
    response = await asha.order(key="slow")
    first, second = (answer.json()["id"] for answer in faster)
    assert (response.status_code, response.json()["code"]) == (409, "cart_already_ordered")
    assert response.json()["order_id"] == second
    assert sorted(shop.catalog.holds()) == sorted([first, second])
    assert str(derive_id(asha.user_id, "slow")) not in shop.catalog.holds()
    again = await asha.order(key="slow")
    assert [item["variant_id"] for item in again.json()["items"]] == [vase]
