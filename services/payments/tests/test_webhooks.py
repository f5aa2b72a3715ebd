"""The provider's calls: what is proven is stored before anything else, and what is stored is applied in the end."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from payments.webhooks import MAX_BODY

if TYPE_CHECKING:
    from tests.conftest import Opening, Till

UNREADABLE: dict[str, bytes] = {
    "no JSON": b"Bad Gateway",
    "no UTF-8": b'{"event": "\xff"}',
    "no object": b"[1, 2]",
    "no payload": b'{"event": "payment.captured"}',
    "payload of a wrong type": b'{"event": "payment.captured", "payload": [1]}',
    "entity of a wrong type": b'{"payload": {"payment": {"entity": "pay_1"}}}',
    "no entity": b'{"payload": {"payment": {}}}',
    "null": b'{"payload": {"payment": null}}',
    "duplicate keys": b'{"payload": {}, "payload": {}}',
    "NaN": b'{"payload": {"payment": {"entity": {"amount": NaN}}}}',
    "NUL": b'{"payload": {"payment": {"entity": {"id": "pay_\\u0000"}}}}',
    "deep": b'{"payload": ' + b'{"payment": ' * 60 + b"1" + b"}" * 61,
}
WRONG_FIELDS: dict[str, dict[str, Any]] = {
    "id": {"id": "../orders"},
    "id of another kind": {"id": "rfnd_AAAAAAAAAAAAAA"},
    "amount as text": {"amount": "250000"},
    "amount as a fraction": {"amount": 2500.5},
    "negative amount": {"amount": -1},
    "amount beyond any column": {"amount": 2**70},
    "currency": {"currency": 356},
    "method": {"method": {"type": "card"}},
    "refunded": {"amount_refunded": "all"},
}


async def test_a_webhook_settles_the_payment(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order)
    answer = await till.hand_on(await till.webhook("payment.captured", proof["razorpay_payment_id"]))
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    assert (await till.payment(order))["status"] == "captured"


async def test_a_webhook_must_be_signed(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order)
    webhook = await till.webhook("payment.captured", proof["razorpay_payment_id"])
    signatures = (None, "", "0" * 64, webhook.signature.upper(), webhook.signature[:-1], "Ã©" * 32)
    for signature in signatures:
        headers = {"x-razorpay-event-id": "evt"} | ({} if signature is None else {"x-razorpay-signature": signature})
        answer = await till.post_webhook(
            webhook.body, **{name: text.encode("latin-1") for name, text in headers.items()}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid"), signature
    tampered = webhook.body.replace(b"250000", b"100")
    assert (await till.post_webhook(tampered, **{"x-razorpay-signature": webhook.signature})).status_code == 400
    assert await till.rows("SELECT id FROM webhook_events") == []
    assert (await till.payment(order))["status"] == "open"


async def test_two_secrets_are_valid_at_once(open_till: "Opening") -> None:
    """Events from before a change of secret are still signed with the old one."""
    async with open_till(razorpay_previous_webhook_secret="the-old-one") as till:
        body = b'{"payload": {}}'
        for secret, status in ((till.simulator.webhook_secret, 200), ("the-old-one", 200), ("another", 400)):
            answer = await till.post_webhook(body, **{"x-razorpay-signature": till.sign(body, secret)})
            assert answer.status_code == status


async def test_without_a_secret_nothing_is_believed(open_till: "Opening") -> None:
    async with open_till(razorpay_webhook_secret="") as till:
        body = b'{"payload": {}}'
        for secret in ("", till.simulator.webhook_secret):
            assert (
                await till.post_webhook(body, **{"x-razorpay-signature": till.sign(body, secret or " ")})
            ).status_code == 400


async def test_an_oversize_body_is_refused_before_it_is_believed(till: "Till") -> None:
    answer = await till.forge(b" " * (MAX_BODY + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert (await till.forge(b" " * MAX_BODY)).status_code == 200


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_is_proven_but_unreadable_is_kept(till: "Till", body: bytes) -> None:
    """It is the provider's word: answered 200, or it would be repeated for a day and the address disabled."""
    assert (await till.forge(body)).status_code == 200
    (row,) = await till.rows("SELECT body, outcome, processed_at IS NOT NULL AS is_done FROM webhook_events")
    assert (bytes(row["body"]), row["outcome"], row["is_done"]) == (body, "unreadable", True)


