"""What orders promises, and what it needs of the events of others, as files that others can read."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chassis.events import Envelope, Event, Reader
from orders import checkout
from orders.events import PUBLISHED
from orders.order_states import MOVES, State
from orders.subscriptions import LISTENS_TO

if TYPE_CHECKING:
    from tests.conftest import Shop

SERVICES = Path(__file__).parents[2]
CONTRACTS = SERVICES / "orders/contracts"
PRODUCERS = {"stock": "catalog", "payment": "payments", "refund": "payments"}
FILED = sorted(CONTRACTS.glob("consumers/*/*.json"))
READERS = [pytest.param(event, reader, id=event) for event, reader, _ in LISTENS_TO]


def read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


@pytest.mark.parametrize("event", PUBLISHED, ids=lambda event: event.type)
async def test_schema_is_the_published_one(event: type[Event]) -> None:
    """`make contracts` writes it anew; within v1 fields are only added."""
    published = read(CONTRACTS / f"events/{event.type}.schema.json")
    assert event.model_json_schema(mode="serialization") == published


@pytest.mark.parametrize("event", PUBLISHED, ids=lambda event: event.type)
async def test_example_is_a_message_of_that_kind(event: type[Event]) -> None:
    example = read(CONTRACTS / f"events/{event.type}.example.json")
    envelope = Envelope.decode(json.dumps(example).encode())
    assert (envelope.type, envelope.sequence) == (event.type, envelope.data["version"])
    assert event.model_validate_json(json.dumps(envelope.data)).model_dump(mode="json") == envelope.data


@pytest.mark.parametrize("filed", FILED, ids=lambda file: f"{file.parent.name} {file.stem}")
async def test_consumer_finds_what_it_reads(filed: Path) -> None:
    schema = read(CONTRACTS / f"events/{filed.stem}.schema.json")
    fields = {pointer.split("/")[1] for pointer in read(filed)["reads"]}
    assert fields <= set(schema["required"])


@pytest.mark.parametrize(("event", "reader"), READERS)
async def test_needs_filed_with_the_producer_are_those_of_the_reader(event: str, reader: type[Reader]) -> None:
    producer = PRODUCERS[event.partition(".")[0]]
    needs = read(SERVICES / producer / f"contracts/consumers/orders/{event}.json")
    assert needs["reads"] == [f"/{name}" for name in reader.model_fields]
    reader.model_validate_json(json.dumps({**needs["example-minimum"], "field_of_tomorrow": 1}))


async def test_openapi_document_is_the_published_one(shop: "Shop") -> None:
    """`make contracts` writes it anew; read the difference as a client would."""
    assert shop.harness.service.fastapi.openapi() == read(CONTRACTS / "openapi.json")


async def test_story_of_checkout_names_only_events_and_functions_that_exist() -> None:
    story = checkout.__doc__ or ""
    told = set(re.findall(r"`((?:order|payment|stock|refund)\.[a-z_]+)`", story))
    known = {event.type for event in PUBLISHED} | {event for event, _, _ in LISTENS_TO}
    assert {f"{name}.v1" for name in told} <= known
    for module, function in re.findall(r"`([a-z]+_?[a-z]+)\.(\w+)`", story):
        if module not in ("order", "payment", "stock", "refund"):
            source = (SERVICES / "orders/orders" / f"{module}.py").read_text()
            assert f"def {function}(" in source
    for function in re.findall(r"`(_\w+|place_order)`", story):
        assert hasattr(checkout.Checkout, function)


async def test_picture_in_the_readme_is_the_table_of_moves() -> None:
    drawn = re.findall(r"^    (\S+) --> (\S+): (\S+) (\S+)$", (SERVICES / "orders/README.md").read_text(), re.MULTILINE)

    def node(state: State) -> str:
        return "[*]" if state is State.NEW else re.sub(r" \((\w+)\)", r"_\1", state)

    moves = [move for move in MOVES if move.before is not move.after]
    assert drawn == [(node(move.before), node(move.after), move.name, str(move.trigger)) for move in moves]
