"""Razorpay's own API for webhooks: what its dashboard does by hand, and plugins do when they are installed.

The merchant's own are below `/v1/webhooks`, those of an account below `/v2/accounts/{account}/webhooks`; here both are
the same ones. Addresses on this machine are taken, which Razorpay refuses.
"""

from collections.abc import Mapping
from typing import Any

from razorpay_simulator.errors import InvalidField, ProviderRefusal, UnknownId
from razorpay_simulator.fields import check_address, refuse_unknown
from razorpay_simulator.identifiers import new_id
from razorpay_simulator.provider import Provider
from razorpay_simulator.records import Webhook

MOST_WEBHOOKS = 30
LONGEST_URL = 255
FIELDS = ("url", "alert_email", "secret", "events", "active")
EVENTS = (
    "payment.authorized",
    "payment.captured",
    "payment.failed",
    "order.paid",
    "refund.created",
    "refund.processed",
    "refund.failed",
    "refund.speed_changed",
)


def create(provider: Provider, body: Mapping[str, Any]) -> dict[str, Any]:
    refuse_unknown(dict(body), known=FIELDS)
    if len(provider.store.webhooks.where()) >= MOST_WEBHOOKS:
        raise ProviderRefusal(f"You can add at most {MOST_WEBHOOKS} webhooks.")
    url = _url(body)
    now = provider.clock.now()
    webhook = Webhook(
        id=new_id("hook")[5:],
        url=url,
        secret=_text(body, "secret") or "",
        events=_events(body),
        alert_email=_text(body, "alert_email"),
        active=_active(body),
        created_at=int(now),
        updated_at=int(now),
        delivered_at=now,
    )
    provider.store.webhooks.save(webhook)
    return entity(provider, webhook)


def listing(provider: Provider) -> dict[str, Any]:
    items = [entity(provider, webhook) for webhook in provider.store.webhooks.where()]
    return {"entity": "collection", "count": len(items), "items": items}


def fetch(provider: Provider, webhook_id: str) -> dict[str, Any]:
    return entity(provider, _found(provider, webhook_id))


def edit(provider: Provider, webhook_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What is not named stays. Whoever edits a webhook that was disabled has mended it: it is told again."""
    refuse_unknown(dict(body), known=FIELDS)
    webhook = _found(provider, webhook_id)
    if "url" in body:
        webhook.url = _url(body)
    if "events" in body:
        webhook.events = _events(body)
    if "alert_email" in body:
        webhook.alert_email = _text(body, "alert_email")
    if body.get("secret"):
        webhook.secret = _text(body, "secret") or ""
    webhook.active = _active(body, default=webhook.active)
    now = provider.clock.now()
    webhook.disabled_at, webhook.delivered_at, webhook.updated_at = 0, now, int(now)
    provider.store.webhooks.save(webhook)
    return entity(provider, webhook)


def delete(provider: Provider, webhook_id: str) -> list[None]:
    """The documented answer is an empty list."""
    provider.store.webhooks.delete(_found(provider, webhook_id).id)
    return []


def check_account(provider: Provider, account_id: str) -> None:
    """Only the merchant's own account is known here."""
    if account_id != provider.settings.account_id:
        raise UnknownId(provider.variants.unknown_id_status)


def entity(provider: Provider, webhook: Webhook) -> dict[str, Any]:
    """Never with its secret."""
    return {
        "id": webhook.id,
        "entity": "webhook",
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
        "service": "beta-api-test",
        "owner_id": provider.settings.account_id.removeprefix("acc_"),
        "owner_type": "merchant",
        "context": [],
        "disabled_at": webhook.disabled_at,
        "url": webhook.url,
        "alert_email": webhook.alert_email,
        "secret_exists": bool(webhook.secret),
        "active": webhook.active and not webhook.disabled_at,
        "events": webhook.events or list(EVENTS),
    }


def _found(provider: Provider, webhook_id: str) -> Webhook:
    webhook = provider.store.webhooks.get(webhook_id)
    if webhook is None:
        raise UnknownId(provider.variants.unknown_id_status)
    return webhook


def _url(body: Mapping[str, Any]) -> str:
    url = body.get("url")
    if not isinstance(url, str) or not url:
        raise InvalidField("The url field is required.", field="url")
    if len(url) > LONGEST_URL:
        raise InvalidField(f"The url may not be greater than {LONGEST_URL} characters.", field="url")
    check_address(url)
    return url


def _events(body: Mapping[str, Any]) -> list[str]:
    """A list of names; older plugins send an object of names with 1 or true for those they want."""
    events = body.get("events")
    if isinstance(events, dict):
        events = [name for name, wanted in events.items() if wanted in (1, True, "1", "true")]
    if not isinstance(events, list) or not events:
        raise InvalidField("The events field is required.", field="events")
    unknown = [str(name)[:64] for name in events if name not in EVENTS]
    if unknown:
        raise InvalidField(f"Invalid event name/names: {', '.join(unknown)}", field="events")
    return list(dict.fromkeys(events))


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > LONGEST_URL):
        raise InvalidField(f"The {name} must be a string of at most {LONGEST_URL} characters.", field=name)
    return value


def _active(body: Mapping[str, Any], *, default: bool = True) -> bool:
    value = body.get("active", default)
    if value in (True, 1, "1"):
        return True
    if value in (False, 0, "0"):
        return False
    raise InvalidField("The active field must be true or false.", field="active")