@pytest.mark.parametrize("fields", WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
async def test_a_payment_with_a_field_of_a_wrong_type_moves_nothing(till: "Till", fields: dict[str, Any]) -> None:
    order = await till.placed()
    proof = await till.pay(order)
    document = (await till.webhook("payment.captured", proof["razorpay_payment_id"])).document
    document["payload"]["payment"]["entity"] |= fields
    assert (await till.forge(document)).status_code == 200
    assert (await till.payment(order))["attempts"] == []
    assert (await till.rows("SELECT outcome FROM webhook_events")) == [{"outcome": "unreadable"}]


async def test_an_event_id_counts_once(till: "Till") -> None:
    documents: list[Any] = [{"payload": {}}, {"payload": {}}, {"payload": {}, "event": "other"}]
    for document in documents:
        assert (await till.forge(document, event_id="evt_1")).status_code == 200
    assert len(await till.rows("SELECT id FROM webhook_events")) == 1


async def test_without_an_event_id_the_body_is_the_identity(till: "Till") -> None:
    documents: list[Any] = [{"payload": {}}, {"payload": {}}, {"payload": {}, "event": "other"}]
    for document in documents:
        assert (await till.forge(document)).status_code == 200
    assert len(await till.rows("SELECT id FROM webhook_events")) == 2
    assert (await till.forge({"payload": {}}, event_id="x" * 5_000)).status_code == 200


async def test_another_merchants_webhook_is_kept_and_not_applied(open_till: "Opening") -> None:
    async with open_till(razorpay_account_id="acc_AAAAAAAAAAAAAA") as till:
        order = await till.placed()
        proof = await till.pay(order)
        webhook = await till.webhook("payment.captured", proof["razorpay_payment_id"])
        assert (await till.hand_on(webhook)).status_code == 200
        assert (await till.payment(order))["status"] == "open"
        assert await till.rows("SELECT outcome FROM webhook_events") == [{"outcome": "another merchant's"}]
        await till.forge({**webhook.document, "account_id": "acc_AAAAAAAAAAAAAA"})
        assert (await till.payment(order))["status"] == "captured"


async def test_a_webhook_before_its_provider_order_is_known_is_kept_and_adopted(till: "Till") -> None:
    """statamic-cargo#190 answers 200 and forgets. Here the answer of the creation is lost, and the shopper pays."""
    order = await till.placed()
    await till.ask(till.simulator.faults, "orders.create", "fail_after_commit")
    await till.open(order, status=503)
    (made,) = await till.provider_orders(order)
    proof = await till.ask(till.simulator.pay, made["id"])
    webhook = await till.webhook("payment.captured", proof["razorpay_payment_id"])
    assert (await till.hand_on(webhook)).status_code == 200
    (row,) = await till.rows(
        "SELECT tries, outcome, processed_at, next_try_at > clock_timestamp() AS waits FROM webhook_events"
    )
    assert row == {"tries": 1, "outcome": "unknown order", "processed_at": None, "waits": True}
    await till.lease_ends(order)
    await till.harness.run_job("creations")
    await _turn_comes(till)
    assert (await till.payment(order))["status"] == "captured"
    assert await till.event_types(order) == ["payment.captured.v1"]


async def test_a_webhook_of_an_unknown_order_is_left_to_people_after_days(till: "Till") -> None:
    entity = {"id": "pay_AAAAAAAAAAAAAA", "order_id": "order_AAAAAAAAAAAAAA", "status": "captured", "amount": 100}
    await till.forge({"payload": {"payment": {"entity": {**entity, "currency": "INR"}}}})
    await till.harness.execute("UPDATE webhook_events SET tries = 60")
    await _turn_comes(till)
    (row,) = await till.rows("SELECT outcome, processed_at IS NOT NULL AS is_done FROM webhook_events")
    assert row == {"outcome": "unknown order", "is_done": True}


async def test_one_that_cannot_be_applied_waits_longer_each_time_and_holds_up_nobody(till: "Till") -> None:
    order, _, attempt = await till.paid()
    refund = {"id": "rfnd_AAAAAAAAAAAAAA", "payment_id": attempt, "amount": 0, "status": "processed"}
    await till.forge({"payload": {"refund": {"entity": refund}}}, event_id="bad")
    for _ in range(3):
        assert (await _turn_comes(till)).unresolved == 1
    (row,) = await till.rows(
        "SELECT tries, next_try_at - clock_timestamp() > interval '10 s' AS is_far FROM webhook_events"
    )
    assert row == {"tries": 4, "is_far": True}
    await till.forge({"payload": {"refund": {"entity": {**refund, "amount": 500}}}}, event_id="good")
    assert (await till.payment(order))["refunded"]["amount"] == 500
    assert (await till.harness.run_job("webhooks")).unresolved == 1, "an alarm also while its turn is far"


async def test_a_refund_may_be_the_first_that_is_heard_of_a_payment(till: "Till") -> None:
    """woocommerce#664: the refund was dropped, and the order stayed `processing`."""
    order = await till.placed()
    proof = await till.pay(order)
    await till.ask(till.simulator.dashboard_refund, proof["razorpay_payment_id"], amount=50_000)
    await till.hand_on(await till.webhook("refund.created", proof["razorpay_payment_id"]))
    payment = await till.payment(order)
    assert (payment["status"], payment["captured"]["amount"]) == ("captured", order.total)
    assert [(refund["status"], refund["amount"]["amount"]) for refund in payment["refunds"]] == [("submitted", 50_000)]
    await till.hand_on(await till.webhook("refund.processed", proof["razorpay_payment_id"]))
    assert (await till.payment(order))["status"] == "partially_refunded"
    assert (await till.event_types(order))[0] == "payment.captured.v1"
    await till.hand_on(await till.webhook("payment.captured", proof["razorpay_payment_id"]))
    assert (await till.event_types(order)).count("payment.captured.v1") == 1


async def test_a_refund_without_its_payment_waits_for_it(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order)
    refund = {"id": "rfnd_AAAAAAAAAAAAAA", "payment_id": proof["razorpay_payment_id"], "amount": 500}
    await till.forge({"payload": {"refund": {"entity": {**refund, "status": "processed"}}}})
    assert (await till.payment(order))["refunds"] == []
    await till.poll(order)
    await _turn_comes(till)
    assert (await till.payment(order))["refunded"]["amount"] == 500


@pytest.mark.parametrize("event", ["payment.downtime.started", "invoice.paid", "something.new"])
async def test_events_that_are_not_ours_to_handle_are_done(till: "Till", event: str) -> None:
    await till.forge({"event": event, "payload": {event.rpartition(".")[0]: {"entity": {"id": "x"}}}})
    assert await till.rows("SELECT outcome FROM webhook_events") == [{"outcome": "not for us"}]


@pytest.mark.parametrize(
    "fault", ["duplicate", "unknown_type", "misplaced_created_at", "captured_flag", "forge", "tamper", "oversize"]
)
async def test_whatever_the_provider_does_to_a_webhook_no_money_is_made_up(till: "Till", fault: str) -> None:
    """Each is handed on as it came; what they leave out, the poll brings."""
    await till.ask(till.simulator.faults, "webhook", fault, times=0)
    order = await till.placed()
    proof = await till.pay(order, outcome="authorize_only")
    for webhook in await till.webhooks():
        assert (await till.hand_on(webhook)).status_code in (200, 400, 413)
    assert (await till.payment(order))["status"] == "open"
    assert await till.event_types(order) == []
    await till.ask(till.simulator.clear_faults)
    await till.verify(order, proof)
    await till.harness.execute("UPDATE attempts SET changed_at = clock_timestamp() - interval '3 minutes'")
    await till.harness.run_job("capture")
    assert await till.event_types(order) == ["payment.captured.v1"]


async def test_what_was_stored_before_a_crash_is_applied_after_it(till: "Till") -> None:
    """Stored and answered, and then the process ended: the row is all that is left."""
    order = await till.placed()
    proof = await till.pay(order)
    webhook = await till.webhook("payment.captured", proof["razorpay_payment_id"])
    await till.harness.execute("INSERT INTO webhook_events (id, body) VALUES ('evt', $1)", webhook.body)
    await till.harness.run_job("webhooks")
    assert await till.event_types(order) == ["payment.captured.v1"]


async def test_a_body_is_answered_as_bytes_whatever_its_media_type(till: "Till") -> None:
    body = json.dumps({"payload": {}}).encode()
    headers = {"x-razorpay-signature": till.sign(body), "content-type": "text/plain"}
    assert (await till.post_webhook(body, **headers)).status_code == 200


async def _turn_comes(till: "Till") -> Any:
    await till.harness.execute("UPDATE webhook_events SET next_try_at = clock_timestamp() - interval '1 s'")
    return await till.harness.run_job("webhooks")
