"""Signed, repeated until heard, given up after a day: and every trick of the fault menu."""

import pytest
import razorpay
from razorpay.errors import SignatureVerificationError

from razorpay_simulator.testing import ReceivedWebhook, SimulatorProcess, WebhookReceiver

DAY = 86400


def pay(simulator: SimulatorProcess, client: razorpay.Client, **form: str) -> str:
    order = client.order.create({"amount": 50000, "currency": "INR"})
    payment_id = str(simulator.pay(order["id"], **form)["razorpay_payment_id"])
    simulator.settle_webhooks()
    return payment_id


def verify(client: razorpay.Client, webhook: ReceivedWebhook, secret: str) -> None:
    client.utility.verify_webhook_signature(webhook.body.decode(), webhook.signature, secret)


def test_a_payment_is_told_in_three_signed_events(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    payment_id = pay(fresh, fresh_client)
    assert sorted(shop.events()) == ["order.paid", "payment.authorized", "payment.captured"]
    assert len({webhook.event_id for webhook in shop.received}) == 3
    for webhook in shop.received:
        verify(fresh_client, webhook, fresh.webhook_secret)
        document = webhook.document
        assert document["entity"] == "event"
        assert document["account_id"].startswith("acc_")
        assert document["contains"] == list(document["payload"])
        assert document["payload"]["payment"]["entity"]["id"] == payment_id
        assert isinstance(document["created_at"], int)
    with pytest.raises(SignatureVerificationError):
        verify(fresh_client, shop.received[0], "another secret")


def test_only_the_active_events_are_told() -> None:
    active = ("payment.captured", "refund.processed")
    with WebhookReceiver() as shop, SimulatorProcess(webhook_url=shop.url, webhook_events=active) as simulator:
        client = razorpay.Client(auth=(simulator.key_id, simulator.key_secret), base_url=simulator.base_url)
        pay(simulator, client)
        client.session.close()
    assert shop.events() == ["payment.captured"]


def test_a_refund_is_told_with_its_payment(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh_client.payment.refund(pay(fresh, fresh_client), {})
    fresh.settle_webhooks()
    told = {webhook.event: webhook.document for webhook in shop.received}
    assert told["refund.processed"]["contains"] == ["refund", "payment"]
    assert told["refund.created"]["payload"]["refund"]["entity"]["amount"] == 50000


def test_a_refused_webhook_comes_again_later_under_the_same_event_id(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    shop.statuses = [500]
    pay(fresh, fresh_client, outcome="failure")
    assert shop.events() == ["payment.failed"]
    fresh.advance(9)
    assert len(shop.received) == 1
    fresh.advance(2)
    first, second = shop.received
    assert first.event_id == second.event_id
    assert first.body == second.body
    fresh.advance(DAY)
    assert len(shop.received) == 2


@pytest.mark.parametrize("status", [302, 404, 503])
def test_anything_but_2xx_is_a_failure_and_redirects_are_not_followed(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver, status: int
) -> None:
    shop.statuses = [status]
    pay(fresh, fresh_client, outcome="failure")
    delivery = fresh.ledger()["deliveries"][0]
    assert (delivery["status"], delivery["attempts"][0]["status"]) == ("pending", status)


def test_pauses_between_tries_double(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    shop.status = 500
    pay(fresh, fresh_client, outcome="failure")
    for _ in range(4):
        fresh.advance(200)
    tries = [attempt["at"] for attempt in fresh.ledger()["deliveries"][0]["attempts"]]
    assert len(tries) == 5
    waiting = fresh.ledger()["deliveries"][0]["next_attempt_at"]
    assert waiting - tries[-1] == pytest.approx(160)


def test_a_webhook_that_fails_for_a_day_is_disabled_until_set_again(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    shop.status = 500
    pay(fresh, fresh_client, outcome="failure")
    fresh.advance(DAY + 60)
    webhook = fresh.ledger()["webhooks"][0]
    assert (webhook["active"], fresh.ledger()["deliveries"][0]["status"]) == (False, "abandoned")
    heard = len(shop.received)
    shop.status = 200
    pay(fresh, fresh_client)
    assert len(shop.received) == heard
    fresh.set_webhook(shop.url)
    pay(fresh, fresh_client)
    assert len(shop.received) == heard + 3


def test_events_older_than_a_new_secret_keep_the_old_signature(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    shop.statuses = [500]
    pay(fresh, fresh_client, outcome="failure")
    fresh.set_webhook(shop.url, secret="the-new-secret")
    fresh.advance(20)
    verify(fresh_client, shop.received[1], fresh.webhook_secret)
    pay(fresh, fresh_client, outcome="failure")
    verify(fresh_client, shop.received[2], "the-new-secret")


def test_a_webhook_hears_only_what_it_asked_for(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.set_webhook(shop.url, events=["order.paid"])
    pay(fresh, fresh_client)
    assert shop.events() == ["order.paid"]


def test_two_webhooks_are_both_told(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    with WebhookReceiver() as second:
        fresh.set_webhook(second.url, name="second", secret="its-own")
        pay(fresh, fresh_client, outcome="failure")
        assert shop.events() == second.events() == ["payment.failed"]
        verify(fresh_client, second.received[0], "its-own")


def test_an_address_where_nobody_listens_is_tried_again(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.set_webhook("http://127.0.0.1:9/nobody")
    pay(fresh, fresh_client, outcome="failure")
    attempt = fresh.ledger()["deliveries"][0]["attempts"][0]
    assert attempt["status"] is None
    assert "Error" in attempt["error"]
    fresh.set_webhook(shop.url)
    fresh.advance(20)
    assert shop.events() == ["payment.failed"]


def test_a_duplicated_webhook_has_one_id(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.faults("webhook", "duplicate", count=3)
    pay(fresh, fresh_client, outcome="failure")
    assert len(shop.received) == 3
    assert len({webhook.event_id for webhook in shop.received}) == 1


def test_a_dropped_webhook_never_comes(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.faults("webhook", "drop", event="payment.captured")
    pay(fresh, fresh_client)
    fresh.advance(2 * DAY)
    assert sorted(shop.events()) == ["order.paid", "payment.authorized"]


def test_a_delayed_webhook_comes_in_its_time(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.faults("webhook", "delay", seconds=3600, event="payment.captured")
    pay(fresh, fresh_client)
    assert "payment.captured" not in shop.events()
    fresh.advance(3600)
    assert shop.events()[-1] == "payment.captured"


def test_a_reordered_webhook_comes_after_the_ones_that_follow_it(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.faults("webhook", "reorder", event="payment.authorized")
    pay(fresh, fresh_client)
    assert len(shop.received) == 3
    assert shop.events()[0] != "payment.authorized"


@pytest.mark.parametrize("action", ["forge", "tamper"])
def test_a_webhook_nobody_signed_is_followed_by_an_honest_retry(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver, action: str
) -> None:
    shop.statuses = [401]
    fresh.faults("webhook", action)
    pay(fresh, fresh_client, outcome="failure")
    with pytest.raises(SignatureVerificationError):
        verify(fresh_client, shop.received[0], fresh.webhook_secret)
    fresh.advance(20)
    verify(fresh_client, shop.received[1], fresh.webhook_secret)


def test_strange_but_honestly_signed_webhooks(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    for action in ("unknown_type", "misplaced_created_at", "captured_flag", "oversize"):
        fresh.faults("webhook", action, event="payment.failed")
        pay(fresh, fresh_client, outcome="failure")
        verify(fresh_client, shop.received[-1], fresh.webhook_secret)
    unknown, misplaced, flagged, oversize = (webhook.document for webhook in shop.received)
    assert unknown["event"] == "payment.teleported"
    assert "created_at" not in misplaced
    assert isinstance(misplaced["payload"]["created_at"], int)
    assert flagged["payload"]["payment"]["entity"]["captured"] is True
    assert len(shop.received[-1].body) > 2_000_000
    assert oversize["event"] == "payment.failed"


def test_a_webhook_is_replayed_on_the_next_day(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    fresh.faults("webhook", "replay_next_day")
    pay(fresh, fresh_client, outcome="failure")
    fresh.advance(DAY)
    first, again = shop.received
    assert first.event_id == again.event_id


def test_a_webhook_may_come_before_the_answer_of_the_call_that_caused_it(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, shop: WebhookReceiver
) -> None:
    payment_id = pay(fresh, fresh_client, outcome="authorize_only")
    fresh.faults("payments.capture", "webhook_first")
    fresh_client.payment.capture(payment_id, 50000, {"currency": "INR"})
    assert "payment.captured" in shop.events()


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "http://", "http://[", "http://a b/", "http://h:99999/", "http://h/\r\nX: y"]
)
def test_an_address_that_is_none_is_refused(simulator: SimulatorProcess, url: str) -> None:
    assert simulator.request("POST", "/simulator/webhook", body={"url": url, "secret": "x"}).status == 400
