"""What went wrong in other shops, each report as a test with its name.

The reports are public; the number is that of the issue or pull request in the repository the docstring names. What a
report describes is brought about here, and the end is the one its author had hoped for. Reports whose counterpart is
proven by another test of this repository are listed in `PROVEN_ELSEWHERE`, which is held true by a test as well.
After each test every invariant holds in all databases, and the provider's ledger balances.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from tests.hand_carried import HandCarriedShop, together
from tests.purchase import PRICE, Purchase, refused
from tests.shopper import API

ROOT = Path(__file__).parents[2]

PROVEN_ELSEWHERE = {
    "vendurehq/vendure#2283: a guest's cart is lost when they register": (
        "tests/e2e/test_checkout_journey.py::test_a_stranger_becomes_a_customer_and_buys"
    ),
    "vendurehq/vendure#2735, medusajs/medusa#4089, dotnet-architecture/eShopOnContainers#279: events vanish": (
        "tests/e2e/test_crash.py::test_killed_in_the_middle_of_purchases_nothing_is_lost"
    ),
    "razorpay/razorpay-php#156: what exactly is signed?": (
        "services/payments/tests/test_razorpay_provider.py::test_our_signatures_are_those_of_the_sdk"
    ),
}


async def test_razorpay_prestashop_64_charged_and_no_order(carried: HandCarriedShop) -> None:
    """razorpay/razorpay-prestashop#64, saleor/saleor#14733, medusajs/medusa#10949: the shopper paid and never came
    back, so nothing made the order. Here it was there before the money, and the webhook alone pays it.
    """
    purchase = await Purchase.begun(carried)
    webhooks = await purchase.webhooks(await purchase.pay())
    await carried.hand_on(webhooks["order.paid"])
    await carried.carry()
    assert await purchase.stands() == ("paid", "paid")
    assert await purchase.stock() == (9, 0)


async def test_razorpay_node_430_the_callback_never_came(carried: HandCarriedShop) -> None:
    """razorpay/razorpay-node#430: 10 to 20 of 80 payments stayed authorised, since nobody was told of them. Here
    neither callback nor webhook comes, and the job that looks takes the money.
    """
    purchase = await Purchase.begun(carried)
    await purchase.webhooks(await purchase.pay(outcome="authorize_only"))
    await purchase.poll()
    await carried.services["payments"].execute("UPDATE attempts SET changed_at = changed_at - interval '3 minutes'")
    await carried.job("payments", "capture")
    await carried.carry()
    assert await purchase.stands() == ("paid", "paid")
    assert await purchase.taken() == 1


async def test_statamic_cargo_190_the_webhook_was_first(carried: HandCarriedShop) -> None:
    """duncanmcclean/statamic-cargo#190: the webhook found no order, was answered with 200 and forgotten. Here the
    answer that would have told of the provider's order is lost, and the shopper pays before anybody knows of it.
    """
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper = await carried.customer()
    order = await carried.place(shopper, variant)
    await carried.provider_is_told("faults", {"route": "orders.create", "action": "fail_after_commit"})
    lost = await shopper.send("POST", f"{API}/payments", json={"order_id": order["id"]})
    assert lost.status_code == 503
    (made,) = [one for one in (await carried.ledger())["orders"] if one["notes"]["order_id"] == order["id"]]
    proof = await shopper.pay({"checkout": {"razorpay_order_id": made["id"]}})
    await together(carried.hand_on(webhook) for webhook in (await carried.webhooks_about(proof)).values())
    assert (await shopper.order(order["id"]))["status"] == "awaiting_payment"

    await carried.services["payments"].execute(
        "UPDATE payments SET lease_until = clock_timestamp(), next_ask_at = clock_timestamp() WHERE status = 'creating'"
    )
    await carried.job("payments", "creations")
    await carried.settle()
    assert (await shopper.order(order["id"]))["status"] == "paid"
    assert [one["notes"] for one in (await carried.ledger())["orders"]].count({"order_id": order["id"]}) == 1


async def test_razorpay_magento_291_orders_getting_duplicated(carried: HandCarriedShop) -> None:
    """razorpay/razorpay-magento#291, #283, #211, #208: of 305 payments 6 made two orders and 3 made none, with the
    webhook delayed by 500 seconds. Here both webhooks and the browser come at the same moment, each three times.
    """
    purchases = await asyncio.gather(*(Purchase.begun(carried) for _ in range(5)))

    async def everybody_tells(purchase: Purchase) -> None:
        proof = await purchase.pay()
        webhooks = await purchase.webhooks(proof)
        told = [carried.hand_on(webhooks[event]) for event in ("payment.authorized", "order.paid") for _ in range(3)]
        await together([*told, *(purchase.brings(proof) for _ in range(3))])

    await together(everybody_tells(purchase) for purchase in purchases)
    await carried.settle()
    for purchase in purchases:
        orders = (await purchase.shopper.get("/orders"))["items"]
        assert [(order["id"], order["status"]) for order in orders] == [(purchase.id, "paid")]
        assert await purchase.taken() == 1
        assert await carried.moves(purchase.order) == ["T1", "T3"]


async def test_razorpay_magento_175_the_webhook_was_faster_than_the_page(carried: HandCarriedShop) -> None:
    """razorpay/razorpay-magento#175: the webhook made an order while the page was making one. Here the second to
    come changes nothing, whichever it is.
    """
    for page_first in (True, False):
        purchase = await Purchase.begun(carried)
        proof = await purchase.pay()
        captured = (await purchase.webhooks(proof))["payment.captured"]
        if page_first:
            await purchase.brings(proof)
        await carried.hand_on(captured)
        answer = await purchase.brings(proof)
        await carried.carry()
        assert (answer["status"], await purchase.stands()) == ("captured", ("paid", "paid"))
        assert await carried.moves(purchase.order) == ["T1", "T3"]


async def test_razorpay_woocommerce_167_charged_twice_within_seconds(carried: HandCarriedShop) -> None:
    """razorpay/razorpay-woocommerce#167, woocommerce/woocommerce#62659: two entries, both charged. Here the bank's
    late yes takes the money a second time; one payment pays the order, the other goes back without anybody asking.
    """
    await carried.provider_is_told("variants", {"late_second_payment": "captured"})
    purchase = await Purchase.begun(carried)
    late = await purchase.pay(outcome="late")
    await purchase.pay()
    await carried.settle()
    await purchase.bank_says_yes(late)
    await carried.settle()
    assert await purchase.taken() == 2
    assert await purchase.returned() == purchase.total
    assert (await purchase.stands())[0] == "paid"
    assert await purchase.stock() == (9, 0)


async def test_medusa_13301_confirmation_and_webhook_race(carried: HandCarriedShop) -> None:
    """medusajs/medusa#13301, #3146: the page's confirmation and the webhook ran the same steps at the same time, and
    about 1 order in 20 was missing. Here twenty purchases do just that.
    """
    variant = await carried.new_variant(stock=20, price=PRICE)
    await carried.carry()
    purchases = await asyncio.gather(*(Purchase.begun(carried, variant) for _ in range(20)))

    async def race(purchase: Purchase) -> None:
        proof = await purchase.pay()
        captured = (await purchase.webhooks(proof))["payment.captured"]
        await together([purchase.brings(proof), carried.hand_on(captured), carried.carry(purchase.order)])

    await together(race(purchase) for purchase in purchases)
    await carried.settle()
    assert Counter([await purchase.stands() for purchase in purchases]) == {("paid", "paid"): 20}
    assert [await purchase.taken() for purchase in purchases] == [1] * 20
    assert await carried.stock(variant) == {"on_hand": 0, "reserved": 0, "available": 0}


async def test_odoo_147534_authorised_and_captured_at_the_same_time(carried: HandCarriedShop) -> None:
    """odoo/odoo#147534, #146472: the two webhooks met in the database, and one failed with a serialisation error."""
    purchases = await asyncio.gather(*(Purchase.begun(carried) for _ in range(8)))

    async def both_at_once(purchase: Purchase) -> None:
        webhooks = await purchase.webhooks(await purchase.pay())
        await together(carried.hand_on(webhooks[event]) for event in ("payment.authorized", "payment.captured"))

    await together(both_at_once(purchase) for purchase in purchases)
    waiting = await carried.services["payments"].fetch("SELECT id FROM webhook_events WHERE processed_at IS NULL")
    assert waiting == [], "each was applied at its first try"
    await carried.settle()
    assert {await purchase.stands() for purchase in purchases} == {("paid", "paid")}


