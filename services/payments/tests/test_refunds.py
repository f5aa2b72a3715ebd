"""Money back: once, never more than was taken, and in the end always what has to go."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import pytest

from chassis.ids import derive_id
from payments.models import Attempt

if TYPE_CHECKING:
    from tests.conftest import Opening, PlacedOrder, Till

TOTAL = 250_000
LATE = ["payment.intent_closed.v1", "payment.captured.v1"]


async def _late_capture(till: "Till") -> tuple["PlacedOrder", str]:
    """An order that closed, and was paid after it; the attempt's id at the provider."""
    order = await till.placed()
    proof = await till.pay(order, outcome="late")
    await till.deliver("order.closing.v1", order)
    await till.harness.execute("UPDATE attempts SET first_seen_at = clock_timestamp() - interval '1 hour'")
    await till.harness.run_job("closing")
    await till.harness.execute("UPDATE attempts SET first_seen_at = clock_timestamp() - interval '1 hour'")
    await till.due(order)
    await till.harness.run_job("closing")
    attempt = proof["razorpay_payment_id"]
    await till.ask(till.simulator.bank_answer, attempt, "success")
    await till.hand_on(await till.webhook("payment.captured", attempt))
    assert await till.event_types(order) == LATE
    return order, attempt


async def test_money_that_came_too_late_goes_back_once(till: "Till") -> None:
    order, attempt = await _late_capture(till)
    await till.return_asked(order, attempt)
    await till.return_asked(order, attempt, reason="duplicate_capture")
    (refund,) = await till.refunds()
    assert refund["id"] == derive_id(Attempt.id_for(attempt), "return", "1")
    assert (refund["amount"], refund["status"]) == (TOTAL, "requested")
    await till.pursue_refunds()
    await till.pursue_refunds()
    (made,) = await till.returned(attempt)
    assert (made["amount"], made["receipt"], made["notes"]) == (TOTAL, refund["id"].hex, {"reason": "late_capture"})
    payment = await till.payment(order)
    assert (payment["status"], payment["refunded"]["amount"]) == ("refunded", TOTAL)
    (told,) = await till.harness.events("refund.processed.v1")
    assert told.data["captured_total"] == told.data["refunded_total"] == TOTAL
    assert (told.data["pending_total"], told.data["reason"]) == (0, "late_capture")
    assert till.harness.counted("haat_refunds_processed_minor_units_total", currency="INR") == TOTAL
    assert till.harness.counted("haat_refunds_processed_total") == 1


async def test_a_refund_whose_answer_was_lost_is_made_once(till: "Till") -> None:
    order, _, attempt = await till.paid()
    await till.ask(till.simulator.faults, "payments.refund", "fail_after_commit")
    await till.return_asked(order, attempt)
    await till.pursue_refunds()
    assert [refund["status"] for refund in await till.refunds()] == ["submitted"]
    await till.pursue_refunds()
    assert [refund["status"] for refund in await till.refunds()] == ["processed"]
    assert len(await till.returned(attempt)) == 1
    assert (await till.event_types(order))[1:] == ["refund.submitted.v1", "refund.processed.v1"]


@pytest.mark.parametrize("fault", ["fail_before_commit", "rate_limit", "html", "reset", "truncate", "redirect"])
async def test_no_trouble_of_the_provider_ends_or_doubles_a_refund(till: "Till", fault: str) -> None:
    order, _, attempt = await till.paid()
    await till.ask(till.simulator.faults, "payments.refund", fault, times=2)
    await till.return_asked(order, attempt)
    for _ in range(3):
        await till.pursue_refunds()
    assert [refund["status"] for refund in await till.refunds()] == ["processed"]
    assert len(await till.returned(attempt)) == 1


