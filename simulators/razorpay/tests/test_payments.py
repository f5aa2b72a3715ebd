"""From the shopper's click to captured money: instruments, windows, late answers, one authorised at a time."""

from typing import Any

import pytest
import razorpay
from razorpay.errors import BadRequestError

from razorpay_simulator.instruments import CARDS
from razorpay_simulator.testing import SimulatorProcess, SimulatorRefused

WINDOWS = {
    "capture": "automatic",
    "capture_options": {"automatic_expiry_period": 12, "manual_expiry_period": 60, "refund_speed": "normal"},
}
MINUTE = 60


def order(client: razorpay.Client, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.order.create({"amount": 100000, "currency": "INR", "payment": WINDOWS, **fields})
    return made


def test_a_successful_payment_pays_the_order_and_is_proven_by_its_signature(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    made = order(client)
    proof = simulator.pay(made["id"], method="card", card_number="4100 2800 0000 1007")
    assert set(proof) == {"razorpay_payment_id", "razorpay_order_id", "razorpay_signature"}
    assert client.utility.verify_payment_signature(proof)
    payment = client.payment.fetch(proof["razorpay_payment_id"])
    assert (payment["status"], payment["captured"], payment["order_id"]) == ("captured", True, made["id"])
    assert (payment["fee"], payment["tax"]) == (2360, 360)
    paid = client.order.fetch(made["id"])
    assert (paid["status"], paid["amount_paid"], paid["amount_due"], paid["attempts"]) == ("paid", 100000, 0, 1)


def test_every_documented_card_does_what_it_is_documented_for(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    for card in CARDS.values():
        answer = simulator.pay(order(client)["id"], method="card", card_number=card.number)
        payment = client.payment.fetch(answer["razorpay_payment_id"])
        assert payment["status"] == ("failed" if card.failure else "captured"), card
        assert payment["error_reason"] == card.failure
        assert payment["international"] == card.international
        assert (answer["razorpay_signature"] is None) == (card.failure is not None)


def test_the_test_upi_ids_succeed_and_fail(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    made = order(client)
    failed = simulator.pay(made["id"], vpa="failure@razorpay")
    assert failed["error"]["metadata"]["order_id"] == made["id"]
    assert client.order.fetch(made["id"])["status"] == "attempted"
    simulator.pay(made["id"], vpa="success@razorpay")
    assert client.order.fetch(made["id"])["attempts"] == 2
    statuses = [payment["status"] for payment in client.order.payments(made["id"])["items"]]
    assert statuses == ["failed", "captured"]


def test_a_short_otp_fails(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    answer = simulator.pay(order(client)["id"], method="card", card_number="4100280000001007", otp="123")
    assert answer["error"]["reason"] == "incorrect_otp"


@pytest.mark.parametrize(
    "form",
    [
        {"method": "cheque"},
        {"method": "card", "card_number": "4111 1111 1111 1112"},
        {"method": "upi", "vpa": "no-at-sign"},
        {"method": "upi", "outcome": "maybe"},
        {"method": "upi", "surprise": 1},
        {"method": "upi", "reason": "bad_weather"},
        {"method": "upi", "outcome": "late", "late_after": -1},
        {"method": "upi", "amount": 1},
    ],
)
def test_a_senseless_payment_is_refused_and_leaves_no_trace(
    simulator: SimulatorProcess, client: razorpay.Client, form: dict[str, Any]
) -> None:
    made = order(client)
    with pytest.raises(SimulatorRefused) as refused:
        simulator.pay(made["id"], **form)
    assert refused.value.status == 400
    assert client.order.fetch(made["id"]) == made
    assert client.order.payments(made["id"])["count"] == 0


def test_a_paid_order_takes_no_further_payment(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    made = order(client)
    simulator.pay(made["id"])
    with pytest.raises(SimulatorRefused, match="order is already paid"):
        simulator.pay(made["id"])


def test_one_payment_of_an_order_is_authorized_at_a_time(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    made = order(client)
    simulator.pay(made["id"], outcome="authorize_only")
    with pytest.raises(SimulatorRefused, match="another payment of this order is authorized"):
        simulator.pay(made["id"])


def test_the_merchant_captures_exactly_what_was_authorized_and_once(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    made = order(client, payment={"capture": "manual"})
    payment_id = simulator.pay(made["id"])["razorpay_payment_id"]
    assert client.payment.fetch(payment_id)["fee"] is None
    assert client.order.fetch(made["id"])["status"] == "attempted"
    with pytest.raises(BadRequestError, match="equal to the amount authorized"):
        client.payment.capture(payment_id, 99900, {"currency": "INR"})
    captured = client.payment.capture(payment_id, 100000, {"currency": "INR"})
    assert (captured["status"], captured["captured"], captured["fee"]) == ("captured", True, 2360)
    assert client.order.fetch(made["id"])["status"] == "paid"
    with pytest.raises(BadRequestError, match="already been captured"):
        client.payment.capture(payment_id, 100000, {"currency": "INR"})


def test_a_failed_payment_cannot_be_captured(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    payment_id = simulator.pay(order(client)["id"], outcome="failure")["razorpay_payment_id"]
    with pytest.raises(BadRequestError, match="authorized and not yet captured"):
        client.payment.capture(payment_id, 100000, {"currency": "INR"})


def test_an_authorization_nobody_captures_is_released_after_the_manual_window(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    made = order(client)
    payment_id = simulator.pay(made["id"], outcome="authorize_only")["razorpay_payment_id"]
    simulator.advance(59 * MINUTE)
    assert client.payment.fetch(payment_id)["status"] == "authorized"
    simulator.advance(MINUTE)
    released = client.payment.fetch(payment_id)
    assert (released["status"], released["captured"], released["refund_status"]) == ("refunded", False, "full")
    assert client.order.fetch(made["id"])["amount_paid"] == 0
    (refund,) = client.payment.fetch_multiple_refund(payment_id)["items"]
    assert (refund["status"], refund["amount"], refund["receipt"]) == ("processed", released["amount"], None)
    assert simulator.ledger()["totals"]["balanced"], "nothing was taken, so nothing of it went back"


def test_a_late_answer_inside_the_automatic_window_is_captured_by_itself(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    made = order(client)
    late = simulator.pay(made["id"], outcome="late", late_after=11 * MINUTE)
    assert late["razorpay_signature"] is None
    payment_id = late["razorpay_payment_id"]
    assert client.payment.fetch(payment_id)["status"] == "created"
    simulator.advance(10 * MINUTE)
    assert client.payment.fetch(payment_id)["error_reason"] == "payment_timed_out"
    simulator.advance(MINUTE)
    payment = client.payment.fetch(payment_id)
    assert (payment["status"], payment["error_reason"]) == ("captured", None)
    assert client.order.fetch(made["id"])["status"] == "paid"


def test_an_answer_after_the_automatic_window_waits_for_the_merchant(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    made = order(client)
    payment_id = simulator.pay(made["id"], outcome="late")["razorpay_payment_id"]
    simulator.advance(15 * MINUTE)
    assert client.payment.fetch(payment_id)["status"] == "authorized"
    client.payment.capture(payment_id, 100000, {"currency": "INR"})
    assert client.order.fetch(made["id"])["status"] == "paid"


def test_one_leap_over_all_windows_ends_like_many_small_steps(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    payment_id = simulator.pay(order(client)["id"], outcome="late")["razorpay_payment_id"]
    simulator.advance(86400)
    assert client.payment.fetch(payment_id)["status"] == "refunded"


@pytest.mark.parametrize(
    ("variant", "status", "captured"), [("released", "refunded", False), ("captured", "captured", True)]
)
def test_a_late_payment_of_an_order_paid_meanwhile(
    simulator: SimulatorProcess, client: razorpay.Client, variant: str, status: str, captured: bool
) -> None:
    simulator.variants(late_second_payment=variant)
    made = order(client)
    late = simulator.pay(made["id"], outcome="late", late_after=5 * MINUTE)
    simulator.pay(made["id"])
    simulator.advance(5 * MINUTE)
    payment = client.payment.fetch(late["razorpay_payment_id"])
    assert (payment["status"], payment["captured"]) == (status, captured)
    assert client.order.fetch(made["id"])["amount_paid"] == 100000


def test_a_failed_payment_is_retried_in_the_upi_app_under_the_same_id(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    made = order(client)
    payment_id = simulator.pay(made["id"], vpa="failure@razorpay")["razorpay_payment_id"]
    simulator.bank_answer(payment_id, "success")
    assert client.payment.fetch(payment_id)["status"] == "captured"
    with pytest.raises(SimulatorRefused, match="answered by the bank already"):
        simulator.bank_answer(payment_id, "failure")


def test_an_order_may_be_paid_in_parts(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    made = order(client, partial_payment=True, first_payment_min_amount=30000)
    with pytest.raises(SimulatorRefused, match="different from the amount due"):
        simulator.pay(made["id"], amount=20000)
    simulator.pay(made["id"], amount=40000)
    half = client.order.fetch(made["id"])
    assert (half["status"], half["amount_paid"], half["amount_due"]) == ("attempted", 40000, 60000)
    simulator.pay(made["id"])
    assert client.order.fetch(made["id"])["status"] == "paid"


def test_payments_are_listed_newest_first(fresh: SimulatorProcess, fresh_client: razorpay.Client) -> None:
    paid = [fresh.pay(order(fresh_client)["id"])["razorpay_payment_id"] for _ in range(3)]
    listed = [payment["id"] for payment in fresh_client.payment.all()["items"]]
    assert listed == paid[::-1]