@pytest.mark.parametrize(
    "arrivals", [("payment.authorized", "refund.created"), ("refund.created", "payment.authorized")]
)
async def test_razorpay_woocommerce_664_the_order_of_webhooks_decides(
    carried: HandCarriedShop, arrivals: tuple[str, ...]
) -> None:
    """razorpay/razorpay-woocommerce#664: a refund told before the authorisation was dropped, and the order was to be
    sent although its money was back. Here both orders of arrival end refunded, unsent, with a person called.
    """
    purchase = await Purchase.begun(carried)
    proof = await purchase.pay()
    await purchase.refunded_in_dashboard(proof)
    webhooks = await purchase.webhooks(proof)
    for event in arrivals:
        await carried.hand_on(webhooks[event])
        await carried.carry()
    await carried.settle()
    assert await purchase.stands() == ("paid", "refunded")
    assert await purchase.needs_review()
    parcel = {"carrier": "India Post", "tracking": "EE1"}
    await refused(409, "order_not_ready", await carried.staff(), f"/admin/orders/{purchase.id}/ship", parcel)


async def test_medusa_12353_a_retry_replays_the_failure(carried: HandCarriedShop) -> None:
    """medusajs/medusa#12353: the failure was stored under the key, and only a new cart got out of it. Here a refusal
    is never kept: the same key succeeds once there is stock.
    """
    rival = await Purchase.begun(carried)
    shopper, key = await carried.customer(), uuid4().hex
    await shopper.add_to_cart(rival.variant, 9)
    everything = {"delta": -1, "reason": "Broken"}
    place, staff = f"/inventory/{rival.variant}/adjustments", await carried.staff()
    await staff.post(place, everything, key=uuid4().hex)
    failed = await shopper.try_to_order(key=key)
    assert (failed.status_code, failed.json()["code"]) == (409, "insufficient_stock")
    await staff.post(place, {**everything, "delta": 1}, key=uuid4().hex)
    order = await shopper.place_order(key=key)
    assert order["status"] == "awaiting_payment"