async def test_a_provider_that_was_not_reached_was_not_asked(till: "Till") -> None:
    order, _, attempt = await till.paid()
    await till.return_asked(order, attempt)
    till.simulator.stop()
    try:
        assert (await till.pursue_refunds()).unresolved == 1
    finally:
        await till.ask(till.simulator.start)
    assert [refund["status"] for refund in await till.refunds()] == ["requested"]
    assert (await till.event_types(order)) == ["payment.captured.v1"]
    await till.pursue_refunds()
    assert len(await till.returned(attempt)) == 1


async def test_a_refused_refund_is_final_and_a_new_one_follows_with_growing_delay(till: "Till") -> None:
    order, _, attempt = await till.paid()
    await till.ask(till.simulator.faults, "payments.refund", "refuse", description="Insufficient balance", times=3)
    await till.return_asked(order, attempt)
    for _ in range(3):
        await till.pursue_refunds()
    refunds = await till.refunds()
    assert [refund["status"] for refund in refunds] == ["failed", "failed", "failed", "requested"]
    expected = [derive_id(Attempt.id_for(attempt), "return", str(number)) for number in (1, 2, 3, 4)]
    assert [refund["id"] for refund in refunds] == expected
    (row,) = await till.rows(
        "SELECT next_try_at - clock_timestamp() > interval '7 min' AS is_far FROM refunds WHERE status = 'requested'"
    )
    assert row["is_far"]
    await till.pursue_refunds()
    assert len(await till.returned(attempt)) == 1
    assert (await till.payment(order))["status"] == "refunded"
    assert (await till.event_types(order)).count("refund.failed.v1") == 3


async def test_a_refusal_after_it_was_done_does_not_count(till: "Till") -> None:
    """Refused, although a refund of ours is there: found by its receipt before FAILED is believed."""
    order, _, attempt = await till.paid()
    await till.ask(till.simulator.faults, "payments.refund", "refuse", committed=True)
    await till.return_asked(order, attempt)
    await till.pursue_refunds()
    assert [refund["status"] for refund in await till.refunds()] == ["processed"]
    assert len(await till.returned(attempt)) == 1


async def test_a_refund_the_bank_turns_down_is_followed_by_another(till: "Till") -> None:
    await till.ask(till.simulator.variants, refund_answer="pending")
    order, _, attempt = await till.paid()
    await till.return_asked(order, attempt)
    await till.pursue_refunds()
    (pending,) = await till.returned(attempt)
    assert [refund["status"] for refund in await till.refunds()] == ["submitted"]
    await till.ask(till.simulator.settle_refund, pending["id"], "failed")
    await till.hand_on(await till.webhook("refund.failed", attempt))
    assert [refund["status"] for refund in await till.refunds()] == ["failed", "requested"]
    await till.pursue_refunds()
    again = (await till.returned(attempt))[1]
    await till.ask(till.simulator.settle_refund, again["id"], "processed")
    await till.pursue_refunds()
    assert [refund["status"] for refund in await till.refunds()] == ["failed", "processed"]
    assert (await till.payment(order))["status"] == "refunded"


async def test_a_refund_that_was_reversed_has_failed_and_is_followed_by_another(till: "Till") -> None:
    """What went to a closed account comes back; Razorpay calls that reversed."""
    await till.ask(till.simulator.variants, refund_answer="pending")
    order, _, attempt = await till.paid()
    await till.return_asked(order, attempt)
    await till.pursue_refunds()
    document = (await till.webhook("refund.created", attempt)).document
    document["payload"]["refund"]["entity"]["status"] = "reversed"
    assert (await till.forge(document)).status_code == 200
    assert [refund["status"] for refund in await till.refunds()] == ["failed", "requested"]
    assert (await till.event_types(order))[-1] == "refund.failed.v1"


async def test_a_word_of_tomorrow_about_a_refund_hides_no_other(till: "Till") -> None:
    await till.ask(till.simulator.variants, refund_answer="pending")
    order, payment_id, attempt = await till.paid()
    assert (await till.staff_refund(payment_id, 50_000)).status_code == 202
    await till.pursue_refunds()
    document = (await till.webhook("refund.created", attempt)).document
    document["payload"]["refund"]["entity"]["status"] = "teleported"
    assert (await till.forge(document)).status_code == 200
    assert [row["outcome"] for row in await till.rows("SELECT outcome FROM webhook_events")] == ["applied"]
    assert [refund["status"] for refund in await till.refunds()] == ["submitted"]
    assert (await till.event_types(order))[-1] == "refund.submitted.v1"


