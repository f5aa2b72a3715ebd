"""Business counters count what became of orders, each fact once, however often it was asked for or reported."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Shop


async def test_a_repeated_click_and_a_repeated_capture_count_once(shop: "Shop") -> None:
    asha, lamp = shop.shopper(), shop.catalog.offer(price=50_000)
    asha.want(lamp, 2)
    order = (await asha.order("one-click")).json()
    assert (await asha.order("one-click")).json()["id"] == order["id"]
    attempt_id = await shop.capture(order)
    await shop.capture(order, attempt_id=attempt_id)

    total = order["totals"]["total"]["amount"]
    for fact in ("placed", "paid"):
        assert shop.harness.counted(f"haat_orders_{fact}_total") == 1
        assert shop.harness.counted(f"haat_orders_{fact}_minor_units_total", currency="INR") == total


async def test_a_refused_checkout_counts_nothing(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer(on_hand=1), 2)
    assert (await asha.order()).status_code == 409
    assert shop.harness.counted("haat_orders_placed_total") == 0


async def test_every_end_of_an_order_has_its_counter(shop: "Shop") -> None:
    expired, cancelled, returned = [await shop.shopper().placed() for _ in range(3)]
    await shop.pass_deadline(expired)
    await shop.staff("POST", f"/{cancelled['id']}/cancel", json={"reason": "asked by phone"})
    for order in (expired, cancelled):
        await shop.tell("payment.intent_closed.v1", order)
    await shop.capture(returned)
    await shop.staff("POST", f"/{returned['id']}/cancel", json={"reason": "asked by phone"})

    assert shop.harness.counted("haat_orders_expired_total") == 1
    assert shop.harness.counted("haat_orders_cancelled_total", reason="cancelled", was_paid="false") == 1
    assert shop.harness.counted("haat_orders_cancelled_total", reason="cancelled", was_paid="true") == 1
    assert shop.harness.counted("haat_refunds_requested_total", reason="cancelled") == 1
