"""Reading and sending orders over HTTP: who sees what, in which order, and what input is refused."""

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from tests.conftest import Shop

SHIPMENT = {"carrier": "Bluedart", "tracking": "BD-77"}


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/timeline"), ("POST", "/cancel")])
async def test_somebody_elses_order_is_not_found(shop: "Shop", method: str, path: str) -> None:
    order = await shop.shopper().placed()
    ravi = shop.shopper()
    foreign = await ravi.send(method, f"/orders/{order['id']}{path}")
    unknown = await ravi.send(method, f"/orders/{uuid4()}{path}")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "order_not_found")
    assert foreign.json()["detail"] == unknown.json()["detail"]
    assert (await ravi.send("GET", "/orders")).json()["items"] == []
    assert (await shop.row(order["id"]))["status"] == "awaiting_payment"


async def test_my_orders_come_newest_first_page_by_page(shop: "Shop") -> None:
    asha = shop.shopper()
    placed = [(await asha.placed())["id"] for _ in range(5)]
    await shop.shopper().placed()
    first = (await asha.send("GET", "/orders?limit=2&count=true")).json()
    assert (first["total"], first["total_is_capped"]) == (5, False)
    newer = (await asha.placed())["id"]
    second = (await asha.send("GET", f"/orders?limit=2&cursor={first['next_cursor']}")).json()
    third = (await asha.send("GET", f"/orders?limit=2&cursor={second['next_cursor']}")).json()
    seen = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert seen == placed[::-1]
    assert newer not in seen
    assert third["next_cursor"] is None
    assert first["items"][0] == (await asha.send("GET", f"/orders/{placed[-1]}")).json()


async def test_my_orders_by_status(shop: "Shop") -> None:
    asha = shop.shopper()
    unpaid, paid = await asha.placed(), await asha.placed()
    await shop.capture(paid)
    for status, order in (("awaiting_payment", unpaid), ("paid", paid)):
        items = (await asha.send("GET", f"/orders?status={status}")).json()["items"]
        assert [item["id"] for item in items] == [order["id"]]


async def test_cursor_belongs_to_its_list(shop: "Shop") -> None:
    asha, ravi = shop.shopper(), shop.shopper()
    for _ in range(2):
        await asha.placed()
    cursor = (await asha.send("GET", "/orders?limit=1")).json()["next_cursor"]
    for response in (
        await ravi.send("GET", f"/orders?cursor={cursor}"),
        await asha.send("GET", f"/orders?status=paid&cursor={cursor}"),
        await asha.send("GET", "/orders?cursor=x"),
        await shop.staff("GET", f"?cursor={cursor}"),
    ):
        assert (response.status_code, response.json()["code"]) == (400, "cursor_invalid")


async def test_staff_find_orders_by_what_people_say(shop: "Shop") -> None:
    asha = shop.shopper()
    order, other = await asha.placed(), await shop.shopper().placed()
    await shop.capture(other)

    async def found(**query: str) -> list[str]:
        response = await shop.staff("GET", "", params=query)
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["items"]]

    said = order["number"].removeprefix("HT-").replace("-", " ").lower()
    assert await found(number=said) == [order["id"]]
    assert await found(number=order["number"]) == [order["id"]]
    assert await found(number="nonsense") == []
    assert await found(user_id=str(asha.user_id)) == [order["id"]]
    assert await found(status="paid") == [other["id"]]
    assert await found() == [other["id"], order["id"]]
    assert await found(placed_from=other["placed_at"]) == [other["id"]]
    assert await found(placed_before=other["placed_at"]) == [order["id"]]


