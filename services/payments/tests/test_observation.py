"""Whoever says it first, however often: the end is the same."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import PlacedOrder, Till


@dataclass
class Case:
    """One paid attempt and what the provider sent about it."""

    till: "Till"
    order: "PlacedOrder"
    proof: dict[str, str]
    webhooks: dict[str, Any]

    @classmethod
    async def of(cls, till: "Till", order: "PlacedOrder", proof: dict[str, str]) -> "Case":
        """With the webhooks of this attempt only."""
        webhooks = {}
        for webhook in await till.webhooks():
            if webhook.document["payload"]["payment"]["entity"]["id"] == proof["razorpay_payment_id"]:
                webhooks[webhook.event] = webhook
        till.receiver.received.clear()
        return cls(till, order, proof, webhooks)


Observe = Callable[[Case], Awaitable[None]]


def _webhook(event: str) -> Observe:
    async def deliver(case: Case) -> None:
        assert (await case.till.hand_on(case.webhooks[event])).status_code == 200

    return deliver


async def _handshake(case: Case) -> None:
    assert (await case.till.verify(case.order, case.proof)).status_code == 200


async def _poll(case: Case) -> None:
    await case.till.poll(case.order)


OBSERVATIONS: dict[str, Observe] = {
    "authorized": _webhook("payment.authorized"),
    "captured": _webhook("payment.captured"),
    "order paid": _webhook("order.paid"),
    "failed": _webhook("payment.failed"),
    "handshake": _handshake,
    "poll": _poll,
}
PAID = ("authorized", "captured", "order paid", "handshake", "poll")
FAILED_FIRST = ("failed", "authorized", "captured", "handshake", "poll")


@pytest.mark.slow
@pytest.mark.parametrize("first", PAID)
async def test_any_order_of_arrival_ends_in_the_same_state(till: "Till", first: str) -> None:
    """Razorpay promises no order; woocommerce#664, odoo#147534, magento#291."""
    for rest in permutations([name for name in PAID if name != first]):
        order = await till.placed()
        proof = await till.pay(order)
        await _observe(await Case.of(till, order, proof), arrivals=(first, *rest))


@pytest.mark.slow
@pytest.mark.parametrize("first", FAILED_FIRST)
async def test_failed_and_then_captured_is_captured_in_any_order_of_arrival(till: "Till", first: str) -> None:
    """A second try inside the UPI app; the handshake comes while the provider answers nobody."""
    await till.ask(till.simulator.faults, "payments.fetch", "html", times=0)
    for rest in permutations([name for name in FAILED_FIRST if name != first]):
        order = await till.placed()
        tried = await till.pay(order, outcome="failure")
        await till.ask(till.simulator.bank_answer, tried["razorpay_payment_id"], "success")
        proof = till.handshake(tried["razorpay_order_id"], tried["razorpay_payment_id"])
        await _observe(await Case.of(till, order, proof), arrivals=(first, *rest))


async def _observe(case: Case, *, arrivals: tuple[str, ...]) -> None:
    """Each observation as it comes, and a second time at once."""
    till, order = case.till, case.order
    for name in arrivals:
        await OBSERVATIONS[name](case)
        await OBSERVATIONS[name](case)
    payment = await till.payment(order)
    (attempt,) = payment["attempts"]
    assert (payment["status"], attempt["status"], attempt["error"]) == ("captured", "captured", None), arrivals
    assert attempt["amount"] == payment["captured"] == {"amount": order.total, "currency": "INR"}
    assert await till.path(order) == ["new", "creating", "open", "settled"]
    told = await till.event_types(order)
    assert told.count("payment.captured.v1") == 1, arrivals
    assert set(told) <= {"payment.captured.v1", "payment.failed.v1"}
    assert told.index("payment.captured.v1") == len(told) - 1, "nothing is said to fail after it was captured"