async def test_razorpay_woocommerce_73_captured_but_the_answer_was_lost(carried: HandCarriedShop) -> None:
    """razorpay/razorpay-woocommerce#73: a capture that had succeeded was taken for a failure. Here its answer is
    lost; the next look finds the money, and it is not taken again.
    """
    purchase = await Purchase.begun(carried)
    await purchase.webhooks(await purchase.pay(outcome="authorize_only"))
    await purchase.poll()
    await carried.provider_is_told("faults", {"route": "payments.capture", "action": "fail_after_commit"})
    await carried.services["payments"].execute("UPDATE attempts SET changed_at = changed_at - interval '3 minutes'")
    await carried.job("payments", "capture")
    await carried.carry()
    assert (await purchase.stands())[0] == "awaiting_payment"
    await carried.job("payments", "capture")
    await carried.carry()
    assert await purchase.stands() == ("paid", "paid")
    assert await purchase.taken() == 1


async def test_razorpay_python_306_an_error_page_instead_of_an_answer(carried: HandCarriedShop) -> None:
    """razorpay/razorpay-python#306: HTML came back, and the client broke on it. Here the shopper is asked to repeat,
    and there is one order at the provider.
    """
    variant = await carried.new_variant(price=PRICE)
    await carried.carry()
    shopper = await carried.customer()
    order = await carried.place(shopper, variant)
    await carried.provider_is_told("faults", {"route": "orders.create", "action": "html"})
    broken = await shopper.send("POST", f"{API}/payments", json={"order_id": order["id"]})
    assert (broken.status_code, broken.json()["code"]) == (503, "provider_unavailable")
    assert broken.headers["retry-after"]
    await carried.services["payments"].execute(
        "UPDATE payments SET lease_until = clock_timestamp() WHERE status = 'creating'"
    )
    payment = await shopper.start_payment(order)
    await shopper.pay(payment)
    await carried.settle()
    assert (await shopper.order(order["id"]))["status"] == "paid"
    assert [one["notes"] for one in (await carried.ledger())["orders"]].count({"order_id": order["id"]}) == 1


async def test_medusa_8603_a_part_is_refunded_in_full(carried: HandCarriedShop) -> None:
    """medusajs/medusa#8603: asked for a part, the shop gave everything back."""
    purchase, _ = await Purchase.paid(carried)
    await purchase.refund(10_000)
    await carried.settle()
    assert await purchase.returned() == 10_000
    assert await purchase.stands() == ("paid", "partially_refunded")


async def test_medusa_10491_no_goodwill_after_delivery(carried: HandCarriedShop) -> None:
    """medusajs/medusa#10491: what was delivered could not be refunded. Here it can, and stays delivered."""
    purchase, _ = await Purchase.paid(carried)
    await purchase.ship()
    await purchase.staff("deliver")
    await purchase.refund(5_000)
    await carried.settle()
    assert await purchase.returned() == 5_000
    assert await purchase.stands() == ("delivered", "partially_refunded")


async def test_medusa_13091_rounding_blocks_the_last_refund(carried: HandCarriedShop) -> None:
    """medusajs/medusa#13091: after refunds of parts the rest was off by a fraction and refused. Here every amount is
    whole paise, and odd thirds add up to everything, but never to more.
    """
    purchase, _ = await Purchase.paid(carried, pieces=3)
    for part in (33_333, 33_334, purchase.total - 66_667):
        await purchase.refund(part)
        await carried.settle()
    assert await purchase.returned() == purchase.total
    assert (await purchase.stands())[1] == "refunded"
    assert (await purchase.refund(100, status=409))["code"] == "nothing_to_refund"


