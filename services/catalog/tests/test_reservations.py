"""Reserving over HTTP: all or nothing, repeatable, and never the last piece twice."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from catalog.postgres_stockroom import PostgresStockroom
from catalog.reservations import hold
from chassis.ids import new_id
from chassis.plain_sql import driver_connection

if TYPE_CHECKING:
    from tests.conftest import Shop


async def test_reserving_quotes_in_the_order_asked(shop: "Shop") -> None:
    kurta = await shop.product("Cotton Kurta", variants=[shop.variant(options={"size": "M", "colour": "Blue"})])
    mat = await shop.product("Yoga Mat", variants=[shop.variant(price=99_900)])
    order = new_id()
    ids = [shop.first(mat), shop.first(kurta)]

    answer = await shop.reserve(order, {ids[0]: 2, ids[1]: 1})

    assert answer.status_code == 200
    quote = answer.json()
    assert (quote["order_id"], quote["hold"], quote["currency"]) == (str(order), 1, "INR")
    assert [item["variant_id"] for item in quote["items"]] == [str(key) for key in ids]
    assert quote["items"][0] == {
        "variant_id": str(ids[0]), "product_id": mat["id"], "sku": mat["variants"][0]["sku"], "name": "Yoga Mat",
        "image_url": None, "quantity": 2, "unit_price": 99_900,
    }  # fmt: skip
    assert quote["items"][1]["name"] == "Cotton Kurta (M / Blue)"
    assert await shop.stock(ids[0]) == (10, 2)
    assert await shop.status(order) == "held"


async def test_a_shortage_holds_nothing_and_says_what_is_missing(shop: "Shop") -> None:
    plenty, scarce = await shop.variants(10, 1)
    unknown, order = new_id(), new_id()

    answer = await shop.reserve(order, {plenty: 2, scarce: 3, unknown: 1})

    assert (answer.status_code, answer.json()["code"]) == (409, "insufficient_stock")
    assert answer.json()["shortages"] == [
        {"variant_id": str(scarce), "wanted": 3, "available": 1},
        {"variant_id": str(unknown), "wanted": 1, "available": 0, "reason": "variant_not_found"},
    ]
    assert await shop.stock(plenty) == (10, 0)
    assert await shop.status(order) == "released"
    assert shop.harness.counted("haat_stock_refusals_total") == 1


async def test_what_is_no_longer_sold_counts_as_missing(shop: "Shop") -> None:
    product = await shop.product()
    variant = shop.first(product)
    await shop.write("PATCH", f"/products/{product['id']}", {"is_active": False})

    answer = await shop.reserve(new_id(), {variant: 1})

    assert answer.status_code == 409
    assert answer.json()["shortages"][0]["reason"] == "variant_not_found"


async def test_a_repeated_put_sets_the_items_anew_and_counts(shop: "Shop") -> None:
    first, second = await shop.variants(10, 10)
    order = new_id()
    await shop.reserve(order, {first: 3})

    answer = await shop.reserve(order, {first: 1, second: 4})

    assert answer.json()["hold"] == 2
    assert await shop.stock(first) == (10, 1)
    assert await shop.stock(second) == (10, 4)


async def test_its_own_hold_is_available_to_the_order_itself(shop: "Shop") -> None:
    (variant,) = await shop.variants(5)
    order = new_id()
    await shop.reserve(order, {variant: 5})
    before = len(await shop.told("stock.changed.v1"))

    assert (await shop.reserve(order, {variant: 5})).status_code == 200
    assert await shop.stock(variant) == (5, 5)
    assert len(await shop.told("stock.changed.v1")) == before, "what is available did not change"


async def test_a_put_that_meets_a_shortage_gives_back_what_was_held(shop: "Shop") -> None:
    (variant,) = await shop.variants(5)
    order = new_id()
    await shop.reserve(order, {variant: 2})

    assert (await shop.reserve(order, {variant: 6})).status_code == 409
    assert await shop.stock(variant) == (5, 0)
    assert await shop.status(order) == "released"
    assert (await shop.reserve(order, {variant: 4})).json()["hold"] == 3


async def test_a_release_frees_only_the_hold_it_saw(shop: "Shop") -> None:
    (variant,) = await shop.variants(5)
    order = new_id()
    await shop.reserve(order, {variant: 2})
    await shop.reserve(order, {variant: 2})

    assert (await shop.release(order, hold=1)).status_code == 204
    assert await shop.status(order) == "held", "another request of the same key has taken it over"
    assert (await shop.release(order, hold=2)).status_code == 204
    assert await shop.status(order) == "released"
    assert await shop.stock(variant) == (5, 0)
    assert (await shop.release(new_id(), hold=1)).status_code == 204


async def test_a_confirmed_hold_is_not_released(shop: "Shop") -> None:
    (variant,) = await shop.variants(5)
    order = new_id()
    await shop.reserve(order, {variant: 2})
    await shop.order_event("placed", order, {variant: 2})

    await shop.release(order, hold=1)

    assert await shop.status(order) == "held confirmed"


@pytest.mark.parametrize("event", ["placed", "paid", "cancelled", "expired"])
async def test_after_any_order_event_a_put_is_refused(shop: "Shop", event: str) -> None:
    (variant,) = await shop.variants(5)
    order = new_id()
    await shop.order_event(event, order, {variant: 1})

    answer = await shop.reserve(order, {variant: 2})

    assert (answer.status_code, answer.json()["code"]) == (409, "reservation_decided")


async def test_fifty_buyers_for_ten_pieces(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    orders = [new_id() for _ in range(50)]

    answers = await asyncio.gather(*(shop.reserve(order, {variant: 1}) for order in orders))

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [409] * 40
    assert await shop.stock(variant) == (10, 10)
    assert [await shop.status(order) for order in orders].count("held") == 10
    assert await shop.broken_invariants() == []


async def test_opposite_orders_of_items_do_not_deadlock(shop: "Shop") -> None:
    first, second = await shop.variants(500, 500)
    pairs = [{first: 1, second: 1}, {second: 1, first: 1}] * 20

    answers = await asyncio.gather(*(shop.reserve(new_id(), pair) for pair in pairs))

    assert {answer.status_code for answer in answers} == {200}
    assert await shop.stock(first) == await shop.stock(second) == (500, 40)


async def test_selling_out_and_coming_back_is_seen_in_the_list(shop: "Shop") -> None:
    category = (await shop.category())["id"]
    variants = [shop.variant(price=100, stock=1, options={"size": "S"}), shop.variant(price=200, options={"size": "M"})]
    product = await shop.product("Kurta", category=category, variants=variants)
    cheap, order = shop.first(product), new_id()

    await shop.reserve(order, {cheap: 1})
    (listed,) = (await shop.get("/products")).json()["items"]
    assert (listed["price"]["amount"], listed["in_stock"]) == (200, True), "what can be bought now"

    await shop.release(order, hold=1)
    (listed,) = (await shop.get("/products")).json()["items"]
    assert (listed["price"]["amount"], listed["default_variant_id"]) == (100, str(cheap))


async def test_a_purchase_takes_few_statements(shop: "Shop") -> None:
    first, second, third = await shop.variants(10, 10, 10)
    order, items = new_id(), {first: 1, second: 1, third: 1}
    await shop.reserve(new_id(), items)  # A fresh connection asks the database about its types.
    seen = await _statements(shop)

    await shop.reserve(order, items)
    await asyncio.sleep(0)  # the driver tells of a statement in the loop's next turn
    # Begun; reservation, levels, counters; committed with the reservation's new state and the events.
    assert len(seen) <= 5, seen

    for event, most in (("placed", 3), ("paid", 4)):
        seen.clear()
        await shop.order_event(event, order, items)
        await asyncio.sleep(0)
        # Begun with the inbox; reservation, counters with ledger when it is paid; committed with what is new and told.
        assert len(seen) <= most, seen
        assert not [text for text in seen if "stock_levels" in text and event == "placed"], "nothing moves"


async def test_a_hold_that_changed_during_the_wait_is_given_back_as_it_is(shop: "Shop") -> None:
    first, second = await shop.variants(10, 10)
    order = new_id()
    await shop.reserve(order, {first: 1})
    async with shop.harness.database.transaction() as session:
        await hold(PostgresStockroom(session), order_id=order, wanted={second: 2})
        placed = asyncio.create_task(shop.order_event("placed", order, {first: 1}))
        await _somebody_waits(shop)
    await placed
    assert (await shop.stock(first), await shop.stock(second)) == ((10, 1), (10, 0))
    assert await shop.broken_invariants() == []


async def _statements(shop: "Shop") -> list[str]:
    """A list that grows by every round trip of the one connection that is open."""
    seen: list[str] = []

    def note(record: Any) -> None:
        seen.append(record.query)

    async with shop.harness.database.transaction() as session:
        (await driver_connection(session)).add_query_logger(note)
    await asyncio.sleep(0)  # the driver tells of a statement in the loop's next turn
    seen.clear()
    return seen


async def _somebody_waits(shop: "Shop") -> None:
    waiting: list[Any] = []
    while not waiting:
        waiting = await shop.harness.fetch("SELECT 1 FROM pg_locks WHERE NOT granted")


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"variant_id": "x", "quantity": 1}],
        [{"variant_id": "0199b7a0-0000-7000-8000-000000000000", "quantity": 0}],
        [{"variant_id": "0199b7a0-0000-7000-8000-000000000000", "quantity": 100}],
        [{"variant_id": "0199b7a0-0000-7000-8000-000000000000", "quantity": 1}] * 2,
    ],
)
async def test_what_is_no_reservation_is_refused(shop: "Shop", items: list[object]) -> None:
    answer = await shop.harness.client.put(
        f"/internal/reservations/{new_id()}", json={"items": items}, headers=shop.harness.as_service("orders")
    )
    assert answer.status_code == 422


async def test_only_orders_reserves(shop: "Shop") -> None:
    path = f"/internal/reservations/{new_id()}"
    for headers, status in (({}, 401), (shop.staff, 401), (shop.harness.as_service("cart"), 403)):
        answer = await shop.harness.client.put(path, json={"items": []}, headers=headers)
        assert answer.status_code == status