async def test_twenty_deliveries_of_one_webhook_at_once_are_applied_once(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order)
    webhook = await till.webhook("payment.captured", proof["razorpay_payment_id"])
    answers = await asyncio.gather(*(till.hand_on(webhook) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert [row["applied"] for row in await till.rows("SELECT applied FROM observations")] == [True]


async def test_one_payment_told_by_many_at_once_is_settled_once(till: "Till") -> None:
    """Different events, handshakes and polls about one payment at the same moment."""
    order = await till.placed()
    proof = await till.pay(order)
    case = await Case.of(till, order, proof)
    await asyncio.gather(*(OBSERVATIONS[name](case) for name in PAID for _ in range(4)))
    assert await till.event_types(order) == ["payment.captured.v1"]
    rows = await till.rows("SELECT applied FROM observations WHERE rank = 30 AND applied")
    assert len(rows) == 1


async def test_a_failed_attempt_is_told_and_may_be_followed_by_another(till: "Till") -> None:
    order = await till.placed()
    failed = await till.pay(order, outcome="failure", reason="payment_cancelled")
    assert failed["razorpay_signature"] is None
    await till.hand_on(await till.webhook("payment.failed", failed["razorpay_payment_id"]))
    payment = await till.payment(order)
    assert (payment["status"], payment["attempts"][0]["status"]) == ("open", "failed")
    assert payment["attempts"][0]["error"]["code"] == "BAD_REQUEST_ERROR"
    await till.verify(order, await till.pay(order))
    assert await till.event_types(order) == ["payment.failed.v1", "payment.captured.v1"]


async def test_an_authorisation_given_back_has_lapsed(till: "Till") -> None:
    """Refunded, and never captured: nothing was paid, and nobody is told of a refund."""
    order = await till.placed()
    proof = await till.pay(order, outcome="authorize_only")
    await till.hand_on(await till.webhook("payment.authorized", proof["razorpay_payment_id"]))
    await till.ask(till.simulator.advance, 61 * 60)
    await till.poll(order)
    payment = await till.payment(order)
    assert (payment["status"], payment["attempts"][0]["status"]) == ("open", "failed")
    assert payment["refunded"]["amount"] == payment["captured"]["amount"] == 0
    assert await till.event_types(order) == []
    await till.hand_on(await till.webhook("payment.authorized", proof["razorpay_payment_id"]))
    await till.deliver("order.closing.v1", order)
    await till.harness.run_job("closing")
    assert await till.event_types(order) == ["payment.intent_closed.v1"]


async def test_two_captures_of_one_order_are_both_reported(till: "Till") -> None:
    """The bank's late yes to the first attempt, after the second was captured."""
    await till.ask(till.simulator.variants, late_second_payment="captured")
    order = await till.placed()
    late = await till.pay(order, outcome="late")
    second = await till.pay(order)
    await till.ask(till.simulator.bank_answer, late["razorpay_payment_id"], "success")
    await till.poll(order)
    captured = await till.harness.events("payment.captured.v1")
    assert {event.data["provider_payment_id"] for event in captured} == {
        late["razorpay_payment_id"],
        second["razorpay_payment_id"],
    }
    assert [event.sequence for event in captured] == sorted({event.sequence for event in captured})
    assert await till.path(order) == ["new", "creating", "open", "settled"]
    assert (await till.payment(order))["captured"]["amount"] == 2 * order.total


async def test_what_was_really_taken_is_reported_not_what_was_asked(till: "Till") -> None:
    """The handshake proves neither amount nor capture; orders must hear of a difference."""
    await till.ask(till.simulator.variants, smaller_capture="allowed")
    await till.ask(till.simulator.faults, "payments.fetch", "html")
    order = await till.placed()
    proof = await till.pay(order, outcome="authorize_only")
    assert (await till.verify(order, proof)).json()["attempts"][0]["status"] == "authorized"
    attempt = proof["razorpay_payment_id"]
    body = {"amount": order.total - 5_000, "currency": "INR"}
    assert (await till.ask(till.simulator.request, "POST", f"/v1/payments/{attempt}/capture", body=body)).status == 200
    await till.poll(order)
    (event,) = await till.harness.events("payment.captured.v1")
    assert event.data["amount"] == order.total - 5_000


async def test_a_handshake_is_recorded_although_the_provider_answers_from_before_it(till: "Till") -> None:
    """A stale read takes nothing away from the proof."""
    order = await till.placed()
    late = await till.pay(order, outcome="late")
    await till.ask(till.simulator.faults, "payments.fetch", "stale", seconds=3600)
    await till.ask(till.simulator.bank_answer, late["razorpay_payment_id"], "success")
    proof = till.handshake(late["razorpay_order_id"], late["razorpay_payment_id"])
    assert (await till.verify(order, proof)).json()["attempts"][0]["status"] == "authorized"


async def test_a_sweep_finds_what_webhooks_and_polls_left_out(till: "Till") -> None:
    order, closed = await till.placed(), await till.placed()
    await till.pay(order)
    await till.pay(closed)
    await till.deliver("order.expired.v1", closed)
    outcome = await till.harness.run_job("sweep")
    assert outcome.repaired == 2
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert await till.event_types(closed) == ["payment.captured.v1"]
    assert await till.path(closed) == ["new", "creating", "open", "closed", "settled"]
    assert (await till.harness.run_job("sweep")).repaired == 0


@pytest.mark.parametrize("job", ["open", "closing", "creations"])
async def test_one_run_asks_about_all_that_are_due_and_about_each_once(till: "Till", job: str) -> None:
    """However many shoppers went away from their checkouts: who has paid waits for none of them."""
    order = await till.placed()
    await till.open(order)
    status = {"open": "open", "closing": "closing", "creations": "creating"}[job]
    await till.harness.execute(f"""
        UPDATE payments SET status = '{status}', next_ask_at = clock_timestamp() - interval '1 minute',
            lease_until = clock_timestamp() - interval '1 minute'
    """)
    await till.harness.execute("""
        INSERT INTO payments
            (id, order_id, user_id, status, amount, currency, receipt, version, pay_by, lease_until, next_ask_at)
        SELECT gen_random_uuid(), gen_random_uuid(), user_id, status, amount, currency, n::text, version, pay_by,
            lease_until, next_ask_at
        FROM payments, generate_series(1, 50) AS n
    """)
    outcome = await till.harness.run_job(job)
    assert outcome.found == 51
    assert (await till.harness.run_job(job)).found == 0
    await till.harness.execute("TRUNCATE payments CASCADE")


async def test_a_payment_asked_about_in_vain_is_told_until_the_provider_answers(till: "Till") -> None:
    order = await till.placed()
    await till.pay(order)
    await till.ask(till.simulator.faults, "orders.payments", "html")
    for unresolved, status in ((1, "open"), (0, "captured")):
        await till.due(order)
        assert (await till.harness.run_job("open")).unresolved == unresolved
        assert (await till.payment(order))["status"] == status


async def test_money_that_only_we_found_raises_an_alarm_about_the_webhook(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order)
    await till.poll(order)
    assert (await till.harness.run_job("webhook-silence")).unresolved == 1
    await till.hand_on(await till.webhook("payment.captured", proof["razorpay_payment_id"]))
    assert (await till.harness.run_job("webhook-silence")).unresolved == 0


async def test_nothing_kept_of_an_observation_says_who_paid(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order, method="upi", vpa="success@razorpay", email="asha@example.com")
    await till.verify(order, proof)
    (row,) = await till.rows("SELECT raw::text FROM observations")
    assert "asha@example.com" not in row["raw"]
    assert "success@razorpay" not in row["raw"]


async def test_an_unknown_status_of_tomorrow_moves_nothing(till: "Till") -> None:
    order = await till.placed()
    proof: dict[str, Any] = await till.pay(order)
    document = (await till.webhook("payment.captured", proof["razorpay_payment_id"])).document
    document["payload"]["payment"]["entity"]["status"] = "teleported"
    assert (await till.forge(document)).status_code == 200
    assert (await till.payment(order))["attempts"][0]["status"] == "created"
    assert await till.event_types(order) == []


@pytest.mark.parametrize("found_by", ["webhooks", "jobs"])
async def test_what_went_back_by_itself_was_never_taken_and_is_no_refund(till: "Till", found_by: str) -> None:
    """Razorpay refunds what nobody captured, such as a second payment of an order, with a refund like any other."""
    order = await till.placed()
    late = await till.pay(order, outcome="late")
    paid = await till.pay(order)
    await till.ask(till.simulator.bank_answer, late["razorpay_payment_id"], "success")
    if found_by == "webhooks":
        for webhook in await till.webhooks():
            await till.hand_on(webhook)
    else:
        for job in ("sweep", "returns", "refund-sweep"):
            await till.harness.run_job(job)
    payment = await till.payment(order)
    assert (payment["status"], payment["refunded"]["amount"], payment["refunds"]) == ("captured", 0, [])
    attempts = {attempt["provider_payment_id"]: attempt["status"] for attempt in payment["attempts"]}
    assert attempts == {late["razorpay_payment_id"]: "failed", paid["razorpay_payment_id"]: "captured"}
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert (await till.harness.run_job("refund-sweep")).repaired == 0
