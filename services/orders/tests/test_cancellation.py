"""Ending an order before it is sent: by its owner, by staff, or by silence and the database's clock."""

from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.conftest import OpenShop, Shop


async def test_unpaid_order_closes_first_and_is_cancelled_by_the_providers_last_word(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    response = await asha.send("POST", f"/orders/{order['id']}/cancel", json={"reason": "Wrong colour"})
    assert (response.status_code, response.json()["status"]) == (200, "closing")
    await shop.tell("payment.intent_closed.v1", order)
    shown = (await asha.send("GET", f"/orders/{order['id']}")).json()
    assert (shown["status"], shown["closed_at"] is not None) == ("cancelled", True)
    closing, cancelled = (await shop.harness.events())[-2:]
    assert closing.data["reason"] == "cancelled"
    assert (cancelled.data["reason"], cancelled.data["was_paid"]) == ("cancelled", False)
    assert cancelled.data["cart_id"] == shop.cart.of(asha.user_id).id
    timeline = (await asha.send("GET", f"/orders/{order['id']}/timeline")).json()["items"]
    assert [(move["to_status"], move["cause"], move["actor"], move["note"]) for move in timeline] == [
        ("awaiting_payment", "placed", "customer", None),
        ("closing", "cancel_asked", "customer", "Wrong colour"),
        ("cancelled", "payment_closed", "system", None),
    ]


async def test_paid_order_is_cancelled_at_once_and_its_money_asked_back(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    attempt_id = await shop.capture(order)
    response = await asha.send("POST", f"/orders/{order['id']}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    (refund,) = await shop.harness.events("refund.requested.v1")
    assert (refund.data["attempt_id"], refund.data["reason"]) == (attempt_id, "cancelled")


@pytest.mark.parametrize("paid", [False, True])
async def test_cancelling_again_answers_the_order_as_it_is(shop: "Shop", paid: bool) -> None:
    asha = shop.shopper()
    order = await asha.placed()
    if paid:
        await shop.capture(order)
    first = await asha.send("POST", f"/orders/{order['id']}/cancel")
    told = await shop.told()
    again = await asha.send("POST", f"/orders/{order['id']}/cancel")
    assert (again.status_code, again.content) == (200, first.content)
    assert await shop.told() == told


async def test_cancel_of_an_expiring_order_makes_a_late_capture_go_back(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    await shop.pass_deadline(order)
    assert (await asha.send("POST", f"/orders/{order['id']}/cancel")).json()["status"] == "closing"
    await shop.capture(order)
    assert (await shop.told())[-2:] == ["order.cancelled.v1", "refund.requested.v1"]


@pytest.mark.parametrize("state", ["shipped", "delivered", "expired"])
async def test_order_that_is_sent_or_expired_cannot_be_cancelled(shop: "Shop", state: str) -> None:
    asha = shop.shopper()
    order = await asha.placed()
    if state == "expired":
        await shop.pass_deadline(order)
        await shop.tell("payment.intent_closed.v1", order)
    else:
        await shop.capture(order)
        await shop.tell("stock.committed.v1", order)
        await shop.staff("POST", f"/{order['id']}/ship", json={"carrier": "Bluedart", "tracking": "1"})
    if state == "delivered":
        await shop.staff("POST", f"/{order['id']}/deliver")
    for response in (
        await asha.send("POST", f"/orders/{order['id']}/cancel"),
        await shop.staff("POST", f"/{order['id']}/cancel"),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "order_not_cancellable")
    assert (await shop.row(order["id"]))["status"] == state


async def test_deadline_is_the_databases_and_not_reached_early(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    outcome = await shop.harness.run_job("deadlines")
    assert outcome.found == 0
    row = await shop.row(order["id"])
    assert (row["status"], (row["deadline"] - row["placed_at"]).total_seconds()) == ("awaiting_payment", 1800)
    assert (row["pay_by"] - row["placed_at"]).total_seconds() == 900


async def test_how_long_an_order_may_be_paid_and_may_close_is_set_by_variables(open_shop: "OpenShop") -> None:
    shop = await open_shop(pay_window=60, pay_grace=0, closing_limit=0)
    order = await shop.shopper().placed()
    row = await shop.row(order["id"])
    assert (row["pay_by"] - row["placed_at"]).total_seconds() == 60
    assert row["deadline"] == row["pay_by"]
    await shop.pass_deadline(order)
    await shop.harness.run_job("closing-limit")
    assert (await shop.row(order["id"]))["status"] == "expired"


async def test_every_overdue_order_closes_and_the_rest_stay(shop: "Shop") -> None:
    shoppers = [shop.shopper() for _ in range(3)]
    overdue, also_overdue, in_time = [await shopper.placed() for shopper in shoppers]
    for order in (overdue, also_overdue):
        await shop.harness.execute(
            "UPDATE orders SET deadline = clock_timestamp() - interval '1 hour' WHERE id = $1", UUID(order["id"])
        )
    outcome = await shop.harness.run_job("deadlines")
    assert (outcome.found, outcome.repaired) == (2, 2)
    statuses = [(await shop.row(order["id"]))["status"] for order in (overdue, also_overdue, in_time)]
    assert statuses == ["closing", "closing", "awaiting_payment"]
    closings = await shop.harness.events("order.closing.v1")
    assert [envelope.data["reason"] for envelope in closings] == ["expired", "expired"]


async def test_order_that_cannot_move_keeps_no_other_from_closing(open_shop: "OpenShop") -> None:
    shop = await open_shop(lock_timeout=0.2)
    stuck, other = await shop.shopper().placed(), await shop.shopper().placed()
    await shop.harness.execute("UPDATE orders SET deadline = placed_at - interval '1 hour'")
    somebody = await asyncpg.connect(shop.harness.database.url)
    try:
        async with somebody.transaction():
            await somebody.execute("SELECT FROM orders WHERE id = $1 FOR UPDATE", UUID(stuck["id"]))
            outcome = await shop.harness.run_job("deadlines")
    finally:
        await somebody.close()
    assert (outcome.found, outcome.repaired, outcome.unresolved) == (2, 1, 1)
    assert (await shop.row(other["id"]))["status"] == "closing"
    assert (await shop.harness.run_job("deadlines")).repaired == 1


@pytest.mark.parametrize(("job", "ended"), [("deadlines", "closing"), ("closing-limit", "expired")])
async def test_orders_that_cannot_move_keep_no_other_from_its_end(shop: "Shop", job: str, ended: str) -> None:
    """Two hundred stand in front every time whose history is ahead of them, so that no line of it can be added."""
    order = await shop.shopper().placed()
    if job == "closing-limit":
        await shop.pass_deadline(order)
    await shop.harness.execute("""
        UPDATE orders SET deadline = placed_at - interval '1 hour', closing_since = closing_since - interval '1 hour'
    """)
    await shop.harness.execute("""
        INSERT INTO orders OVERRIDING SYSTEM VALUE
        SELECT (json_populate_record(orders, json_build_object(
            'id', gen_random_uuid(), 'number', n::text, 'cart_id', gen_random_uuid(), 'placement', placement + n,
            'deadline', deadline - older, 'closing_since', closing_since - older
        ))).* FROM orders, generate_series(1, 200) AS n, (VALUES (interval '1 minute')) AS by (older)
    """)
    await shop.harness.execute("""
        INSERT INTO order_moves (id, order_id, version, move, to_status, cause, actor_kind)
        SELECT gen_random_uuid(), id, version + 1, '', status, '', 'system' FROM orders WHERE length(number) < 4
    """)
    outcome = await shop.harness.run_job(job)
    assert (outcome.found, outcome.repaired, outcome.unresolved) == (201, 1, 200)
    assert (await shop.row(order["id"]))["status"] == ended


async def test_closing_ends_without_the_provider_after_half_an_hour(shop: "Shop") -> None:
    asha = shop.shopper()
    expiring, cancelled = await asha.placed(), await asha.placed()
    await shop.pass_deadline(expiring)
    await asha.send("POST", f"/orders/{cancelled['id']}/cancel")
    assert (await shop.harness.run_job("closing-limit")).found == 0
    await shop.pass_closing_limit(expiring)
    await shop.pass_closing_limit(cancelled)
    assert (await shop.row(expiring["id"]))["status"] == "expired"
    assert (await shop.row(cancelled["id"]))["status"] == "cancelled"
    assert (await shop.told())[-2:] == ["order.expired.v1", "order.cancelled.v1"]
