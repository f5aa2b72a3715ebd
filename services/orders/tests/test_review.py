"""An order that needed a person: staff end its review, and everybody who works here can read how."""

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

NOTE = "The customer keeps the lamp; settled by phone."


async def refunded_though_paid(shop: "Shop") -> dict[str, Any]:
    """An order in review, as its owner sees it."""
    order = await shop.shopper().placed(price=50_000)
    await shop.capture(order)
    await shop.refund("processed", order, version=3, refunded=50_000)
    return order


async def seen(shop: "Shop", order: dict[str, Any]) -> int:
    """The version that staff look at now."""
    return int((await shop.staff("GET", f"/{order['id']}")).json()["version"])


async def end_review(shop: "Shop", order: dict[str, Any], note: str = NOTE, *, version: int | None = None) -> Any:
    body = {"version": version or await seen(shop, order), "note": note}
    return await shop.staff("POST", f"/{order['id']}/review", json=body)


async def in_review(shop: "Shop") -> int:
    outcome = await shop.harness.run_job("orders-in-review")
    return int(outcome.unresolved)


async def test_staff_end_a_review_and_the_alarm_ends_with_it(shop: "Shop") -> None:
    order, other = await refunded_though_paid(shop), await refunded_though_paid(shop)
    before, told = await shop.row(order["id"]), await shop.told()
    assert await in_review(shop) == 2
    response = await end_review(shop, order)
    answer = response.json()
    assert (response.status_code, answer["needs_review"], answer["version"]) == (200, False, before["version"] + 1)
    assert (answer["status"], answer["payment_status"]) == ("paid", "refunded")
    found = (await shop.staff("GET", "?needs_review=true")).json()["items"]
    assert [item["id"] for item in found] == [other["id"]]
    assert await in_review(shop) == 1
    assert await shop.told() == told


async def test_only_staff_see_who_ended_a_review_and_why(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed(price=50_000)
    await shop.capture(order, amount=49_999)
    staff_id = new_id()
    response = await shop.harness.client.post(
        f"/api/v1/admin/orders/{order['id']}/review",
        headers=shop.harness.as_user("staff", user_id=staff_id),
        json={"version": await seen(shop, order), "note": NOTE},
    )
    assert response.status_code == 200, response.text
    before, last = (await shop.staff("GET", f"/{order['id']}/timeline")).json()["items"][-2:]
    assert (before["cause"], before["actor"]) == ("review_needed", "system")
    assert before["note"] == "captured amount or currency differs from the order's"
    assert (last["cause"], last["actor"], last["actor_id"], last["note"]) == ("reviewed", "staff", str(staff_id), NOTE)
    assert (last["from_status"], last["to_status"]) == ("awaiting_payment", "awaiting_payment")
    own = (await asha.send("GET", f"/orders/{order['id']}/timeline")).json()["items"]
    assert [move["cause"] for move in own] == ["placed", "payment_mismatched"]


async def test_what_is_not_in_review_is_refused(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    never = await end_review(shop, order)
    assert (never.status_code, never.json()["code"]) == (409, "order_not_in_review")
    assert "timeline" in never.json()["detail"]
    assert (await shop.row(order["id"]))["version"] == 1
    unknown = await end_review(shop, {"id": str(new_id())}, version=1)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "order_not_found")


async def test_staff_end_only_what_they_have_seen(shop: "Shop") -> None:
    order = await refunded_though_paid(shop)
    version = await seen(shop, order)
    await shop.capture(order, amount=1, payment_version=6)
    refused = await end_review(shop, order, version=version)
    assert (refused.status_code, refused.json()["code"]) == (409, "order_changed")
    assert "timeline" in refused.json()["detail"]
    assert await in_review(shop) == 1
    moves = (await shop.staff("GET", f"/{order['id']}/timeline")).json()["items"]
    assert [move["cause"] for move in moves].count("review_needed") == 2
    assert (await end_review(shop, order, version=moves[-1]["version"])).status_code == 200
    assert await in_review(shop) == 0


async def test_a_cause_that_is_written_while_staff_end_the_review_is_not_ended_with_it(shop: "Shop") -> None:
    order = await refunded_though_paid(shop)
    version = await seen(shop, order)
    connection = await asyncpg.connect(shop.harness.database.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM orders WHERE id = $1 FOR UPDATE", UUID(order["id"]))
            captured = asyncio.create_task(shop.capture(order, amount=1, payment_version=6))
            await shop.until_somebody_waits_for_a_lock()
            ending = asyncio.create_task(end_review(shop, order, version=version))
            await shop.until_somebody_waits_for_a_lock(2)
    finally:
        await connection.close()
    await captured
    assert (await ending).json()["code"] == "order_changed"
    assert await in_review(shop) == 1


async def test_two_who_end_a_review_at_the_same_time_leave_one_note(shop: "Shop") -> None:
    order = await refunded_though_paid(shop)
    version = await seen(shop, order)
    answers = await asyncio.gather(
        *(end_review(shop, order, f"settled by {name}", version=version) for name in ("Ravi", "Meera"))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    moves = (await shop.staff("GET", f"/{order['id']}/timeline")).json()["items"]
    assert [move["cause"] for move in moves].count("reviewed") == 1


async def test_repeated_request_answers_the_same(shop: "Shop") -> None:
    order = await refunded_though_paid(shop)
    staff_id = new_id()
    headers = {**shop.harness.as_user("staff", user_id=staff_id), "idempotency-key": str(new_id())}
    path = f"/api/v1/admin/orders/{order['id']}/review"
    body = {"version": await seen(shop, order), "note": NOTE}
    answers = [await shop.harness.client.post(path, headers=headers, json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


async def test_the_same_cause_again_begins_a_review_again_and_old_news_does_not(shop: "Shop") -> None:
    order = await refunded_though_paid(shop)
    await end_review(shop, order)
    await shop.refund("submitted", order, version=2, refunded=0)
    await shop.refund("processed", order, version=3, refunded=50_000)
    assert await in_review(shop) == 0
    await shop.refund("processed", order, version=5, refunded=50_000)
    assert await in_review(shop) == 1
    assert (await end_review(shop, order)).status_code == 200
    await shop.capture(order, amount=1, payment_version=6)
    assert await in_review(shop) == 1


@pytest.mark.parametrize(
    "change", [{"note": ""}, {"note": "   "}, {"note": "x" * 501}, {"note": None}, {"version": None}, {"version": "1"}]
)
async def test_review_ends_with_a_note_about_what_was_seen(shop: "Shop", change: dict[str, Any]) -> None:
    order = await refunded_though_paid(shop)
    body = {"version": await seen(shop, order), "note": NOTE, **change}
    response = await shop.staff("POST", f"/{order['id']}/review", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "input_invalid")
    assert await in_review(shop) == 1
