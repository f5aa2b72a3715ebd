"""What becomes of money: it pays once, and whatever does not pay is asked back."""

import asyncio
from itertools import permutations
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop


async def refunds(shop: "Shop") -> list[tuple[str, str]]:
    return [
        (envelope.data["attempt_id"], envelope.data["reason"])
        for envelope in await shop.harness.events("refund.requested.v1")
    ]


async def test_capture_pays_and_tells_catalog_what_to_sell(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed(price=20_000, quantity=2)
    attempt_id = await shop.capture(order)
    shown = (await asha.send("GET", f"/orders/{order['id']}")).json()
    assert (shown["status"], shown["payment_status"]) == ("paid", "paid")
    assert shown["paid_at"] is not None
    (paid,) = await shop.harness.events("order.paid.v1")
    assert paid.data["items"] == [{"variant_id": order["items"][0]["variant_id"], "quantity": 2}]
    assert (paid.data["attempt_id"], paid.data["payment_id"]) == (attempt_id, order["id"])
    assert (paid.data["total"], paid.data["currency"], paid.data["paid_at"]) == (40_000, "INR", shown["paid_at"])


async def test_paying_attempt_reported_again_changes_nothing(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    attempt_id = await shop.capture(order)
    told = await shop.told()
    await shop.capture(order, attempt_id=attempt_id, payment_version=2)
    assert await shop.told() == told


async def test_second_capture_is_asked_back_once(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    await shop.capture(order)
    second = await shop.capture(order)
    await shop.capture(order, attempt_id=second)
    assert await refunds(shop) == [(second, "duplicate_capture")]
    assert (await shop.row(order["id"]))["status"] == "paid"


async def test_capture_after_expiry_is_asked_back_as_late(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    await shop.pass_deadline(order)
    await shop.pass_closing_limit(order)
    attempt_id = await shop.capture(order)
    assert await refunds(shop) == [(attempt_id, "late_capture")]
    row = await shop.row(order["id"])
    assert (row["status"], row["paying_attempt_id"]) == ("expired", None)


async def test_capture_while_a_cancel_waits_is_recorded_and_given_back(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    await asha.send("POST", f"/orders/{order['id']}/cancel")
    attempt_id = await shop.capture(order)
    assert await refunds(shop) == [(attempt_id, "cancelled")]
    (cancelled,) = await shop.harness.events("order.cancelled.v1")
    assert cancelled.data["was_paid"] is True
    await shop.capture(order, attempt_id=attempt_id)
    assert len(await refunds(shop)) == 1


async def test_capture_for_want_of_stock_is_given_back_as_such(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    await shop.tell("stock.commit_failed.v1", order, cause="placed", shortages=[])
    attempt_id = await shop.capture(order)
    assert await refunds(shop) == [(attempt_id, "out_of_stock")]
    (closing,) = await shop.harness.events("order.closing.v1")
    (cancelled,) = await shop.harness.events("order.cancelled.v1")
    assert (closing.data["reason"], cancelled.data["reason"]) == ("cancelled", "out_of_stock")


@pytest.mark.parametrize("wrong", [{"amount": 49_999}, {"amount": 50_001}, {"currency": "USD"}])
async def test_wrong_amount_never_pays_and_calls_for_a_person(shop: "Shop", wrong: dict[str, Any]) -> None:
    order = await shop.shopper().placed(price=50_000)
    attempt_id = await shop.capture(order, **wrong)
    await shop.capture(order, attempt_id=attempt_id, **wrong)
    assert await refunds(shop) == [(attempt_id, "mismatch")]
    row = await shop.row(order["id"])
    assert (row["status"], row["needs_review"]) == ("awaiting_payment", True)
    found = (await shop.staff("GET", "?needs_review=true")).json()["items"]
    assert [item["id"] for item in found] == [order["id"]]
    assert (await shop.harness.run_job("orders-in-review")).unresolved == 1
    await shop.capture(order)
    assert (await shop.row(order["id"]))["status"] == "paid"


async def test_captures_at_the_same_time_pay_once(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    attempts = await asyncio.gather(*(shop.capture(order, payment_version=version) for version in range(1, 7)))
    paying = str((await shop.row(order["id"]))["paying_attempt_id"])
    assert sorted(await refunds(shop)) == sorted((one, "duplicate_capture") for one in attempts if one != paying)
    assert (await shop.told()).count("order.paid.v1") == 1


async def test_capture_and_cancel_at_the_same_time_end_cancelled_with_the_money_asked_back(shop: "Shop") -> None:
    for _ in range(5):
        asha = shop.shopper()
        order = await asha.placed()
        attempt_id, response = await asyncio.gather(
            shop.capture(order), asha.send("POST", f"/orders/{order['id']}/cancel")
        )
        assert response.status_code == 200
        assert (await shop.row(order["id"]))["status"] == "cancelled"
        assert (await refunds(shop))[-1] == (attempt_id, "cancelled")


@pytest.mark.parametrize("reported", [{}, {"amount": 1}])
async def test_attempt_that_pays_one_order_does_nothing_to_another_but_call_for_a_person(
    shop: "Shop", reported: dict[str, Any]
) -> None:
    first, second = await shop.shopper().placed(), await shop.shopper().placed()
    attempt_id = await shop.capture(first)
    told = await shop.told()
    await shop.capture(second, attempt_id=attempt_id, **reported)
    assert await shop.told() == told
    row = await shop.row(second["id"])
    assert (row["status"], row["payment_status"], row["needs_review"]) == ("awaiting_payment", "unpaid", True)
    exposition = shop.harness.service.metrics.exposition().decode()
    assert 'haat_events_without_effect_total{type="payment.captured.v1"} 1.0' in exposition
    await shop.capture(second)
    assert (await shop.row(second["id"]))["status"] == "paid"


async def test_failed_attempt_leaves_the_order_payable(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    await shop.tell("payment.failed.v1", order, attempt_id=str(new_id()))
    assert (await shop.row(order["id"]))["payment_status"] == "unpaid"
    await shop.capture(order, payment_version=2)
    assert (await shop.row(order["id"]))["status"] == "paid"


@pytest.mark.parametrize("news", list(permutations([1, 2, 3, 4])))
async def test_payment_status_is_the_newest_word_in_any_order_of_arrival(shop: "Shop", news: tuple[int, ...]) -> None:
    asha = shop.shopper()
    order = await asha.placed(price=50_000)
    await asha.send("POST", f"/orders/{order['id']}/cancel")
    for version in news:
        if version == 1:
            await shop.capture(order, payment_version=1)
        else:
            kind, refunded = {2: ("submitted", 0), 3: ("failed", 0), 4: ("processed", 20_000)}[version]
            await shop.refund(kind, order, version=version, refunded=refunded)
    row = await shop.row(order["id"])
    assert (row["status"], row["payment_status"]) == ("cancelled", "partially_refunded")


async def test_refund_shows_how_it_stands(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed(price=50_000)
    await shop.capture(order)
    seen = []
    for version, (kind, refunded) in enumerate(
        [("submitted", 0), ("processed", 10_000), ("failed", 10_000), ("processed", 50_000)], start=2
    ):
        await shop.refund(kind, order, version=version, refunded=refunded)
        seen.append((await asha.send("GET", f"/orders/{order['id']}")).json()["payment_status"])
    assert seen == ["paid", "partially_refunded", "refund_failed", "refunded"]


@pytest.mark.parametrize("first", ["capture", "refund"])
async def test_paid_order_refunded_in_full_calls_for_a_person_and_is_not_sent(shop: "Shop", first: str) -> None:
    order = await shop.shopper().placed(price=50_000)
    if first == "capture":
        await shop.capture(order)
    await shop.refund("processed", order, version=3, refunded=50_000)
    if first == "refund":
        await shop.capture(order)
    await shop.tell("stock.committed.v1", order)
    row = await shop.row(order["id"])
    assert (row["status"], row["payment_status"], row["needs_review"]) == ("paid", "refunded", True)
    response = await shop.staff("POST", f"/{order['id']}/ship", json={"carrier": "Bluedart", "tracking": "1"})
    assert (response.status_code, response.json()["code"]) == (409, "order_not_ready")


async def test_refund_in_full_heard_while_the_capture_is_being_written_calls_for_a_person(shop: "Shop") -> None:
    """The refund read the order before the capture paid it, and writes after."""
    order = await shop.shopper().placed(price=50_000)
    capture = await asyncpg.connect(shop.harness.database.url)
    try:
        paying = capture.transaction()
        await paying.start()
        await capture.execute(
            "UPDATE orders SET status = 'paid', paying_attempt_id = $1, payment_status = 'paid', payment_version = 1"
            " WHERE id = $2",
            new_id(), UUID(order["id"]),
        )  # fmt: skip
        refund = asyncio.create_task(shop.refund("processed", order, version=3, refunded=50_000))
        await shop.until_somebody_waits_for_a_lock()
        await paying.commit()
        await refund
    finally:
        await capture.close()
    row = await shop.row(order["id"])
    assert (row["status"], row["payment_status"], row["needs_review"]) == ("paid", "refunded", True)


async def test_cancelled_order_refunded_in_full_is_as_it_should_be(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed(price=50_000)
    await shop.capture(order)
    await asha.send("POST", f"/orders/{order['id']}/cancel")
    await shop.refund("processed", order, version=3, refunded=50_000)
    row = await shop.row(order["id"])
    assert (row["payment_status"], row["needs_review"]) == ("refunded", False)


@pytest.mark.parametrize("first", ["failure", "capture"])
async def test_failure_told_after_the_capture_leaves_the_order_shown_as_paid(shop: "Shop", first: str) -> None:
    """Two tabs: one attempt took the money, a later one failed; the news comes in any order."""
    order = await shop.shopper().placed()
    if first == "failure":
        await shop.tell("payment.failed.v1", order, payment_version=3, attempt_id=str(new_id()))
    await shop.capture(order, payment_version=2)
    if first == "capture":
        await shop.tell("payment.failed.v1", order, payment_version=3, attempt_id=str(new_id()))
    assert (await shop.row(order["id"]))["payment_status"] == "paid"


async def test_event_that_changes_nothing_is_counted(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    await shop.tell("payment.intent_closed.v1", order)
    exposition = shop.harness.service.metrics.exposition().decode()
    assert 'haat_events_without_effect_total{type="payment.intent_closed.v1"} 1.0' in exposition


async def test_capture_told_again_does_not_hide_that_the_money_went_back(shop: "Shop") -> None:
    """Payments tells a capture again when an order closes, with what has gone back since."""
    asha = shop.shopper()
    order = await asha.placed(price=50_000)
    attempt = await shop.capture(order, captured_total=50_000, refunded_total=0)
    await asha.send("POST", f"/orders/{order['id']}/cancel")
    await shop.refund("processed", order, version=3, refunded=50_000)
    told = {"captured_total": 50_000, "refunded_total": 50_000}
    await shop.capture(order, attempt_id=attempt, payment_version=4, **told)
    assert (await shop.row(order["id"]))["payment_status"] == "refunded"
    second = await shop.capture(order, payment_version=5, captured_total=100_000, refunded_total=50_000)
    assert second != attempt
    assert (await shop.row(order["id"]))["payment_status"] == "partially_refunded"


async def test_refund_that_fails_because_all_is_back_already_is_no_bad_news(shop: "Shop") -> None:
    """Somebody had given the money back in the provider's dashboard before."""
    order = await shop.shopper().placed(price=50_000)
    await shop.capture(order)
    await shop.refund("failed", order, version=3, refunded=50_000)
    assert (await shop.row(order["id"]))["payment_status"] == "refunded"
