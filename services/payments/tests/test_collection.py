"""From a placed order to captured money, and to the last word when an order closes."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chassis.ids import new_id
from payments.postgres_ledger import ledger_of
from payments.provider import Provider, ProviderPayment
from payments.reconciliation import capture_authorised

if TYPE_CHECKING:
    from tests.conftest import Till


async def test_an_order_is_paid_by_the_handshake(till: "Till") -> None:
    order = await till.placed()
    payment = await till.open(order, status=201)
    assert payment["status"] == "open"
    assert payment["checkout"]["amount"] == {"amount": 250_000, "currency": "INR"}
    assert payment["checkout"]["page_url"].endswith(payment["checkout"]["razorpay_order_id"])
    handshake = await till.pay(order)
    answer = await till.verify(order, handshake)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "captured"
    assert answer.json()["captured"] == {"amount": 250_000, "currency": "INR"}
    assert answer.json()["checkout"] is None
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert await till.path(order) == ["new", "creating", "open", "settled"]


async def test_opening_again_gives_the_same_provider_order(till: "Till") -> None:
    order = await till.placed()
    first = await till.open(order, status=201)
    again = await till.open(order, status=200)
    assert first["checkout"] == again["checkout"]


async def test_twenty_clicks_make_one_provider_order(till: "Till") -> None:
    order = await till.placed()
    documents = await asyncio.gather(*(till.open(order) for _ in range(20)))
    assert len({document["checkout"]["razorpay_order_id"] for document in documents}) == 1
    rows = await till.harness.fetch("SELECT * FROM provider_orders")
    assert len(rows) == 1


async def test_a_shopper_faster_than_the_event_is_served(till: "Till") -> None:
    order = till.unheard()
    till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = (200, order.document)
    assert (await till.open(order, status=201))["status"] == "open"
    await till.deliver("order.placed.v1", order, **order.event)
    assert await till.path(order) == ["new", "creating", "open"]


@pytest.mark.parametrize("status", ["paid", "closing", "cancelled"])
async def test_only_an_order_that_waits_can_be_paid(till: "Till", status: str) -> None:
    order = till.unheard()
    document = {**order.document, "status": status}
    till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = (200, document)
    assert (await till.open(order, status=409))["code"] == "order_not_payable"


async def test_foreign_and_unknown_orders_are_not_found(till: "Till") -> None:
    order = await till.placed()
    stranger = till.unheard(order_id=order.order_id)
    assert (await till.open(stranger, status=404))["code"] == "order_not_found"
    assert (await till.open(till.unheard(), status=404))["code"] == "order_not_found"
    payment = await till.open(order)
    assert (await till.send("GET", f"/payments/{payment['id']}", stranger)).status_code == 404
    assert (await till.send("GET", f"/payments?order_id={order.order_id}", stranger)).json()["items"] == []


async def test_no_checkout_after_the_time_to_pay(till: "Till") -> None:
    order = await till.placed()
    await till.open(order)
    await till.harness.execute("UPDATE payments SET pay_by = clock_timestamp() - interval '1 second'")
    assert (await till.open(order, status=409))["code"] == "order_not_payable"
    assert (await till.payment(order))["checkout"] is None


async def test_an_order_without_a_price_needs_no_payment(till: "Till") -> None:
    order = await till.placed(total=0)
    assert await till.harness.fetch("SELECT * FROM payments WHERE order_id = $1", order.order_id) == []


async def test_a_refused_connection_loses_nothing(till: "Till") -> None:
    order = await till.placed()
    till.simulator.stop()
    try:
        refused = await till.open(order, status=503)
        assert refused["code"] == "provider_unavailable"
    finally:
        till.simulator.start()
    assert await till.path(order) == ["new", "creating", "new"]
    assert (await till.open(order, status=201))["status"] == "open"


async def test_an_answer_lost_after_the_order_was_made_is_looked_up(till: "Till") -> None:
    order = await till.placed()
    till.simulator.faults("orders.create", "fail_after_commit")
    assert (await till.open(order, status=503))["code"] == "provider_unavailable"
    await till.harness.execute("UPDATE payments SET lease_until = clock_timestamp() - interval '1 second'")
    payment = await till.open(order, status=201)
    made = [known for known in till.simulator.ledger()["orders"] if known["amount"] == 250_000]
    mine = [known for known in made if known["notes"] == {"order_id": str(order.order_id)}]
    assert [known["id"] for known in mine] == [payment["checkout"]["razorpay_order_id"]]


async def test_the_job_finds_an_order_whose_answer_was_lost(till: "Till") -> None:
    order = await till.placed()
    till.simulator.faults("orders.create", "fail_after_commit")
    await till.open(order, status=503)
    await till.harness.execute(
        "UPDATE payments SET lease_until = clock_timestamp() - interval '1 s', next_ask_at = clock_timestamp()"
    )
    await till.harness.run_job("creations")
    assert (await till.payment(order))["status"] == "open"


async def test_a_slow_provider_keeps_nobody_waiting(till: "Till") -> None:
    order = await till.placed()
    till.simulator.faults("orders.create", "delay_answer", seconds=1.5)
    payment = await till.open(order, status=(201, 503))
    assert payment.get("status") in ("preparing", 503)


async def test_closing_before_anything_was_made_closes_at_once(till: "Till") -> None:
    order = await till.placed()
    await till.deliver("order.closing.v1", order)
    assert await till.event_types(order) == ["payment.intent_closed.v1"]
    assert (await till.open(order, status=409))["code"] == "order_not_payable"


async def test_closing_before_the_order_was_heard_of_leaves_a_tombstone(till: "Till") -> None:
    order = till.unheard()
    await till.deliver("order.closing.v1", order)
    await till.deliver("order.placed.v1", order, **order.event)
    assert await till.event_types(order) == ["payment.intent_closed.v1"]
    assert (await till.open(order, status=(404, 409)))["code"] in ("order_not_payable", "order_not_found")


async def test_an_open_payment_closes_once_the_provider_was_asked(till: "Till") -> None:
    order = await till.placed()
    await till.open(order)
    await till.deliver("order.closing.v1", order)
    assert (await till.payment(order))["status"] == "closing"
    await till.harness.run_job("closing")
    assert await till.event_types(order) == ["payment.intent_closed.v1"]
    assert await till.path(order) == ["new", "creating", "open", "closing", "closed"]


async def test_a_capture_nobody_told_us_about_is_found_while_closing(till: "Till") -> None:
    order = await till.placed()
    await till.pay(order)
    await till.deliver("order.closing.v1", order)
    await till.harness.run_job("closing")
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert await till.path(order) == ["new", "creating", "open", "closing", "settled"]


async def test_an_attempt_under_way_keeps_a_closing_payment_open(till: "Till") -> None:
    order = await till.placed()
    await till.pay(order, outcome="late")
    await till.deliver("order.closing.v1", order)
    await till.harness.run_job("closing")
    assert (await till.payment(order))["status"] == "closing"
    await till.harness.execute(
        "UPDATE attempts SET first_seen_at = clock_timestamp() - interval '1 hour';"
        "UPDATE payments SET next_ask_at = clock_timestamp()"
    )
    await till.harness.run_job("closing")
    assert await till.event_types(order) == ["payment.intent_closed.v1"]


async def test_a_settled_payment_repeats_its_word_to_a_closing_order(till: "Till") -> None:
    order = await till.placed()
    await till.verify(order, await till.pay(order))
    await till.deliver("order.closing.v1", order)
    assert await till.event_types(order) == ["payment.captured.v1", "payment.captured.v1"]
    assert till.harness.counted("haat_payments_captured_total") == 1, "said twice, taken once"
    assert till.harness.counted("haat_payments_captured_minor_units_total", currency="INR") == order.total


@pytest.mark.parametrize("event", ["order.cancelled.v1", "order.expired.v1"])
async def test_a_closed_order_stays_watched(till: "Till", event: str) -> None:
    order = await till.placed()
    handshake = await till.pay(order)
    await till.deliver(event, order)
    assert (await till.payment(order))["status"] == "closed"
    assert (await till.verify(order, handshake)).json()["status"] == "captured"
    assert await till.event_types(order) == ["payment.captured.v1"]


async def test_a_closed_payment_ignores_what_comes_later(till: "Till") -> None:
    order = await till.placed()
    for event in ("order.cancelled.v1", "order.closing.v1", "order.expired.v1", "order.cancelled.v1"):
        await till.deliver(event, order)
    assert await till.path(order) == ["new", "closed"]
    assert await till.event_types(order) == ["payment.intent_closed.v1"]


async def test_what_is_authorised_but_not_captured_is_captured_while_open(till: "Till") -> None:
    order = await till.placed()
    handshake = await till.pay(order, outcome="authorize_only")
    assert (await till.verify(order, handshake)).json()["attempts"][0]["status"] == "authorized"
    await till.harness.execute("UPDATE attempts SET changed_at = clock_timestamp() - interval '3 minutes'")
    await till.harness.run_job("capture")
    assert (await till.payment(order))["status"] == "captured"


async def test_authorised_attempts_that_cannot_be_captured_keep_no_other_from_its_turn(till: "Till") -> None:
    """The provider knows nothing of twenty attempts, which stand in front every time."""
    order = await till.placed()
    await till.verify(order, await till.pay(order, outcome="authorize_only"))
    await till.harness.execute("UPDATE attempts SET changed_at = clock_timestamp() - interval '3 minutes'")
    await till.harness.execute("""
        INSERT INTO attempts
            (id, payment_id, provider_order_id, provider_payment_id, rank, amount, currency, changed_at)
        SELECT gen_random_uuid(), payment_id, provider_order_id, 'pay_' || lpad(n::text, 14, '0'), rank, amount,
            currency, changed_at - older
        FROM attempts, generate_series(1, 20) AS n, (VALUES (interval '1 minute')) AS by (older)
    """)
    outcome = await till.harness.run_job("capture")
    assert (outcome.found, outcome.repaired, outcome.unresolved) == (21, 1, 20)
    assert (await till.payment(order))["status"] == "captured"


class Forgetful:
    """A provider that does not say of one attempt at which order it was made."""

    def __init__(self, provider: Provider, about: str) -> None:
        self.provider, self.about = provider, about

    async def payment(self, payment_id: str) -> ProviderPayment:
        seen = await self.provider.payment(payment_id)
        return replace(seen, order_id=None, status="captured") if payment_id == self.about else seen

    async def capture(self, payment_id: str, *, amount: int, currency: str) -> ProviderPayment:
        return await self.provider.capture(payment_id, amount=amount, currency=currency)


async def test_an_answer_about_no_order_of_ours_keeps_no_other_attempt_from_its_capture(till: "Till") -> None:
    odd, order = await till.placed(), await till.placed()
    proofs = [await till.pay(each, outcome="authorize_only") for each in (odd, order)]
    for each, proof in zip((odd, order), proofs, strict=True):
        await till.verify(each, proof)
        await till.harness.execute("UPDATE attempts SET changed_at = changed_at - interval '3 minutes'")
    state = till.harness.service.fastapi.state
    provider: Any = Forgetful(state.provider, proofs[0]["razorpay_payment_id"])
    outcome = await capture_authorised(ledger_of(till.harness.service.database), provider)
    assert (outcome.repaired, outcome.unresolved) == (1, 1)
    assert [(await till.payment(each))["status"] for each in (odd, order)] == ["open", "captured"]


async def test_a_handshake_must_be_the_providers(till: "Till") -> None:
    order, other = await till.placed(), await till.placed()
    handshake, foreign = await till.pay(order), await till.pay(other)
    forged = {**handshake, "razorpay_signature": "0" * 64}
    for wrong in (forged, foreign, {**handshake, "razorpay_payment_id": foreign["razorpay_payment_id"]}):
        answer = await till.verify(order, wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")
    answer = await till.send("POST", f"/payments/{new_id()}/verify", order, json=handshake)
    assert answer.status_code == 404
    assert await till.event_types(order) == []


async def test_the_event_may_come_between_any_two_looks(till: "Till") -> None:
    """A shopper faster than the event always gets a checkout, however the two interleave."""
    for _ in range(15):
        order = till.unheard()
        till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = (200, order.document)
        payment, _ = await asyncio.gather(till.open(order), till.deliver("order.placed.v1", order, **order.event))
        assert payment["checkout"] is not None
