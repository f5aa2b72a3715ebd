"""What payments is told about the worth of orders, for its daily statement."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

PATH = "/internal/order-totals"


def around_now() -> str:
    """A day from half a day ago to half a day ahead, as query parameters."""
    now = datetime.now(UTC)
    half = timedelta(hours=12)
    begin, end = ((now + step).isoformat().replace("+00:00", "Z") for step in (-half, half))
    return f"paid_from={begin}&paid_before={end}"


async def ask(shop: "Shop", query: str) -> dict[str, Any]:
    answer = await shop.harness.client.get(f"{PATH}?{query}", headers=shop.harness.as_service("payments"))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_orders_paid_in_a_time_are_told_page_by_page_whatever_became_of_them(shop: "Shop") -> None:
    paid = [await shop.shopper().placed() for _ in range(3)]
    unpaid = await shop.shopper().placed()
    attempts = {order["id"]: await shop.capture(order) for order in paid}
    await shop.staff("POST", f"/{paid[0]['id']}/cancel", json={})

    window = f"{around_now()}&limit=2"
    first = await ask(shop, window)
    rest = await ask(shop, f"{window}&cursor={first['next_cursor']}")
    told = [*first["items"], *rest["items"]]

    assert (len(first["items"]), rest["next_cursor"]) == (2, None)
    assert {item["id"]: item["paying_attempt_id"] for item in told} == attempts
    assert len(told) == 3
    assert unpaid["id"] not in {item["id"] for item in told}
    states = {item["id"]: item["status"] for item in told}
    assert states[paid[0]["id"]] == "cancelled"
    assert {item["total"] for item in told} == {paid[0]["totals"]["total"]["amount"]}


async def test_orders_paid_at_another_time_are_not_among_them(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    await shop.capture(order)
    assert (await ask(shop, "paid_from=2026-01-01T00:00:00Z&paid_before=2026-01-02T00:00:00Z"))["items"] == []


async def test_orders_are_told_by_id_and_unknown_ones_left_out(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    answer = await shop.harness.client.post(
        PATH, json={"ids": [order["id"], str(new_id())]}, headers=shop.harness.as_service("payments")
    )
    (item,) = answer.json()["items"]
    assert (item["id"], item["paying_attempt_id"], item["paid_at"]) == (order["id"], None, None)


async def test_only_payments_asks(shop: "Shop") -> None:
    answer = await shop.harness.client.get(f"{PATH}?{around_now()}", headers=shop.harness.as_service("cart"))
    assert answer.status_code == 403
    answer = await shop.harness.client.get(PATH, headers=shop.harness.as_service("payments"))
    assert answer.status_code == 422
