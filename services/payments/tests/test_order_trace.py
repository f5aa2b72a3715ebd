"""What payments tells of an order: everything that touched it, and nothing that is nobody's business."""

import asyncio
from typing import TYPE_CHECKING, Any

from payments.provider_calls import MOST_WAITING

if TYPE_CHECKING:
    from tests.conftest import PlacedOrder, Till


async def trace(till: "Till", order: "PlacedOrder") -> list[dict[str, Any]]:
    """What orders is told, in time order."""
    await till.recorded()
    headers = till.harness.as_service("orders")
    answer = await till.harness.client.get(f"/internal/orders/{order.order_id}/trace", headers=headers)
    assert answer.status_code == 200, answer.text
    return sorted(answer.json()["items"], key=lambda entry: entry["at"])


def seen(entries: list[dict[str, Any]], kind: str) -> list[tuple[Any, ...]]:
    """What entries of one kind say."""
    return [(entry["what"], entry["by"], entry["outcome"]) for entry in entries if entry["kind"] == kind]


async def test_a_purchase_and_its_refund_are_told_from_the_first_call_to_the_last_webhook(till: "Till") -> None:
    order, payment_id, attempt = await till.paid()
    captured = await till.webhook("payment.captured", attempt)
    await till.hand_on(captured)
    await till.staff_refund(payment_id, 1000)
    await till.pursue_refunds()

    entries = await trace(till, order)

    assert seen(entries, "command") == [
        ("POST /api/v1/payments", "customer", None),
        ("POST /api/v1/payments/{payment_id}/verify", "customer", None),
        ("POST /api/v1/payments/{payment_id}/refunds", "staff", None),
    ]
    assert seen(entries, "provider_call") == [
        ("create_order", None, "answered"),
        ("payment", None, "answered"),
        ("refund", "job refunds", "answered"),
    ]
    assert [what for what, *_ in seen(entries, "event_published")] == [
        "payment.captured.v1",
        "refund.processed.v1",
    ]
    assert [outcome for what, _, outcome in seen(entries, "transition") if what == "payment"] == [
        "new",
        "creating",
        "open",
        "settled",
    ]
    assert [outcome for what, _, outcome in seen(entries, "transition") if what == "refund"] == [
        "requested",
        "submitted",
        "processed",
    ]
    (webhook,) = [entry for entry in entries if entry["kind"] == "webhook"]
    assert (webhook["what"], webhook["outcome"], webhook["id"]) == ("payment.captured", "applied", captured.event_id)
    (brought,) = [entry for entry in entries if entry["caused_by"] == captured.event_id]
    assert (brought["kind"], brought["outcome"]) == ("observation", "known already")


async def test_what_a_webhook_made_happen_names_it_as_the_cause(till: "Till") -> None:
    order = await till.placed()
    handshake = await till.pay(order)
    webhook = await till.webhook("payment.captured", handshake["razorpay_payment_id"])
    await till.hand_on(webhook)

    caused = [entry for entry in await trace(till, order) if entry["caused_by"] == webhook.event_id]

    assert {(entry["kind"], entry["what"]) for entry in caused} == {
        ("observation", "captured"),
        ("event_published", "payment.captured.v1"),
    }


async def test_calls_that_went_wrong_are_told_with_what_asked_and_how_they_ended(till: "Till") -> None:
    order = await till.placed()
    await till.ask(till.simulator.faults, "orders.create", "fail_after_commit")
    await till.open(order, status=503)
    await till.lease_ends(order)
    await till.ask(till.simulator.faults, "orders.list", "reset")
    await till.harness.run_job("creations")
    await till.due(order)
    await till.harness.run_job("creations")

    entries = await trace(till, order)

    assert seen(entries, "provider_call") == [
        ("create_order", None, "unknown"),
        ("orders_of", "job creations", "unknown"),
        ("orders_of", "job creations", "answered"),
    ]
    (request,) = [entry["caused_by"] for entry in entries if entry["what"] == "create_order"]
    assert request, "the request's id finds its log lines"


async def test_a_webhook_that_waits_for_its_order_is_told_as_soon_as_the_order_is_known(till: "Till") -> None:
    """Orphans are kept and adopted: here the answer to the creation was lost, and the money was faster."""
    order = await till.placed()
    await till.ask(till.simulator.faults, "orders.create", "fail_after_commit")
    await till.open(order, status=503)
    (made,) = await till.provider_orders(order)
    handshake = await till.ask(till.simulator.pay, made["id"])
    await till.hand_on(await till.webhook("payment.captured", handshake["razorpay_payment_id"]))
    assert [entry for entry in await trace(till, order) if entry["kind"] == "webhook"] == []

    await till.lease_ends(order)
    await till.harness.run_job("creations")

    (waiting,) = [entry for entry in await trace(till, order) if entry["kind"] == "webhook"]
    assert (waiting["outcome"], waiting["details"]["tries"]) == ("unknown order", 1)
    await till.harness.execute("UPDATE webhook_events SET next_try_at = clock_timestamp()")
    await till.harness.run_job("webhooks")
    (applied,) = [entry for entry in await trace(till, order) if entry["kind"] == "webhook"]
    assert applied["outcome"] == "applied"
    assert (await till.payment(order))["status"] == "captured"


async def test_no_secret_and_nothing_that_people_wrote_is_in_it(till: "Till") -> None:
    order, payment_id, attempt = await till.paid()
    webhook = await till.webhook("payment.captured", attempt)
    await till.hand_on(webhook)
    await till.staff_refund(payment_id)
    await till.pursue_refunds()
    text = str(await trace(till, order))
    simulator = till.simulator
    for secret in (simulator.key_secret, simulator.webhook_secret, webhook.signature, "broken on arrival", "@"):
        assert secret not in text


async def test_an_order_that_payments_has_not_heard_of_is_nothing(till: "Till") -> None:
    assert await trace(till, till.unheard()) == []


async def test_calls_are_recorded_together_once_the_database_is_back(till: "Till") -> None:
    """A record is never worth a failure, and never worth unbounded memory."""
    order = await till.placed()
    await till.harness.execute("ALTER TABLE provider_calls RENAME TO provider_calls_away")
    await till.open(order)
    await till.recorded()
    await till.harness.execute("ALTER TABLE provider_calls_away RENAME TO provider_calls")
    assert seen(await trace(till, order), "provider_call") == [("create_order", None, "answered")]
    assert MOST_WAITING < 10_000


async def test_records_are_forgotten_after_thirty_days(till: "Till") -> None:
    order, other = await till.placed(), await till.placed()
    await asyncio.gather(till.open(order), till.open(other))
    await till.recorded()
    (payment,) = await till.rows("SELECT receipt FROM payments WHERE order_id = $1", order.order_id)
    aged = "UPDATE provider_calls SET at = at - interval '31 days' WHERE about = $1"
    await till.harness.execute(aged, payment["receipt"])
    await till.harness.run_job("provider-calls-cleanup")
    assert seen(await trace(till, order), "provider_call") == []
    assert len(seen(await trace(till, other), "provider_call")) == 1
