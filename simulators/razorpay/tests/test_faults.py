"""The fault menu on API routes: what the caller sees, and what was done behind its back."""

import threading
import time
from typing import Any

import pytest
import razorpay
import requests
from razorpay.errors import BadRequestError, ServerError

from razorpay_simulator.testing import SimulatorProcess, SimulatorRefused

ORDER = {"amount": 50000, "currency": "INR"}


def orders_with(client: razorpay.Client, receipt: str) -> int:
    return int(client.order.all({"receipt": receipt})["count"])


def test_a_failure_before_commit_leaves_nothing(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.faults("orders.create", "fail_before_commit")
    with pytest.raises(ServerError, match="some trouble"):
        client.order.create({**ORDER, "receipt": "before"})
    assert orders_with(client, "before") == 0
    assert client.order.create({**ORDER, "receipt": "before"})["status"] == "created"


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("fail_after_commit", ServerError),
        ("reset", requests.exceptions.ConnectionError),
        ("truncate", requests.exceptions.RequestException),
        ("null_error", TypeError),
    ],
)
def test_a_lost_answer_hides_work_that_was_done(
    simulator: SimulatorProcess, client: razorpay.Client, action: str, error: type[Exception]
) -> None:
    simulator.faults("orders.create", action)
    with pytest.raises(error):
        client.order.create({**ORDER, "receipt": f"lost-{action}"})
    assert orders_with(client, f"lost-{action}") == 1


@pytest.mark.parametrize(
    ("action", "status"), [("html", 502), ("rate_limit", 429), ("rate_limit_empty", 429), ("redirect", 302)]
)
def test_answers_that_mean_nothing_was_done(
    simulator: SimulatorProcess, client: razorpay.Client, action: str, status: int
) -> None:
    simulator.faults("orders.create", action)
    assert status_without_following(simulator, {**ORDER, "receipt": f"not-{action}"}) == status
    assert orders_with(client, f"not-{action}") == 0


def test_whether_the_work_was_done_can_be_chosen(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.faults("orders.create", "html", committed=True)
    simulator.faults("orders.create", "reset", committed=False)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        client.order.create({**ORDER, "receipt": "chosen"})
    with pytest.raises(requests.exceptions.ConnectionError):
        client.order.create({**ORDER, "receipt": "chosen"})
    assert orders_with(client, "chosen") == 1


def test_a_refusal_in_given_words(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.faults("payments.refund", "refuse", description="Your account does not have enough balance")
    order = client.order.create(ORDER)
    payment_id = simulator.pay(order["id"])["razorpay_payment_id"]
    with pytest.raises(BadRequestError, match="enough balance"):
        client.payment.refund(payment_id, {})


def test_slow_answers_arrive_whole(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    for action in ("delay", "delay_answer", "trickle"):
        simulator.faults("orders.create", action, seconds=0.2)
        started = time.monotonic()
        assert client.order.create(ORDER)["status"] == "created"
        assert time.monotonic() - started > 0.18


def test_a_fault_fires_on_the_nth_call_as_often_as_told_and_is_counted(
    simulator: SimulatorProcess, client: razorpay.Client
) -> None:
    simulator.faults("orders.create", "fail_before_commit", nth=2, times=2)
    outcomes = []
    for _ in range(4):
        try:
            client.order.create(ORDER)
            outcomes.append("done")
        except ServerError:
            outcomes.append("failed")
    assert outcomes == ["done", "failed", "failed", "done"]
    counter = simulator.fault_counters()[0]
    assert (counter["seen"], counter["fired"]) == (4, 2)


def test_a_fault_can_hold_for_every_route_until_cleared(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    simulator.faults("*", "fail_before_commit", times=0)
    for _ in range(3):
        with pytest.raises(ServerError):
            client.payment.all()
    simulator.clear_faults()
    assert client.payment.all()["entity"] == "collection"


def test_a_stale_read_shows_the_past_for_a_while(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    order = client.order.create(ORDER)
    simulator.faults("orders.fetch", "stale", seconds=60)
    simulator.pay(order["id"])
    assert client.order.fetch(order["id"])["status"] == "created"
    assert client.order.payments(order["id"])["count"] == 1
    simulator.advance(61)
    assert client.order.fetch(order["id"])["status"] == "paid"


def test_a_refund_in_progress_refuses_its_key_to_others(simulator: SimulatorProcess, client: razorpay.Client) -> None:
    order = client.order.create(ORDER)
    payment_id = simulator.pay(order["id"])["razorpay_payment_id"]
    path, headers = f"/v1/payments/{payment_id}/refund", {"X-Refund-Idempotency": "in-flight-key"}
    simulator.faults("payments.refund", "delay", seconds=1)
    answers: list[int] = []
    first = threading.Thread(
        target=lambda: answers.append(simulator.request("POST", path, body={}, headers=headers).status)
    )
    first.start()
    while not simulator.fault_counters()[0]["fired"]:
        pass
    assert simulator.request("POST", path, body={}, headers=headers).status == 409
    first.join()
    assert answers == [200]
    assert simulator.request("POST", path, body={}, headers=headers).status == 200
    assert client.payment.fetch_multiple_refund(payment_id)["count"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"route": "orders.nothing", "action": "delay"},
        {"route": "orders.create", "action": "forge"},
        {"route": "webhook", "action": "truncate"},
        {"route": "orders.create", "action": "delay", "nth": 0},
        {"route": "orders.create", "action": "delay", "seconds": -1},
        {"route": "orders.create", "action": "delay", "surprise": 1},
        {"route": "orders.create"},
    ],
)
def test_a_fault_that_is_not_on_the_menu_is_refused(simulator: SimulatorProcess, fault: dict[str, Any]) -> None:
    with pytest.raises(SimulatorRefused) as refused:
        simulator.call("POST", "/simulator/faults", fault)
    assert refused.value.status == 400
    assert simulator.fault_counters() == []


def status_without_following(simulator: SimulatorProcess, order: dict[str, Any]) -> int:
    """As a careful client sees it: the SDK alone would follow a redirect."""
    answer = requests.post(
        f"{simulator.base_url}/v1/orders",
        json=order,
        auth=(simulator.key_id, simulator.key_secret),
        allow_redirects=False,
        timeout=10,
    )
    return answer.status_code
