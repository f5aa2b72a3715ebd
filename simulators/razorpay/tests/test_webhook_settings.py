"""Webhooks as the official SDK and the plugins set them: made, listed, edited, deleted, never shown with a secret."""

import hashlib
from typing import Any

import pytest
import razorpay

from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver
from razorpay_simulator.webhook_settings import MOST_WEBHOOKS

URL = "https://shop.example/hooks"
ALL = ["payment.authorized", "payment.captured", "payment.failed", "order.paid"]
SHAPE: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "entity": str,
    "created_at": int,
    "updated_at": int,
    "service": str,
    "owner_id": str,
    "owner_type": str,
    "context": list,
    "disabled_at": int,
    "url": str,
    "alert_email": (str, type(None)),
    "secret_exists": bool,
    "active": bool,
    "events": list,
}


def account(simulator: SimulatorProcess) -> str:
    return f"acc_{hashlib.sha256(simulator.key_id.encode()).hexdigest()[:14]}"


def assert_shape(entity: dict[str, Any]) -> None:
    assert set(entity) == set(SHAPE)
    for name, kind in SHAPE.items():
        assert isinstance(entity[name], kind), f"{name} is {entity[name]!r}"


@pytest.mark.parametrize("of_account", [False, True])
def test_a_webhook_is_created_listed_edited_and_tells_the_shop(
    fresh: SimulatorProcess, fresh_client: razorpay.Client, *, of_account: bool
) -> None:
    owner = account(fresh) if of_account else None
    with WebhookReceiver() as shop:
        wish = {"url": shop.url, "secret": "hush", "alert_email": "ops@shop.example", "events": ["payment.captured"]}
        made = fresh_client.webhook.create(dict(wish), owner)
        assert_shape(made)
        assert (made["active"], made["secret_exists"], made["alert_email"]) == (True, True, "ops@shop.example")
        assert len(made["id"]) == 14
        assert made["id"] in {item["id"] for item in fresh_client.webhook.all({}, owner)["items"]}
        assert fresh_client.webhook.fetch(made["id"], owner)["url"] == shop.url

        order = fresh_client.order.create({"amount": 50000, "currency": "INR"})
        fresh.pay(order["id"])
        fresh.settle_webhooks()
        assert [webhook.event for webhook in shop.received] == ["payment.captured"]
        (heard,) = shop.received
        assert fresh_client.utility.verify_webhook_signature(heard.body.decode(), heard.signature, "hush")

        edited = fresh_client.webhook.edit(made["id"], owner, {"events": ["order.paid"], "active": False})
        assert (edited["events"], edited["active"], edited["url"]) == (["order.paid"], False, shop.url)
        order = fresh_client.order.create({"amount": 50000, "currency": "INR"})
        fresh.pay(order["id"])
        fresh.settle_webhooks()
        assert len(shop.received) == 1, "an inactive webhook is told nothing"
        assert "hush" not in str(fresh_client.webhook.all({}, owner))


def test_a_deleted_webhook_is_gone(fresh: SimulatorProcess, fresh_client: razorpay.Client) -> None:
    owner = account(fresh)
    made = fresh_client.webhook.create({"url": URL, "events": ALL}, owner)
    assert fresh_client.webhook.delete(made["id"], owner) == []
    assert fresh_client.webhook.all({}, owner)["count"] == 0
    with pytest.raises(razorpay.errors.BadRequestError, match="does not exist"):
        fresh_client.webhook.fetch(made["id"], owner)


def test_a_webhook_that_was_disabled_is_told_again_once_it_was_edited(
    fresh: SimulatorProcess, fresh_client: razorpay.Client
) -> None:
    with WebhookReceiver() as shop:
        shop.status = 500
        made = fresh_client.webhook.create({"url": shop.url, "secret": "hush", "events": ALL})
        order = fresh_client.order.create({"amount": 50000, "currency": "INR"})
        fresh.pay(order["id"], outcome="failure")
        fresh.advance(86400 + 60)
        off = fresh_client.webhook.fetch(made["id"], None)
        assert (off["active"], off["disabled_at"] > 0) == (False, True)
        shop.status = 200
        assert fresh_client.webhook.edit(made["id"], None, {"url": shop.url})["disabled_at"] == 0
        heard = len(shop.received)
        fresh.pay(order["id"], outcome="failure")
        fresh.settle_webhooks()
        assert len(shop.received) == heard + 1


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"events": ALL}, "url field is required"),
        ({"url": "ftp://shop.example", "events": ALL}, "must be an http"),
        ({"url": f"{URL}/{'x' * 255}", "events": ALL}, "greater than 255"),
        ({"url": URL}, "events field is required"),
        ({"url": URL, "events": ["payment.pending"]}, "Invalid event name/names: payment.pending"),
        ({"url": URL, "events": ALL, "secret": 7}, "secret must be a string"),
        ({"url": URL, "events": ALL, "active": "maybe"}, "active field"),
        ({"url": URL, "events": ALL, "colour": "red"}, "not required and should not be sent"),
    ],
)
def test_a_senseless_webhook_is_refused(client: razorpay.Client, wish: dict[str, Any], sentence: str) -> None:
    with pytest.raises(razorpay.errors.BadRequestError, match=sentence):
        client.webhook.create(wish)


def test_older_plugins_send_their_events_as_an_object(fresh_client: razorpay.Client) -> None:
    made = fresh_client.webhook.create({"url": URL, "events": {"payment.captured": 1, "payment.failed": False}})
    assert made["events"] == ["payment.captured"]


def test_another_account_and_too_many_are_refused(fresh: SimulatorProcess, fresh_client: razorpay.Client) -> None:
    with pytest.raises(razorpay.errors.BadRequestError, match="does not exist"):
        fresh_client.webhook.all({}, "acc_AAAAAAAAAAAAAA")
    for _ in range(MOST_WEBHOOKS):
        fresh_client.webhook.create({"url": URL, "events": ALL})
    with pytest.raises(razorpay.errors.BadRequestError, match="at most 30"):
        fresh_client.webhook.create({"url": URL, "events": ALL})
