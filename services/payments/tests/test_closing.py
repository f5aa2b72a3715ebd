"""How a payment ends: every way out of CREATING and OPEN when the order closes, and captures that come in between."""

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import PlacedOrder, Till


async def _creation_in_doubt(till: "Till", fault: str) -> "PlacedOrder":
    order = await till.placed()
    await till.ask(till.simulator.faults, "orders.create", fault)
    await till.open(order, status=503)
    return order


async def test_closing_a_creation_in_doubt_waits_for_the_look_up_and_then_for_the_provider(till: "Till") -> None:
    order = await _creation_in_doubt(till, "fail_after_commit")
    await till.deliver("order.closing.v1", order)
    assert (await till.open(order, status=409))["code"] == "order_not_payable"
    assert await till.path(order) == ["new", "creating"]
    await till.harness.run_job("creations")
    assert await till.path(order) == ["new", "creating"], "the lease is not over: the order may be made this moment"
    await till.lease_ends(order)
    await till.harness.run_job("creations")
    assert await till.path(order) == ["new", "creating", "closing"]
    await till.harness.run_job("closing")
    assert await till.path(order) == ["new", "creating", "closing", "closed"]
    assert await till.event_types(order) == ["payment.intent_closed.v1"]


async def test_closing_a_creation_that_never_happened_closes_after_the_look_up(till: "Till") -> None:
    order = await _creation_in_doubt(till, "fail_before_commit")
    await till.deliver("order.closing.v1", order)
    await till.lease_ends(order)
    await till.harness.run_job("creations")
    assert await till.path(order) == ["new", "creating", "closed"]
    assert await till.event_types(order) == ["payment.intent_closed.v1"]


async def test_closing_while_the_provider_is_being_asked_loses_neither(till: "Till") -> None:
    """The shopper's request is under way; its answer finds the payment closing and hands out no checkout."""
    await till.ask(till.simulator.faults, "orders.create", "delay_answer", seconds=0.6)
    order = await till.placed()
    opening = asyncio.create_task(till.open(order))
    await till.reaches(order, ["new", "creating"])
    await till.deliver("order.closing.v1", order)
    assert (await opening)["checkout"] is None
    assert await till.path(order) == ["new", "creating", "closing"]
    await till.harness.run_job("closing")
    assert await till.event_types(order) == ["payment.intent_closed.v1"]


async def test_a_late_answer_of_a_creation_that_was_taken_over_is_watched_like_the_first(till: "Till") -> None:
    """Two creations succeed; whichever the shopper pays, the order is paid."""
    await till.ask(till.simulator.faults, "orders.create", "delay", seconds=0.9)
    order = await till.placed()
    slow = asyncio.create_task(till.open(order))
    await till.reaches(order, ["new", "creating"])
    await till.lease_ends(order)
    quick = await till.open(order, status=201)
    await slow
    made = await till.provider_orders(order)
    known = await till.rows("SELECT provider_order_id FROM provider_orders")
    assert len(made) == 2
    assert {row["provider_order_id"] for row in known} == {one["id"] for one in made}
    (other,) = {one["id"] for one in made} - {quick["checkout"]["razorpay_order_id"]}
    await till.ask(till.simulator.pay, other)
    await till.poll(order)
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert await till.path(order) == ["new", "creating", "creating", "open", "settled"]


async def test_a_creation_the_shopper_did_not_wait_for_goes_on(till: "Till") -> None:
    await till.ask(till.simulator.faults, "orders.create", "delay_answer", seconds=0.5)
    order = await till.placed()
    request = asyncio.create_task(till.open(order))
    await till.reaches(order, ["new", "creating"])
    request.cancel()
    await till.reaches(order, ["new", "creating", "open"])
    assert len(await till.provider_orders(order)) == 1


async def test_placing_and_closing_at_the_same_moment_ends_closed(till: "Till") -> None:
    """Whichever is committed first, and whatever the shopper's click does in between, the close is not lost."""
    for _ in range(20):
        order = till.unheard()
        await asyncio.gather(
            till.deliver("order.placed.v1", order, **order.event), till.deliver("order.closing.v1", order)
        )
        assert await till.event_types(order) == ["payment.intent_closed.v1"]
        assert (await till.path(order))[-1] == "closed"