async def test_staff_page_through_all_orders(shop: "Shop") -> None:
    placed = [(await shop.shopper().placed())["id"] for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": "2", "count": "true"}
    while query.get("cursor", "first"):
        page = (await shop.staff("GET", "", params=query)).json()
        seen += [item["id"] for item in page["items"]]
        assert page["total"] == 5
        query["cursor"] = page["next_cursor"]
    assert seen == placed[::-1]


async def test_staff_see_whose_order_it_is_and_who_moved_it(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    shown = (await shop.staff("GET", f"/{order['id']}")).json()
    assert shown.items() >= order.items()
    assert (shown["user_id"], shown["version"], shown["needs_review"]) == (str(asha.user_id), 1, False)
    (move,) = (await shop.staff("GET", f"/{order['id']}/timeline")).json()["items"]
    assert (move["move"], move["actor"], move["actor_id"]) == ("T1", "customer", str(asha.user_id))
    assert (await shop.staff("GET", f"/{uuid4()}")).json()["code"] == "order_not_found"


async def test_order_is_sent_once_paid_and_taken_out_of_stock(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()

    async def ship(**body: Any) -> Any:
        return await shop.staff("POST", f"/{order['id']}/ship", json={**SHIPMENT, **body})

    assert (await ship()).json()["code"] == "order_not_shippable"
    await shop.capture(order)
    assert (await ship()).json()["code"] == "order_not_ready"
    await shop.tell("stock.committed.v1", order)
    assert (await shop.staff("POST", f"/{order['id']}/deliver")).json()["code"] == "order_not_deliverable"
    shipped = await ship()
    assert (shipped.status_code, shipped.json()["status"]) == (200, "shipped")
    assert (await asha.send("GET", f"/orders/{order['id']}")).json()["tracking"] == {
        "carrier": "Bluedart",
        "number": "BD-77",
    }
    assert (await ship()).content == shipped.content
    other = await ship(tracking="BD-78")
    assert (other.status_code, other.json()["code"]) == (409, "order_already_shipped")
    delivered = await shop.staff("POST", f"/{order['id']}/deliver")
    assert (delivered.json()["status"], delivered.json()["delivered_at"] is not None) == ("delivered", True)
    assert (await shop.staff("POST", f"/{order['id']}/deliver")).content == delivered.content
    assert (await shop.told())[-2:] == ["order.shipped.v1", "order.delivered.v1"]


@pytest.mark.parametrize("caller", ["payments", "catalog"])
async def test_other_services_ask_for_an_order(shop: "Shop", caller: str) -> None:
    asha = shop.shopper()
    order = await asha.placed(price=50_000)
    client, path = shop.harness.client, f"/internal/orders/{order['id']}"
    answer = (await client.get(path, headers=shop.harness.as_service(caller))).json()
    assert answer == {
        "id": order["id"], "number": order["number"], "user_id": str(asha.user_id), "status": "awaiting_payment",
        "is_closed": False, "total": 50_000, "currency": "INR", "placed_at": order["placed_at"],
        "pay_by": order["pay_by"], "version": 1, "was_paid": False, "payment_version": 0,
    }  # fmt: skip
    unknown = await client.get(f"/internal/orders/{uuid4()}", headers=shop.harness.as_service(caller))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "order_not_found")
    assert (await client.get(path, headers=shop.harness.as_service("cart"))).status_code == 403
    assert (await client.get(path, headers=shop.harness.as_user("admin"))).status_code == 401


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"shipping_address": None}, ""),
        ({"shipping_address_id": "not-a-uuid"}, "/shipping_address_id"),
        ({"shipping_address_id": str(uuid4())}, ""),
        ({"total": 1}, "/total"),
        ({"expected_total": {"amount": "3", "currency": "INR"}}, "/expected_total/amount"),
        ({"expected_total": {"amount": True, "currency": "INR"}}, "/expected_total/amount"),
        ({"expected_total": {"amount": -1, "currency": "INR"}}, "/expected_total/amount"),
        ({"expected_total": {"amount": 1.0, "currency": "INR"}}, "/expected_total/amount"),
        ({"expected_total": {"amount": 10**18, "currency": "INR"}}, "/expected_total/amount"),
        ({"expected_total": {"amount": 1}}, "/expected_total/currency"),
        ({"expected_total": 5}, "/expected_total"),
        ({"note": ""}, "/note"),
        ({"note": "x" * 501}, "/note"),
        ({"billing_address": {"city": "Pune"}}, "/billing_address/recipient_name"),
    ],
)
async def test_wrong_wish_is_refused_with_its_place(shop: "Shop", change: dict[str, Any], pointer: str) -> None:
    response = await shop.shopper().order(**change)
    assert (response.status_code, response.json()["code"]) == (422, "input_invalid")
    assert pointer in [error["pointer"] for error in response.json()["errors"]]
    assert shop.cart.calls == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"note": "\\u0000"}', b'{"note": 1, "note": 2}', b'{"note": NaN}', b"\xff"]
)
async def test_unreadable_body_is_refused(shop: "Shop", body: bytes) -> None:
    headers = {"idempotency-key": "k", "content-type": "application/json"}
    response = await shop.shopper().send("POST", "/orders", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "input_invalid")


@pytest.mark.parametrize(
    "query", ["status=lost", "limit=0", "limit=101", "limit=1e1", "page=2", "count=yes", "cursor=%00", "status="]
)
async def test_wrong_query_is_refused(shop: "Shop", query: str) -> None:
    for response in (await shop.shopper().send("GET", f"/orders?{query}"), await shop.staff("GET", f"?{query}")):
        assert response.status_code == 422, response.text


@pytest.mark.parametrize(
    "query", ["placed_from=yesterday", "user_id=1", "number=%00", "needs_review=1", "placed_before=2026-01-01"]
)
async def test_wrong_search_is_refused(shop: "Shop", query: str) -> None:
    assert (await shop.staff("GET", f"?{query}")).status_code == 422


@pytest.mark.parametrize("path", ["ship", "deliver", "cancel"])
async def test_path_that_is_no_id_is_refused(shop: "Shop", path: str) -> None:
    assert (await shop.staff("POST", f"/1/{path}", json=SHIPMENT)).status_code == 422


@pytest.mark.parametrize(
    "body", [{}, {"carrier": "Bluedart"}, {**SHIPMENT, "weight": 1}, {"carrier": 1, "tracking": "x"}]
)
async def test_wrong_shipment_is_refused(shop: "Shop", body: dict[str, Any]) -> None:
    order = await shop.shopper().placed()
    assert (await shop.staff("POST", f"/{order['id']}/ship", json=body)).status_code == 422


async def test_customers_cannot_use_the_routes_of_staff(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    for method, path in (("GET", ""), ("GET", f"/{order['id']}"), ("POST", f"/{order['id']}/ship")):
        response = await asha.send(method, f"/admin/orders{path}")
        assert (response.status_code, response.json()["code"]) == (403, "role_required")
    assert (await shop.harness.client.get("/api/v1/orders")).status_code == 401
