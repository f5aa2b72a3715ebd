"""Killed at any moment, started again: nothing that was answered is gone. And manners of the process."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import razorpay
import requests

from razorpay_simulator.server import SimulatorServer
from razorpay_simulator.settings import Settings
from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver
from razorpay_simulator.testing.process import free_port


def test_a_killed_simulator_remembers_everything(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    shop.status = 500
    fresh.variants(empty_notes="object")
    order = fresh_client.order.create({"amount": 50000, "currency": "INR", "receipt": "kept"})
    payment_id = fresh.pay(order["id"])["razorpay_payment_id"]
    key = {"X-Refund-Idempotency": "key-that-survives"}
    refund = fresh_client.payment.refund(payment_id, {"amount": 100}, headers=dict(key))
    fresh.advance(1000)
    before = fresh.ledger()
    fresh.restart(kill=True)
    after = fresh.ledger()
    assert [after[kind] for kind in ("orders", "payments", "refunds")] == [
        before[kind] for kind in ("orders", "payments", "refunds")
    ]
    assert after["now"] >= before["now"]
    assert fresh_client.order.fetch(order["id"])["notes"] == {}
    assert fresh_client.payment.refund(payment_id, {"amount": 100}, headers=dict(key)) == refund
    shop.status = 200
    fresh.advance(7200)
    told = {webhook.event for webhook in shop.received}
    assert told == {"payment.authorized", "payment.captured", "order.paid", "refund.created", "refund.processed"}
    assert fresh.ledger()["totals"]["deliveries_pending"] == 0


def test_every_order_answered_before_a_kill_is_there_afterwards(
    fresh: SimulatorProcess, fresh_client: razorpay.Client
) -> None:
    answered: list[str] = []

    def order_until_it_breaks() -> None:
        while True:
            try:
                answered.append(fresh_client.order.create({"amount": 100, "currency": "INR"}, timeout=5)["id"])
            except (requests.RequestException, ValueError):
                return

    buyer = threading.Thread(target=order_until_it_breaks)
    buyer.start()
    while len(answered) < 50:
        time.sleep(0.005)
    fresh.stop(kill=True)
    buyer.join()
    fresh.start()
    assert set(answered) <= {order["id"] for order in fresh.ledger()["orders"]}


def test_deadlines_that_pass_while_it_is_down_are_met_when_it_is_back(
    fresh: SimulatorProcess, fresh_client: razorpay.Client
) -> None:
    order = fresh_client.order.create({"amount": 50000, "currency": "INR"})
    payment_id = fresh.pay(order["id"], outcome="late", late_after=1)["razorpay_payment_id"]
    fresh.stop(kill=True)
    time.sleep(1)
    fresh.start()
    assert fresh_client.payment.fetch(payment_id)["status"] == "captured"


def test_it_leaves_quickly_and_with_success_even_while_a_call_waits(
    fresh: SimulatorProcess, fresh_client: razorpay.Client
) -> None:
    fresh.faults("orders.create", "delay", seconds=60)
    order = {"amount": 100, "currency": "INR"}
    waiting = threading.Thread(target=lambda: fresh.request("POST", "/v1/orders", body=order))
    waiting.start()
    while not fresh.fault_counters()[0]["fired"]:
        time.sleep(0.005)
    started = time.monotonic()
    assert fresh.stop() == 0
    assert time.monotonic() - started < 1
    waiting.join()


def test_it_is_live_and_ready_and_logs_json_lines_without_secrets(fresh: SimulatorProcess) -> None:
    assert fresh.call("GET", "/livez") == {"status": "live"}
    assert fresh.call("GET", "/readyz") == {"status": "ready"}
    log = fresh.log.read_text()
    assert all(line.startswith("{") for line in log.splitlines())
    assert fresh.key_secret not in log
    assert fresh.webhook_secret not in log


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"SIMULATOR_KEY_ID": "rzp_live_real"}, "must start with rzp_test_"),
        ({"SIMULATOR_KEY_SECRET": ""}, "SIMULATOR_KEY_SECRET must be set"),
        ({"SIMULATOR_PORT": "many"}, "SIMULATOR_PORT must be a number"),
        ({"SIMULATOR_DATA": ""}, "SIMULATOR_DATA must name the folder"),
    ],
)
def test_it_refuses_to_start_with_one_clear_line(tmp_path: Path, changed: dict[str, str], sentence: str) -> None:
    right = {"SIMULATOR_KEY_ID": "rzp_test_x", "SIMULATOR_KEY_SECRET": "x", "SIMULATOR_DATA": str(tmp_path)}
    package = str(Path(__file__).resolve().parents[1])
    ended = subprocess.run(
        [sys.executable, "-m", "razorpay_simulator"],
        env={**os.environ, "PYTHONPATH": package, **right, **changed},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert sentence in ended.stderr


def test_a_taken_port_is_one_clear_line_and_the_ledger_stays_untouched(fresh: SimulatorProcess, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "razorpay_simulator"],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            "SIMULATOR_KEY_ID": "rzp_test_x",
            "SIMULATOR_KEY_SECRET": "x",
            "SIMULATOR_DATA": str(tmp_path / "second"),
            "SIMULATOR_PORT": str(fresh.port),
        },
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert f"cannot listen on 127.0.0.1:{fresh.port}" in ended.stderr
    assert not (tmp_path / "second").exists()


def test_it_runs_inside_another_program_as_well(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, key_id="rzp_test_in_process", key_secret="secret", port=free_port())
    server = SimulatorServer(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    client = razorpay.Client(auth=(settings.key_id, settings.key_secret), base_url=f"http://127.0.0.1:{settings.port}")
    order = client.order.create({"amount": 100, "currency": "INR"})
    assert client.order.fetch(order["id"]) == order
    client.session.close()
    server.should_exit = True
    thread.join()
