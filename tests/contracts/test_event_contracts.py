"""An event's producer and its consumers are deployed apart; these files are all that holds them together.

Both ways: what a producer publishes is what its code does, and what a consumer needs is what the producer publishes.
"""

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator

from chassis.events import Envelope, Event, Subscription
from embedded.shop import PARTS
from gateway.catalogue_feed import ChangedStock
from gateway.session_feed import RevokedSession
from tests.contracts.published import Document, needs, parts, producers, read, schema_of

EVENTS = [pytest.param(part.name, event, id=event.type) for part in parts().values() for event in part.events]
SUBSCRIPTIONS = [
    pytest.param(part.name, subscription, id=f"{part.name} reads {subscription.type}")
    for part in parts().values()
    for subscription in part.subscriptions
]
NEEDS = [pytest.param(file, id=f"{file.parent.name} needs {file.stem}") for file in needs()]


def located(schema: Document, place: str) -> tuple[Document, bool]:
    """The part of a schema that a JSON pointer into the data leads to, and whether it is always there."""
    found, always = schema, True
    for word in place.strip("/").split("/"):
        found = _resolved(schema, found)
        if word.isdigit():
            found = found["items"]
            continue
        always = always and word in found.get("required", ())
        assert word in found.get("properties", {}), f"{place} is nowhere in the producer's schema"
        found = found["properties"][word]
    return found, always


def _resolved(schema: Document, found: Document) -> Document:
    while "$ref" in found:
        found = schema["$defs"][found["$ref"].rpartition("/")[2]]
    return found


def value_at(data: Any, place: str) -> Any:
    """What a JSON pointer leads to."""
    for word in place.strip("/").split("/"):
        data = data[int(word)] if isinstance(data, list) else data[word]
    return data


def values_of(data: Any, place: str = "") -> list[tuple[str, Any]]:
    """Every value in a document with its pointer."""
    if isinstance(data, dict):
        return [found for name, value in data.items() for found in values_of(value, f"{place}/{name}")]
    if isinstance(data, list):
        return [found for number, value in enumerate(data) for found in values_of(value, f"{place}/{number}")]
    return [(place, data)]


@pytest.mark.parametrize(("producer", "event"), EVENTS)
def test_the_published_schema_is_that_of_the_code(producer: str, event: type[Event]) -> None:
    assert parts()[producer].schema(event.type) == schema_of(event), "run `make contracts` and read the difference"


@pytest.mark.parametrize(("producer", "event"), EVENTS)
def test_the_example_is_a_message_as_it_travels(producer: str, event: type[Event]) -> None:
    example = parts()[producer].example(event.type)
    envelope = Envelope.decode(json.dumps(example).encode())

    assert json.loads(envelope.encode()) == example
    assert (envelope.type, envelope.source) == (event.type, f"/services/{producer}")
    Draft202012Validator(parts()[producer].schema(event.type)).validate(envelope.data)
    assert event.model_validate_json(json.dumps(envelope.data)).model_dump(mode="json") == envelope.data


@pytest.mark.parametrize("file", NEEDS)
def test_what_a_consumer_needs_is_always_in_the_event(file: Path) -> None:
    filed, producer = read(file), producers()[file.stem]
    schema, example = producer.schema(file.stem), producer.example(file.stem)["data"]

    assert filed["reads"], "a consumer that reads nothing needs no file"
    for place in filed["reads"]:
        _, always = located(schema, place)
        assert always, f"{place} may be missing"
        value_at(example, place)


@pytest.mark.parametrize("file", NEEDS)
def test_what_a_consumer_expects_of_a_value_is_what_the_producer_sends(file: Path) -> None:
    schema = producers()[file.stem].schema(file.stem)
    for place, value in values_of(read(file)["example-minimum"]):
        expected, _ = located(schema, place)
        with_definitions = {**expected, "$defs": schema.get("$defs", {})}
        Draft202012Validator(with_definitions).validate(value)


@pytest.mark.parametrize(("consumer", "subscription"), SUBSCRIPTIONS)
def test_a_reader_reads_the_producers_example(consumer: str, subscription: Subscription) -> None:
    producer = producers()[subscription.type]
    data = producer.example(subscription.type)["data"]

    subscription.reader.model_validate_json(json.dumps({**data, "a_field_of_tomorrow": 1}))


@pytest.mark.parametrize(("consumer", "subscription"), SUBSCRIPTIONS)
def test_a_reader_is_content_with_what_was_filed_for_it(consumer: str, subscription: Subscription) -> None:
    """So that the producer's tests protect all that the reader needs."""
    producer = producers()[subscription.type]
    filed = read(producer.contracts / "consumers" / consumer / f"{subscription.type}.json")

    subscription.reader.model_validate_json(json.dumps(filed["example-minimum"]))
    for place, _ in values_of(filed["example-minimum"]):
        assert place in filed["reads"] or any(place.startswith(f"{read_}/") for read_ in filed["reads"]), place


@pytest.mark.parametrize(
    ("event", "reader"), [("stock.changed.v1", ChangedStock), ("session.revoked.v1", RevokedSession)]
)
def test_the_gateway_is_content_with_what_was_filed_for_it(event: str, reader: type[msgspec.Struct]) -> None:
    """It hears while it is connected, without a queue of its own, and so has no subscription among those above."""
    filed = read(producers()[event].contracts / "consumers" / "gateway" / f"{event}.json")

    msgspec.convert(filed["example-minimum"], reader)
    assert {f"/{field}" for field in reader.__struct_fields__} == set(filed["reads"])


@pytest.mark.parametrize("name", PARTS)
async def test_every_event_class_is_in_the_published_document(name: str) -> None:
    """A class that its service does not name in `app.py` would be missing from /asyncapi.json."""
    part = parts()[name]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(part.service.fastapi), base_url="http://test") as http:
        described = (await http.get("/internal/asyncapi.json")).json()["channels"]
    kept = {file.name.removesuffix(".schema.json") for file in (part.contracts / "events").glob("*.schema.json")}

    assert set(described) == kept == {event.type for event in part.events}
