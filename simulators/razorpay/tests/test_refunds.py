"""Refunds through the official SDK: whole, partial, repeated, refused, pending, failed, and made elsewhere."""

from typing import Any

import pytest
import razorpay
from razorpay.errors import BadRequestError

from razorpay_simulator.testing import SimulatorProcess

KEY = "X-Refund-Idempotency"


def paid(simulator: SimulatorProcess, client: razorpay.Client, amount: int = 50000) -> str:
    order = client.order.create({"amount": amount, "currency": "INR"})
    return str(simulator.pay(order["id"])["razorpay_payment_id"])


def test_a_refund_without_amount_returns_everything(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    payment_id = paid(simulator, client)
    refund = client.payment.refund(payment_id, {"receipt": "ours-1", "notes": {"why": "late"}})
    assert (refund["amount"], refund["status"], refund["receipt"]) == (50000, "processed", "ours-1")
    payment = client.payment.fetch(payment_id)
    assert (payment["status"], payment["refund_status"], payment["amount_refunded"]) == ("refunded", "full", 50000)
    assert client.order.fetch(payment["order_id"])["status"] == "paid"
    assert client.refund.fetch(refund["id"]) == refund
    assert client.payment.fetch_refund_id(payment_id, refund["id"]) == refund
    assert client.payment.fetch_multiple_refund(payment_id)["items"] == [refund]
    assert client.refund.all()["items"][0] == refund


def test_partial_refunds_leave_the_payment_captured(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    payment_id = paid(simulator, client)
    client.payment.refund(payment_id, {"amount": 20000})
    payment = client.payment.fetch(payment_id)
    assert (payment["status"], payment["refund_status"], payment["amount_refunded"]) == ("captured", "partial", 20000)
    client.payment.refund(payment_id, {"amount": 30000, "speed": "optimum"})
    assert client.payment.fetch(payment_id)["refund_status"] == "full"
    assert [refund["amount"] for refund in client.payment.fetch_multiple_refund(payment_id)["items"]] == [20000, 30000]


@pytest.mark.parametrize(
    ("before", "body", "sentence"),
    [
        (None, {"amount": 50001}, "greater than amount captured"),
        (40000, {"amount": 10001}, "greater than the refund payment amount"),
        (50000, {}, "fully refunded already"),
        (None, {"amount": 99}, "at least INR 1.00"),
        (None, {"amount": 100, "reason": "x"}, "reason is not required and should not be sent"),
        (None, {"a": 1, "b": 2}, "a, b are not required"),
        (None, {"speed": "slow"}, "speed is invalid"),
    ],
)
def test_an_impossible_refund_is_refused(
    simulator: SimulatorProcess, client: razorpay.Client, before: int | None, body: dict[str, Any], sentence: str
) -> None:
    payment_id = paid(simulator, client)
    if before:
        client.payment.refund(payment_id, {"amount": before})
    with pytest.raises(BadRequestError, match=sentence):
        client.payment.refund(payment_id, body)


def test_only_captured_payments_are_refunded(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    order = client.order.create({"amount": 50000, "currency": "INR"})
    payment_id = simulator.pay(order["id"], outcome="authorize_only")["razorpay_payment_id"]
    with pytest.raises(BadRequestError, match="should be captured for action to be taken"):
        client.payment.refund(payment_id, {})


def test_a_payment_older_than_six_months_is_not_refunded(
    fresh: SimulatorProcess, fresh_client: razorpay.Client
) -> None:
    payment_id = paid(fresh, fresh_client)
    fresh.advance(190 * 86400)
    with pytest.raises(BadRequestError, match="six months"):
        fresh_client.payment.refund(payment_id, {})


def test_the_same_key_and_body_make_one_refund(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    payment_id = paid(simulator, client)
    first, second = (
        client.payment.refund(payment_id, {"amount": 10000}, headers={KEY: "refund-key-1"}) for _ in range(2)
    )
    assert first == second
    assert client.payment.fetch(payment_id)["amount_refunded"] == 10000


def test_the_same_key_with_another_body_is_refused(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    payment_id = paid(simulator, client)
    client.payment.refund(payment_id, {"amount": 10000}, headers={KEY: "refund-key-2"})
    answer = simulator.request(
        "POST", f"/v1/payments/{payment_id}/refund", body={"amount": 20000}, headers={KEY: "refund-key-2"}
    )
    assert answer.status == 409
    assert "Different request with the same idempotency key" in answer.json["error"]["description"]
    assert client.payment.fetch(payment_id)["amount_refunded"] == 10000


@pytest.mark.parametrize("key", ["short", "has spaces in it", "semicolon;semicolon"])
def test_a_malformed_key_is_refused(simulator: SimulatorProcess, client: razorpay.Client, key: str) -> None:
    with pytest.raises(BadRequestError, match="at least 10 characters"):
        client.payment.refund(paid(simulator, client), {}, headers={KEY: key})


def test_a_refused_refund_does_not_use_up_its_key(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    payment_id = paid(simulator, client)
    with pytest.raises(BadRequestError):
        client.payment.refund(payment_id, {"amount": 60000}, headers={KEY: "refund-key-3"})
    assert client.payment.refund(payment_id, {"amount": 50000}, headers={KEY: "refund-key-3"})["amount"] == 50000


def test_a_pending_refund_is_processed_in_virtual_time(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.variants(refund_answer="pending", refunded_when="processed")
    payment_id = paid(simulator, client)
    refund = client.payment.refund(payment_id, {"amount": 20000})
    assert (refund["status"], refund["acquirer_data"]) == ("pending", {"arn": None})
    rest = client.payment.refund(payment_id, {})
    simulator.settle_refund(rest["id"], "processed")
    assert client.payment.fetch(payment_id)["status"] == "captured"
    simulator.advance(3600)
    assert client.refund.fetch(refund["id"])["status"] == "processed"
    assert client.payment.fetch(payment_id)["status"] == "refunded"


def test_a_failed_refund_leaves_the_money_and_can_be_made_again(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    simulator.variants(refund_answer="pending")
    payment_id = paid(simulator, client)
    refund = client.payment.refund(payment_id, {})
    assert simulator.settle_refund(refund["id"], "failed")["status"] == "failed"
    payment = client.payment.fetch(payment_id)
    assert (payment["status"], payment["amount_refunded"], payment["refund_status"]) == ("captured", 0, None)
    assert client.payment.refund(payment_id, {})["amount"] == 50000


def test_a_refund_made_in_the_dashboard_is_seen_through_the_api(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    payment_id = paid(simulator, client)
    made = simulator.dashboard_refund(payment_id, amount=7000)
    assert client.payment.fetch(payment_id)["amount_refunded"] == 7000
    assert client.payment.fetch_multiple_refund(payment_id)["items"] == [made]
    edited = client.refund.edit(made["id"], {"notes": {"seen": "yes"}})
    assert edited["notes"] == {"seen": "yes"}


def test_money_is_conserved(fresh: SimulatorProcess, fresh_client: razorpay.Client) -> None:
    fresh.variants(refund_answer="pending")
    payments = [(paid(fresh, fresh_client, amount), amount) for amount in (10000, 20000, 30000)]
    for payment_id, amount in payments:
        fresh_client.payment.refund(payment_id, {"amount": amount // 2})
    failing = fresh_client.payment.refund(payments[-1][0], {"amount": 1000})
    fresh.settle_refund(failing["id"], "failed")
    lapsing = fresh_client.order.create({"amount": 40000, "currency": "INR"})
    fresh.pay(lapsing["id"], outcome="authorize_only")
    totals = fresh.ledger()["totals"]
    assert totals["balanced"]
    assert (totals["captured"], totals["refunded"], totals["kept"]) == (60000, 30000, 30000)
    assert (totals["authorized"], totals["refunds_pending"]) == (40000, 30000)
    fresh.advance(4 * 86400)
    totals = fresh.ledger()["totals"]
    assert (totals["authorized"], totals["released"], totals["refunds_pending"]) == (0, 40000, 0)
    assert totals["balanced"]