async def test_a_pending_refund_is_asked_about_and_never_sent_again(till: "Till") -> None:
    """How long the provider remembers a key is not promised."""
    await till.ask(till.simulator.variants, refund_answer="pending")
    _, payment_id, attempt = await till.paid()
    assert (await till.staff_refund(payment_id, 50_000)).status_code == 202
    await till.pursue_refunds()
    await till.ask(till.simulator.faults, "payments.refund", "delay", seconds=0, times=0)
    for _ in range(3):
        await till.pursue_refunds()
    assert [fault["seen"] for fault in await till.ask(till.simulator.fault_counters)] == [0]
    assert len(await till.returned(attempt)) == 1


async def test_retries_carry_the_same_key_and_the_same_bytes(open_till: "Opening") -> None:
    """Recorded on the way to the provider, with a reason that has more than ASCII in it."""
    async with open_till() as plain:
        simulator = plain.simulator
    with Recorder(simulator.base_url) as recorder:
        async with open_till(razorpay_base_url=recorder.url) as till:
            _, payment_id, _ = await till.paid()
            await till.ask(simulator.faults, "payments.refund", "fail_before_commit", times=2)
            body = {"reason": "gebrochen – टूटा", "amount": {"amount": 50_000, "currency": "INR"}}
            headers = {"idempotency-key": "one"}
            await till.staff("POST", f"/payments/{payment_id}/refunds", json=body, headers=headers)
            for _ in range(3):
                await till.pursue_refunds()
            (stored,) = await till.rows("SELECT id, body, status FROM refunds")
    sent = [request for request in recorder.requests if request["path"].endswith("/refund")]
    assert len(sent) == 3
    assert {request["key"] for request in sent} == {stored["id"].hex}
    assert {request["body"] for request in sent} == {stored["body"].encode()}
    assert stored["status"] == "processed"


@pytest.mark.parametrize("answer", ["processed", "pending"])
async def test_a_refund_made_in_the_dashboard_is_recognised_and_never_repeated(till: "Till", answer: str) -> None:
    await till.ask(till.simulator.variants, refund_answer=answer)
    order, payment_id, attempt = await till.paid()
    made = await till.ask(till.simulator.dashboard_refund, attempt, amount=100_000)
    for webhook in await till.webhooks():
        await till.hand_on(webhook)
    (refund,) = await till.refunds()
    assert (refund["kind"], refund["amount"], refund["provider_refund_id"]) == ("external", 100_000, made["id"])
    for _ in range(3):
        await till.pursue_refunds()
    if answer == "pending":
        await till.ask(till.simulator.settle_refund, made["id"], "processed")
        await till.pursue_refunds()
    assert len(await till.returned(attempt)) == 1
    assert (await till.payment(order))["refunded"]["amount"] == 100_000
    assert (await till.staff_refund(payment_id, 200_000)).json()["refundable"] == 150_000
    await till.return_asked(order, attempt, reason="cancelled")
    await till.pursue_refunds()
    if answer == "processed":
        assert (await till.payment(order))["status"] == "refunded"
    assert sum(refund["amount"] for refund in await till.returned(attempt)) == TOTAL


async def test_a_dashboard_refund_nobody_told_us_about_is_found_by_its_sum(till: "Till") -> None:
    """`amount_refunded` is never booked: it only says that there are refunds to look for."""
    order, _, attempt = await till.paid()
    await till.ask(till.simulator.dashboard_refund, attempt, amount=100_000)
    await till.harness.run_job("sweep")
    assert (await till.payment(order))["refunded"]["amount"] == 0
    await till.harness.run_job("returns")
    assert (await till.payment(order))["refunded"]["amount"] == 100_000
    assert (await till.harness.run_job("returns")).found == 0