async def test_a_capture_while_closing_pays(till: "Till") -> None:
    """P5: told by a webhook before the provider was asked."""
    order = await till.placed()
    proof = await till.pay(order)
    await till.deliver("order.closing.v1", order)
    await till.hand_on(await till.webhook("payment.captured", proof["razorpay_payment_id"]))
    await till.harness.run_job("closing")
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert await till.path(order) == ["new", "creating", "open", "closing", "settled"]


async def test_a_capture_told_again_tells_what_went_back_since(till: "Till") -> None:
    """P7: else an order would show as paid again what it has got back."""
    order, _, attempt = await till.paid()
    await till.return_asked(order, attempt)
    await till.pursue_refunds()
    await till.deliver("order.closing.v1", order)
    told = [event.data for event in await till.harness.events("payment.captured.v1")]
    sums = [(data["captured_total"], data["refunded_total"]) for data in told]
    assert sums == [(order.total, 0), (order.total, order.total)]


async def test_a_capture_racing_the_close_has_one_winner(till: "Till") -> None:
    """Both ways are right, but never none: closed and then captured is reported, captured is never closed."""
    for _ in range(15):
        order = await till.placed()
        proof = await till.pay(order, outcome="authorize_only")
        await till.deliver("order.closing.v1", order)
        attempt = proof["razorpay_payment_id"]
        body = {"amount": order.total, "currency": "INR"}
        await asyncio.gather(
            till.ask(till.simulator.request, "POST", f"/v1/payments/{attempt}/capture", body=body),
            till.harness.run_job("closing"),
        )
        await till.hand_on(await till.webhook("payment.captured", attempt))
        told = await till.event_types(order)
        assert told in (["payment.captured.v1"], ["payment.intent_closed.v1", "payment.captured.v1"])


@pytest.mark.parametrize("before", ["open", "closing"])
async def test_the_hard_limit_closes_without_asking(till: "Till", before: str) -> None:
    """P6: orders could not wait any longer; nothing is said, since orders knows."""
    order = await till.placed()
    await till.open(order)
    if before == "closing":
        await till.deliver("order.closing.v1", order)
    await till.deliver("order.expired.v1", order)
    assert (await till.path(order))[-1] == "closed"
    assert await till.event_types(order) == []


async def test_closing_needs_the_providers_answer(till: "Till") -> None:
    order = await till.placed()
    await till.open(order)
    await till.deliver("order.closing.v1", order)
    await till.ask(till.simulator.faults, "orders.payments", "fail_before_commit")
    assert (await till.harness.run_job("closing")).unresolved == 1
    assert (await till.payment(order))["status"] == "closing"
    await till.due(order)
    await till.harness.run_job("closing")
    assert (await till.payment(order))["status"] == "closed"


async def test_an_authorisation_is_not_captured_by_us_once_the_order_closes(till: "Till") -> None:
    order = await till.placed()
    await till.verify(order, await till.pay(order, outcome="authorize_only"))
    await till.deliver("order.closing.v1", order)
    await till.harness.execute("UPDATE attempts SET changed_at = clock_timestamp() - interval '3 minutes'")
    await till.harness.run_job("capture")
    assert (await till.payment(order))["attempts"][0]["status"] == "authorized"


async def test_a_capture_whose_answer_was_lost_is_found_and_not_repeated(till: "Till") -> None:
    order = await till.placed()
    await till.verify(order, await till.pay(order, outcome="authorize_only"))
    await till.harness.execute("UPDATE attempts SET changed_at = clock_timestamp() - interval '3 minutes'")
    await till.ask(till.simulator.faults, "payments.capture", "truncate")
    assert (await till.harness.run_job("capture")).unresolved == 1
    assert (await till.harness.run_job("capture")).repaired == 1
    assert await till.event_types(order) == ["payment.captured.v1"]


async def test_a_refused_creation_is_looked_up_before_it_is_repeated(till: "Till") -> None:
    """Where the provider refuses a receipt that it knows, the order it knows is ours."""
    order = await till.placed()
    await till.ask(till.simulator.faults, "orders.create", "refuse", committed=True)
    assert (await till.open(order, status=503))["code"] == "provider_unavailable"
    assert (await till.open(order, status=201))["status"] == "open"
    assert len(await till.provider_orders(order)) == 1