async def test_medusa_payment_razorpay_28_the_raw_body_was_lost(carried: HandCarriedShop) -> None:
    """SGFGOV/medusa-payment-razorpay#28: the body was parsed and written anew before its signature was checked. Here
    bytes that no encoder of ours would write are proven as they came, and the same document in other bytes is not.
    """
    purchase = await Purchase.begun(carried)
    captured = (await purchase.webhooks(await purchase.pay()))["payment.captured"]
    odd = json.dumps(captured.document, indent=3, ensure_ascii=True).replace("pay_", "\\u0070ay_").encode()
    headers = {"x-razorpay-signature": carried.signature_of(odd), "x-razorpay-event-id": uuid4().hex}
    place = f"{carried.gateway}{API}/payments/webhooks/razorpay"
    rewritten = json.dumps(json.loads(odd)).encode()
    assert (await carried.http.post(place, content=rewritten, headers=headers)).status_code == 400
    assert await purchase.forged(odd) == 200
    await carried.carry()
    assert await purchase.stands() == ("paid", "paid")


async def test_medusa_payment_razorpay_8_captured_there_awaiting_here(carried: HandCarriedShop) -> None:
    """SGFGOV/medusa-payment-razorpay#8: the gateway had the money and the shop waited for it. Here every webhook and
    the callback are lost, and the sweep over the provider's payments finds it.
    """
    purchase = await Purchase.begun(carried)
    await purchase.webhooks(await purchase.pay())
    await carried.job("payments", "sweep")
    await carried.carry()
    assert await purchase.stands() == ("paid", "paid")


async def test_eshop_732_sold_more_than_there_was(carried: HandCarriedShop) -> None:
    """dotnet/eShop#732, saleor/saleor#543, vendurehq/vendure#1738, django-oscar#2102, medusajs/medusa#16569,
    simplcommerce#1111 (CVE-2024-53476): buyers at the same moment bought more than there was.
    """
    variant = await carried.new_variant(stock=3, price=PRICE)
    await carried.carry()
    buyers = [await carried.customer() for _ in range(12)]
    await together(buyer.add_to_cart(variant) for buyer in buyers)
    answers = await asyncio.gather(*(buyer.try_to_order() for buyer in buyers))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 9}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"insufficient_stock"}
    assert await carried.stock(variant) == {"on_hand": 3, "reserved": 3, "available": 0}


async def test_medusa_12401_reserved_goes_negative(carried: HandCarriedShop) -> None:
    """medusajs/medusa#12401, #11131: counters of what is reserved drifted and went below nothing. Here every end of an
    order is told three times, and each frees what it held exactly once.
    """
    variant = await carried.new_variant(stock=6, price=PRICE)
    await carried.carry()
    cancelled, expired, returned = [await Purchase.begun(carried, variant, pieces=2) for _ in range(3)]
    await returned.pay()
    await carried.settle()
    await returned.cancel()
    await cancelled.cancel()
    await carried.expire(expired.order)
    await carried.carry(cancelled.order)
    await carried.carry(expired.order)
    await carried.job("payments", "closing")
    for purchase, event in ((cancelled, "cancelled"), (expired, "expired"), (returned, "cancelled")):
        await carried.carry(purchase.order, to="orders")
        await carried.deliver(await carried.take(f"order.{event} → catalog", purchase.order), times=3)
    await carried.settle()
    assert await carried.stock(variant) == {"on_hand": 6, "reserved": 0, "available": 6}


async def test_eshop_996_anybody_reads_cancels_and_ships_any_order(carried: HandCarriedShop) -> None:
    """dotnet/eShop#996, dotnet-architecture/eShopOnContainers#2084: a number was enough. Here another shopper does
    not even learn that the order exists; `tests/e2e/test_authorisation_matrix.py` tries every route.
    """
    purchase, _ = await Purchase.paid(carried)
    other = await carried.customer()
    assert (await other.send("GET", f"{API}/orders/{purchase.id}")).status_code == 404
    await refused(404, "order_not_found", other, f"/orders/{purchase.id}/cancel")
    for step in ("ship", "deliver", "cancel"):
        answer = await other.send("POST", f"{API}/admin/orders/{purchase.id}/{step}", json={})
        assert answer.status_code == 403
    assert await purchase.stands() == ("paid", "paid")


@pytest.mark.parametrize("report", PROVEN_ELSEWHERE)
def test_reports_proven_elsewhere_name_their_test(report: str) -> None:
    file, _, name = PROVEN_ELSEWHERE[report].partition("::")
    assert f"def {name}(" in (ROOT / file).read_text()