async def test_attempts_that_cannot_be_looked_at_keep_no_other_from_its_turn(till: "Till") -> None:
    """The provider shows nothing of twenty attempts, which stand in front every time."""
    _, _, attempt = await till.paid()
    await till.harness.execute("""
        INSERT INTO attempts
            (id, payment_id, provider_order_id, provider_payment_id, rank, amount, currency, captured, refunds_seen,
             changed_at, first_seen_at)
        SELECT gen_random_uuid(), payment_id, provider_order_id, 'pay_' || lpad(n::text, 14, '0'), rank, amount,
            currency, captured, 100, changed_at, first_seen_at - interval '1 minute'
        FROM attempts, generate_series(1, 20) AS n
    """)
    await till.ask(till.simulator.dashboard_refund, attempt, amount=100_000)
    await till.harness.run_job("sweep")
    outcome = await till.harness.run_job("returns")
    assert (outcome.found, outcome.repaired, outcome.unresolved) == (21, 1, 20)
    assert [refund["amount"] for refund in await till.refunds()] == [100_000]


async def test_a_dashboard_refund_of_an_old_payment_is_found_without_a_webhook(till: "Till") -> None:
    """The sweep of payments looks two days back; goodwill may come weeks after the purchase."""
    order, payment_id, attempt = await till.paid()
    await till.ask(till.simulator.dashboard_refund, attempt, amount=40_000)

    first = await till.harness.run_job("refund-sweep")

    assert (first.repaired, first.unresolved) == (1, 0)
    (refund,) = await till.refunds()
    assert (refund["kind"], refund["amount"], refund["status"]) == ("external", 40_000, "processed")
    assert "refund.processed.v1" in await till.event_types(order)
    seen = (await till.staff("GET", f"/payments/{payment_id}")).json()
    assert (seen["status"], seen["refunded"]["amount"]) == ("partially_refunded", 40_000)
    again = await till.harness.run_job("refund-sweep")
    assert (again.repaired, again.found >= 1) == (0, True)


async def test_a_dashboard_refund_is_found_once_its_capture_is_known(till: "Till") -> None:
    """Until then it cannot be told from an authorisation that went back by itself."""
    order = await till.placed()
    attempt = (await till.pay(order))["razorpay_payment_id"]
    await till.hand_on(await till.webhook("payment.authorized", attempt))
    await till.ask(till.simulator.dashboard_refund, attempt, amount=40_000)
    assert (await till.harness.run_job("refund-sweep")).repaired == 0

    await till.hand_on(await till.webhook("payment.captured", attempt))
    assert (await till.harness.run_job("refund-sweep")).repaired == 1

    assert await till.event_types(order) == ["payment.captured.v1", "refund.processed.v1"]
    (told,) = await till.harness.events("refund.processed.v1")
    assert (told.data["captured_total"], told.data["refunded_total"]) == (TOTAL, 40_000)


async def test_a_pending_refund_is_settled_by_the_sweep_too(till: "Till") -> None:
    await till.ask(till.simulator.variants, refund_answer="pending", refunded_when="created")
    _, payment_id, _ = await till.paid()
    await till.staff_refund(payment_id, 10_000)
    await till.pursue_refunds()
    (under_way,) = await till.refunds()
    assert under_way["status"] == "submitted"
    assert (await till.harness.run_job("refund-sweep")).repaired == 0
    await till.ask(till.simulator.settle_refund, under_way["provider_refund_id"], "processed")
    assert (await till.harness.run_job("refund-sweep")).repaired == 1
    assert [refund["status"] for refund in await till.refunds()] == ["processed"]


