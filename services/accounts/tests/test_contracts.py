"""What accounts promises, as files that clients and other services build on."""

import json
from pathlib import Path
from typing import Any

import pytest

from accounts.events import EVENTS
from chassis.events import Envelope, Event
from chassis.testing import Harness

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


async def test_the_openapi_document_is_the_published_one(accounts: Harness) -> None:
    """`make contracts` writes it anew; read the difference as a client would."""
    published = json.loads((CONTRACTS / "openapi.json").read_text())
    assert accounts.service.fastapi.openapi() == published
