"""Cart's copy of the catalogue: the same in any order of news, and enough while catalog is down."""

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Shop

COPY = """
SELECT to_jsonb(variant_copies) || to_jsonb(stock_copies) || to_jsonb(product_copies) AS whole
FROM variant_copies LEFT JOIN stock_copies USING (variant_id) LEFT JOIN product_copies USING (product_id)
ORDER BY variant_id
"""


async def test_known_variant_is_never_asked_for_again(shop: "Shop") -> None:
    lamp = shop.catalog.offer()
    await shop.user().add(lamp)
    shop.catalog.is_down = True
    user = shop.user()
    assert (await user.add(lamp, 2)).status_code == 201
    item = (await user.cart())["items"][0]
    assert (await user.send("PATCH", f"/cart/items/{item['id']}", {"quantity": 3})).status_code == 200
    assert len(shop.catalog.calls) == 1


async def test_variant_known_by_events_needs_no_question(shop: "Shop") -> None:
    lamp = shop.catalog.offer()
    await shop.product(lamp, unit_price=777)
    await shop.stock(lamp, 4)
    shop.catalog.is_down = True
    item = (await shop.user().add(lamp)).json()["items"][0]
    assert (item["unit_price"]["amount"], item["available"], item["image_url"]) == (777, 4, "/media/lamp.webp")


async def test_unknown_variant_while_catalog_is_down_is_503_and_nothing_is_lost(shop: "Shop") -> None:
    known, unknown = shop.catalog.offer(), shop.catalog.offer()
    guest = shop.guest()
    await guest.add(known, 2)
    shop.catalog.is_down = True
    refused = await guest.add(unknown, headers={"idempotency-key": "k"})
    assert (refused.status_code, refused.json()["code"]) == (503, "catalog_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert await guest.quantities() == {known: 2}
    shop.catalog.is_down = False
    repeated = await guest.add(unknown, headers={"idempotency-key": "k"})
    assert repeated.status_code == 201
    assert await guest.quantities() == {known: 2, unknown: 1}


async def test_catalog_that_refuses_the_question_is_503(shop: "Shop") -> None:
    shop.catalog.routes.clear()
    refused = await shop.user().add(shop.catalog.offer())
    assert (refused.status_code, refused.json()["code"]) == (503, "catalog_unavailable")


async def test_product_without_stock_news_is_looked_up(shop: "Shop") -> None:
    lamp = shop.catalog.offer(available=7)
    await shop.product(lamp, unit_price=500)
    item = (await shop.user().add(lamp)).json()["items"][0]
    assert (item["available"], item["unit_price"]["amount"]) == (7, 500)


async def test_answer_older_than_an_event_does_not_win(shop: "Shop") -> None:
    lamp = shop.catalog.offer(price=1, product_version=1, stock_version=1, available=9)
    await shop.stock(lamp, 3, version=5)
    await shop.product(lamp, version=4, unit_price=600)
    await shop.product(lamp, version=2, unit_price=300)
    await shop.stock(lamp, 8, version=4)
    item = (await shop.user().add(lamp)).json()["items"][0]
    assert (item["available"], item["unit_price"]["amount"]) == (3, 600)


async def _product_first(shop: "Shop", lamp: str) -> None:
    await shop.product(lamp, version=2, unit_price=200)


async def _product_later(shop: "Shop", lamp: str) -> None:
    await shop.product(lamp, version=3, unit_price=300)


async def _unlisted(shop: "Shop", lamp: str) -> None:
    await shop.product(lamp, version=4, listed=False)


async def _withdrawn(shop: "Shop", lamp: str) -> None:
    await shop.withdraw(lamp, version=4)


async def _stock_first(shop: "Shop", lamp: str) -> None:
    await shop.stock(lamp, 2, version=2)


async def _stock_later(shop: "Shop", lamp: str) -> None:
    await shop.stock(lamp, 3, version=3)


NEWS = [_product_first, _product_later, _stock_first, _stock_later]


@pytest.mark.parametrize("last", [None, _unlisted, _withdrawn])
async def test_any_order_of_news_ends_in_the_same_copy(shop: "Shop", last: Any) -> None:
    ends = set()
    for order in permutations([*NEWS, last] if last else NEWS):
        await shop.harness.execute("TRUNCATE variant_copies, stock_copies, product_copies CASCADE")
        lamp = next(iter(shop.catalog.variants), None) or shop.catalog.offer()
        for tell in (*order, order[0]):
            await tell(shop, lamp)
        ends.add(tuple(row["whole"] for row in await shop.harness.fetch(COPY)))
    assert len(ends) == 1


@pytest.mark.parametrize("end", [_unlisted, _withdrawn])
async def test_what_is_no_longer_sold_comes_back_with_newer_news(shop: "Shop", end: Any) -> None:
    lamp, user = shop.catalog.offer(), shop.user()
    await user.add(lamp)
    await end(shop, lamp)
    assert (await user.cart())["items"][0]["available"] == 0
    assert (await user.add(lamp)).status_code == 404
    await shop.product(lamp, version=5)
    assert (await user.cart())["items"][0]["available"] == 10


async def test_inactive_variant_and_inactive_product_are_not_sold(shop: "Shop") -> None:
    lamp, user = shop.catalog.offer(), shop.user()
    await user.add(lamp)
    await shop.product(lamp, version=2, is_active=False)
    assert (await user.add(lamp)).status_code == 404


async def test_event_about_a_product_that_cart_cannot_read_changes_nothing(shop: "Shop") -> None:
    lamp, user = shop.catalog.offer(), shop.user()
    await user.add(lamp)
    product_id = shop.catalog.variants[lamp]["product_id"]
    with pytest.raises(Exception, match="version"):
        await shop.harness.deliver("product.withdrawn.v1", {"product_id": product_id, "version": "soon"})
    assert (await user.cart())["items"][0]["available"] == 10
