"""The words that services use between them: every one has a speaker and, where it matters, a listener."""

import re
from collections import Counter

from tests.contracts.published import ROOT, parts, producers, schema_of

NAME = re.compile(r"[a-z]+\.[a-z_]+\.v[1-9]")
PERSONAL = {
    "email", "phone", "full_name", "recipient_name", "line1", "line2", "city", "postal_code", "address",
    "shipping_address", "billing_address", "password", "user_agent",
}  # fmt: skip


def listeners() -> dict[str, set[str]]:
    """Which services listen to each type."""
    found: dict[str, set[str]] = {}
    for part in parts().values():
        for subscription in part.subscriptions:
            found.setdefault(subscription.type, set()).add(part.name)
    return found


def test_every_event_has_one_producer_and_a_versioned_name() -> None:
    said = Counter(event.type for part in parts().values() for event in part.events)
    assert [name for name, count in said.items() if count > 1] == []
    assert [name for name in said if not NAME.fullmatch(name)] == []


def test_every_required_event_has_a_listener() -> None:
    heard = listeners()
    unheard = [
        event.type for part in parts().values() for event in part.events if event.required and event.type not in heard
    ]
    assert unheard == [], "required events without a listener would stay in the outbox for ever"


def test_everything_listened_to_is_published_and_its_needs_are_filed() -> None:
    heard = {(consumer, name) for name, consumers in listeners().items() for consumer in consumers}
    assert {name for _, name in heard} <= set(producers())
    filed = {
        (file.parent.name, file.stem): file.parents[2].parent.name
        for file in ROOT.glob("*/contracts/consumers/*/*.json")
        if file.parent.name in parts()
    }
    assert set(filed) == heard, "each subscription files what it reads with the producer, and nobody else does"
    for (_, name), producer in filed.items():
        assert producers()[name].name == producer, f"{name} is published by {producers()[name].name}"


def test_events_tell_nothing_personal_beyond_ids() -> None:
    for part in parts().values():
        for event in part.events:
            shape = schema_of(event)
            objects = [shape, *shape.get("$defs", {}).values()]
            fields = {name for part_ in objects for name in part_.get("properties", {})}
            assert not fields & PERSONAL, f"{event.type} tells {fields & PERSONAL}"
