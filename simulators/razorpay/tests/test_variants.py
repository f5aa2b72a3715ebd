"""Where the documents disagree, a client must work with every reading: each can be switched on."""

import pytest
import razorpay
from razorpay.errors import BadRequestError

from razorpay_simulator.testing import SimulatorProcess, SimulatorRefused, WebhookReceiver

ORDER = {"amount": 50000, "currency": "INR"}


def test_empty_notes_are_a_list_or_an_object(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    assert client.order.create(ORDER)["notes"] == []
    simulator.variants(empty_notes="object")
    assert client.order.create(ORDER)["notes"] == {}


def test_statuses_follow_the_chosen_reading(simulator: SimulatorProcess) -> None:
    simulator.variants(created_status=201, unknown_url_status=400, unknown_id_status=404)
    assert simulator.request("POST", "/v1/orders", body=dict(ORDER)).status == 201
    assert simulator.request("GET", "/v1/nothing").status == 400
    assert simulator.request("GET", "/v1/orders/order_00000000000000").status == 404


def test_a_duplicate_receipt_may_be_refused(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.variants(duplicate_receipt="refused")
    client.order.create({**ORDER, "receipt": "only-once"})
    with pytest.raises(BadRequestError, match="receipt has already been used"):
        client.order.create({**ORDER, "receipt": "only-once"})


def test_lists_may_be_oldest_first(fresh: SimulatorProcess, fresh_client: razorpay.Client) -> None:
    fresh.variants(list_order="oldest_first", list_inside_parent_order="newest_first")
    made = [fresh_client.order.create(ORDER)["id"] for _ in range(3)]
    assert [order["id"] for order in fresh_client.order.all()["items"]] == made
    tries = [fresh.pay(made[0], outcome="failure")["razorpay_payment_id"] for _ in range(2)]
    assert [payment["id"] for payment in fresh_client.order.payments(made[0])["items"]] == tries[::-1]


def test_an_account_may_be_set_to_manual_capture(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.variants(default_capture="manual")
    paid = simulator.pay(client.order.create(ORDER)["id"])
    assert client.payment.fetch(paid["razorpay_payment_id"])["status"] == "authorized"
    paid = simulator.pay(client.order.create({**ORDER, "payment_capture": 1})["id"])
    assert client.payment.fetch(paid["razorpay_payment_id"])["status"] == "captured"


def test_a_smaller_capture_may_be_allowed(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.variants(default_capture="manual", smaller_capture="allowed")
    paid = simulator.pay(client.order.create(ORDER)["id"])
    assert client.payment.capture(paid["razorpay_payment_id"], 40000, {})["amount"] == 40000


def test_a_released_authorization_may_be_called_failed(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.variants(released_status="failed")
    paid = simulator.pay(client.order.create(ORDER)["id"], outcome="authorize_only")
    simulator.advance(4 * 86400)
    payment = client.payment.fetch(paid["razorpay_payment_id"])
    assert (payment["status"], payment["amount_refunded"]) == ("failed", 0)


def test_refunds_may_fail_and_error_fields_may_be_empty(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.variants(refund_outcome="failed", empty_error_fields="empty")
    paid = simulator.pay(client.order.create(ORDER)["id"])["razorpay_payment_id"]
    assert client.payment.refund(paid, {})["status"] == "failed"
    assert client.payment.fetch(paid)["error_code"] == ""


def test_the_failed_webhook_may_never_come_and_order_paid_may_come_first(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.variants(payment_failed_webhook="missing", paid_event_order="order_first")
    order = fresh_client.order.create(ORDER)
    fresh.pay(order["id"], outcome="failure")
    fresh.pay(order["id"])
    fresh.settle_webhooks()
    assert "payment.failed" not in shop.events()
    told = [delivery["event"] for delivery in fresh.ledger()["deliveries"]]
    assert told == ["payment.authorized", "order.paid", "payment.captured"]


def test_an_unknown_variant_is_refused_and_nothing_changes(simulator: SimulatorProcess) -> None:
    before = simulator.call("GET", "/simulator/variants")
    for wrong in ({"weather": "bad"}, {"empty_notes": "tuple"}, {"created_status": 500}):
        with pytest.raises(SimulatorRefused):
            simulator.variants(**wrong)
    assert simulator.call("GET", "/simulator/variants") == before


@pytest.mark.parametrize("seconds", [-1, 1e12, "soon", None])
def test_virtual_time_never_goes_back_or_wild(simulator: SimulatorProcess, seconds: object) -> None:
    answer = simulator.request("POST", "/simulator/clock/advance", body={"seconds": seconds})
    assert answer.status == 400
