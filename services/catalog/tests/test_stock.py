"""Staff count stock; every movement is in the ledger."""

import asyncio
from typing import TYPE_CHECKING

from catalog.answers import LowStockPage, MovementPage
from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop


async def test_an_adjustment_changes_what_is_on_hand_and_is_remembered(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    await shop.reserve(order, {variant: 4})

    answer = await shop.adjust(variant, -3)

    assert answer.status_code == 201
    stock = answer.json()
    assert (stock["on_hand"], stock["reserved"], stock["available"]) == (7, 4, 3)
    assert (await shop.get(f"/inventory/{variant}", staff=True)).json() == stock
    await shop.order_event("paid", order, {variant: 4})
    page = (await shop.get(f"/inventory/{variant}/movements", staff=True)).json()
    assert MovementPage.model_validate(page).model_dump(mode="json", exclude_unset=True) == page
    assert [(row["kind"], row["delta"], row["on_hand"], row["reason"], row["order_id"]) for row in page["items"]] == [
        ("committed", -4, 3, None, str(order)),
        ("adjustment", -3, 7, "counted", None),
        ("initial", 10, 10, None, None),
    ]


async def test_never_below_what_orders_hold(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    await shop.reserve(new_id(), {variant: 4})
    answer = await shop.adjust(variant, -7)
    assert (answer.status_code, answer.json()["code"], answer.json()["reserved"]) == (409, "stock_below_reserved", 4)
    assert await shop.stock(variant) == (10, 4)
    assert (await shop.adjust(variant, 1_000_000)).json()["code"] == "stock_above_limit"


async def test_one_key_adjusts_once(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    answers = await asyncio.gather(*(shop.adjust(variant, 5, key="delivery-7") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert await shop.stock(variant) == (15, 0)
    missing = await shop.write("POST", f"/inventory/{variant}/adjustments", {"delta": 1, "reason": "x"})
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_required")


async def test_parallel_adjustments_and_reservations_add_up(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    await asyncio.gather(
        *(shop.adjust(variant, 1) for _ in range(10)), *(shop.reserve(new_id(), {variant: 1}) for _ in range(10))
    )
    assert await shop.stock(variant) == (20, 10)
    assert await shop.broken_invariants() == []


async def test_what_is_no_adjustment_is_refused(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    headers = {"idempotency-key": "k"}
    for body in ({"delta": 0, "reason": "x"}, {"delta": "1", "reason": "x"}, {"delta": 1}, {"delta": 1, "reason": " "}):
        answer = await shop.write("POST", f"/inventory/{variant}/adjustments", body, headers=headers)
        assert answer.status_code == 422
    for path in (f"/inventory/{new_id()}", f"/inventory/{new_id()}/movements"):
        assert (await shop.get(path, staff=True)).json()["code"] == "variant_not_found"


async def test_what_runs_low_is_listed_scarcest_first(shop: "Shop") -> None:
    plenty, low, out, gone = await shop.variants(50, 3, 0, 2)
    rows = (await shop.get("/products/low-stock", staff=True, count="true")).json()
    assert LowStockPage.model_validate(rows).model_dump(mode="json") == rows
    assert [row["variant_id"] for row in rows["items"]] == [str(out), str(gone), str(low)]
    assert (rows["total"], rows["total_is_capped"]) == (3, False)
    product = (await shop.get("/products/thing-2")).json()
    await shop.write("DELETE", f"/products/{product['id']}")
    await shop.reserve(new_id(), {plenty: 46})

    seen, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = (await shop.get("/products/low-stock", staff=True, **params)).json()
        seen += [row["variant_id"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [str(out), str(low), str(plenty)]


async def test_the_threshold_decides_what_is_low(shop: "Shop") -> None:
    product = await shop.product()
    path = f"/products/{product['id']}/variants/{product['variants'][0]['id']}"
    await shop.write("PATCH", path, {"low_stock_threshold": 10})
    assert len((await shop.get("/products/low-stock", staff=True)).json()["items"]) == 1


async def test_the_ledger_is_read_in_pages(shop: "Shop") -> None:
    (variant,) = await shop.variants(1)
    for _ in range(4):
        await shop.adjust(variant, 1)
    path = f"/inventory/{variant}/movements"
    first = (await shop.get(path, staff=True, limit=3)).json()
    await shop.adjust(variant, 1)
    rest = (await shop.get(path, staff=True, limit=3, cursor=first["next_cursor"])).json()
    assert [row["on_hand"] for row in first["items"] + rest["items"]] == [5, 4, 3, 2, 1]
    assert rest["next_cursor"] is None
    assert (await shop.get(path, staff=True, cursor="nonsense")).json()["code"] == "cursor_invalid"
