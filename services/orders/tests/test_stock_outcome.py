"""What catalog's answers mean: sold, gone, or given back."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Shop


async def test_stock_that_is_gone_after_payment_cancels_and_returns_the_money(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    attempt_id = await shop.capture(order)
    await shop.tell("stock.commit_failed.v1", order, cause="paid", shortages=[])
    shown = (await asha.send("GET", f"/orders/{order['id']}")).json()
    assert shown["status"] == "cancelled"
    cancelled, refund = (await shop.harness.events())[-2:]
    assert (cancelled.data["reason"], cancelled.data["was_paid"]) == ("out_of_stock", True)
    assert (refund.data["attempt_id"], refund.data["reason"]) == (attempt_id, "out_of_stock")


async def test_lost_hold_of_a_paid_order_waits_for_the_sale(shop: "Shop") -> None:
    """The hold failed, then the money came: catalog tries again for the sale, and only that answer counts."""
    order = await shop.shopper().placed()
    await shop.capture(order)
    await shop.tell("stock.commit_failed.v1", order, cause="placed", shortages=[])
    assert (await shop.row(order["id"]))["status"] == "paid"


@pytest.mark.parametrize("delivered", [False, True])
async def test_stock_missing_for_what_was_sent_calls_for_a_person(shop: "Shop", delivered: bool) -> None:
    order = await shop.shopper().placed()
    await shop.capture(order)
    await shop.tell("stock.committed.v1", order)
    await shop.staff("POST", f"/{order['id']}/ship", json={"carrier": "Bluedart", "tracking": "1"})
    if delivered:
        await shop.staff("POST", f"/{order['id']}/deliver")
    await shop.tell("stock.commit_failed.v1", order, cause="paid", shortages=[])
    row = await shop.row(order["id"])
    assert (row["status"], row["needs_review"]) == ("delivered" if delivered else "shipped", True)


async def test_stock_given_back_is_noted_once(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    await asha.send("POST", f"/orders/{order['id']}/cancel")
    await shop.tell("payment.intent_closed.v1", order)
    await shop.tell("stock.released.v1", order)
    noted = (await shop.row(order["id"]))["stock_given_back_at"]
    await shop.tell("stock.released.v1", order)
    assert noted is not None
    assert (await shop.row(order["id"]))["stock_given_back_at"] == noted