async def test_an_external_refund_leaves_only_the_rest_to_return(till: "Till") -> None:
    """Ours for everything was on its way when somebody refunded a part by hand: the rest follows by itself."""
    order, _, attempt = await till.paid()
    await till.return_asked(order, attempt, reason="cancelled")
    await till.ask(till.simulator.dashboard_refund, attempt, amount=100_000)
    await till.pursue_refunds()
    await till.pursue_refunds()
    assert {(refund["kind"], refund["amount"], refund["status"]) for refund in await till.refunds()} == {
        ("return", TOTAL, "failed"),
        ("external", 100_000, "processed"),
        ("return", 150_000, "processed"),
    }
    assert sum(refund["amount"] for refund in await till.returned(attempt)) == TOTAL


async def test_a_rest_that_the_provider_would_not_give_back_is_left_to_people(till: "Till") -> None:
    """Somebody gave back all but half a rupee by hand. Asking for that would be refused, and asked again, for ever."""
    order, _, attempt = await till.paid()
    await till.ask(till.simulator.dashboard_refund, attempt, amount=TOTAL - 50)
    await till.poll(order)
    await till.harness.run_job("sweep")
    await till.harness.run_job("returns")
    await till.return_asked(order, attempt, reason="cancelled")
    assert [(refund["kind"], refund["amount"]) for refund in await till.refunds()] == [("external", TOTAL - 50)]
    outcome = await till.harness.run_job("returns")
    assert (outcome.found, outcome.repaired, outcome.unresolved) == (1, 0, 1)


async def test_what_is_to_return_before_it_was_captured_returns_when_it_is(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order, outcome="authorize_only")
    attempt = proof["razorpay_payment_id"]
    await till.verify(order, proof)
    await till.return_asked(order, attempt)
    assert await till.refunds() == []
    body = {"amount": TOTAL, "currency": "INR"}
    await till.ask(till.simulator.request, "POST", f"/v1/payments/{attempt}/capture", body=body)
    await till.poll(order)
    assert [refund["amount"] for refund in await till.refunds()] == [TOTAL]


async def test_the_job_returns_what_somehow_was_left(till: "Till") -> None:
    await till.paid()
    await till.harness.execute("UPDATE attempts SET to_return = 'cancelled'")
    assert (await till.harness.run_job("returns")).found == 1
    assert [refund["amount"] for refund in await till.refunds()] == [TOTAL]


async def test_two_duplicate_captures_leave_one_to_pay(till: "Till") -> None:
    """Only the second attempt goes back, and the payment keeps the first."""
    await till.ask(till.simulator.variants, late_second_payment="captured")
    order = await till.placed()
    late = await till.pay(order, outcome="late")
    await till.pay(order)
    await till.ask(till.simulator.bank_answer, late["razorpay_payment_id"], "success")
    await till.poll(order)
    await till.return_asked(order, late["razorpay_payment_id"], reason="duplicate_capture")
    await till.pursue_refunds()
    assert [refund["amount"] for refund in await till.returned(late["razorpay_payment_id"])] == [TOTAL]
    payment = await till.payment(order)
    assert (payment["captured"]["amount"], payment["refunded"]["amount"]) == (2 * TOTAL, TOTAL)


class Recorder:
    """Stands before the provider and writes down what passes."""

    def __init__(self, target: str) -> None:
        self.requests: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _passing_on(self, target))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _passing_on(recorder: Recorder, target: str) -> type[BaseHTTPRequestHandler]:
    import httpx

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(b"")

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["content-length"])))

        def _pass_on(self, body: bytes) -> None:
            key = self.headers.get("x-refund-idempotency")
            recorder.requests.append({"path": self.path, "body": body, "key": key})
            kept = ("authorization", "content-type", "x-refund-idempotency")
            headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
            answer = httpx.request(self.command, target + self.path, content=body, headers=headers)
            self.send_response(answer.status_code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_args: Any, **_kwargs: Any) -> None:
            """The recorder is the log."""

    return Handler


def test_the_stored_body_is_what_json_makes_of_it_again() -> None:
    """The SDK encodes what we decode: the bytes must survive the round trip."""
    body = json.dumps({"amount": 100, "speed": "normal", "notes": {"reason": "टूटा"}, "receipt": UUID(int=1).hex})
    assert json.dumps(json.loads(body)) == body
