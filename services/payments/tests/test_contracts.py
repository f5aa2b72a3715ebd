"""What payments promises, as files that clients and other services build on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chassis.events import Envelope, Event, Subscription
from payments.events import EVENTS
from payments.subscriptions import SUBSCRIPTIONS

if TYPE_CHECKING:
    from tests.conftest import Till

CONTRACTS = Path(__file__).parents[1] / "contracts"
NEEDS = sorted(CONTRACTS.glob("consumers/*/*.json"))


def example_of(event_type: str) -> dict[str, Any]:
    example: dict[str, Any] = json.loads((CONTRACTS / f"events/{event_type}.example.json").read_text())
    return example


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
async def test_an_events_schema_is_the_published_one(event: type[Event]) -> None:
    """`make contracts` writes it anew; within v1 fields are only added."""
    published = json.loads((CONTRACTS / f"events/{event.type}.schema.json").read_text())
    assert event.model_json_schema(mode="serialization") == published


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
async def test_an_events_example_is_a_message_of_that_kind(event: type[Event]) -> None:
    envelope = Envelope.decode(json.dumps(example_of(event.type)).encode())

    assert envelope.type == event.type
    assert event.model_validate_json(json.dumps(envelope.data)).model_dump(mode="json") == envelope.data


@pytest.mark.parametrize("needs", NEEDS, ids=lambda file: f"{file.parent.name} {file.stem}")
async def test_every_consumer_finds_what_it_reads(needs: Path) -> None:
    filed = json.loads(needs.read_text())
    data = example_of(needs.stem)["data"]
    fields = {pointer.split("/")[1] for pointer in filed["reads"]}

    assert fields <= set(data)
    schema = json.loads((CONTRACTS / f"events/{needs.stem}.schema.json").read_text())
    assert fields <= set(schema["required"])


async def test_the_openapi_document_is_the_published_one(till: "Till") -> None:
    """`make contracts` writes it anew; read the difference as a client would."""
    published = json.loads((CONTRACTS / "openapi.json").read_text())
    assert till.harness.service.fastapi.openapi() == published


@pytest.mark.parametrize("subscription", SUBSCRIPTIONS, ids=lambda subscription: subscription.type)
async def test_what_payments_needs_of_orders_is_filed_with_orders(subscription: Subscription) -> None:
    """Orders runs these against its own examples, so it cannot drop a field that is read here."""
    filed = json.loads(
        (CONTRACTS.parents[1] / f"orders/contracts/consumers/payments/{subscription.type}.json").read_text()
    )
    assert {f"/{name}" for name in subscription.reader.model_fields} == set(filed["reads"])
    subscription.reader.model_validate(filed["example-minimum"])
