"""What catalog promises, and what it needs of the events of orders, as files that others can read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from catalog.events import PUBLISHED
from catalog.subscriptions import subscriptions
from chassis.events import Envelope, Event, Subscription
from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

CONTRACTS = Path(__file__).parents[1] / "contracts"
FILED_WITH_ORDERS = CONTRACTS.parents[1] / "orders/contracts/consumers/catalog"
NEEDS = sorted(CONTRACTS.glob("consumers/*/*.json"))
SUBSCRIPTIONS = subscriptions(lambda _type: None)


def read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text())
    return document


@pytest.mark.parametrize("event", PUBLISHED, ids=lambda event: event.type)
async def test_an_events_schema_is_the_published_one(event: type[Event]) -> None:
    """`make contracts` writes it anew; within v1 fields are only added."""
    assert event.model_json_schema(mode="serialization") == read(CONTRACTS / f"events/{event.type}.schema.json")


@pytest.mark.parametrize("event", PUBLISHED, ids=lambda event: event.type)
async def test_an_events_example_is_a_message_of_that_kind(event: type[Event]) -> None:
    envelope = Envelope.decode((CONTRACTS / f"events/{event.type}.example.json").read_bytes())

    assert envelope.type == event.type
    assert event.model_validate_json(json.dumps(envelope.data)).model_dump(mode="json") == envelope.data


@pytest.mark.parametrize("needs", NEEDS, ids=lambda file: f"{file.parent.name} {file.stem}")
async def test_every_consumer_finds_what_it_reads(needs: Path) -> None:
    fields = {pointer.split("/")[1] for pointer in read(needs)["reads"]}

    assert fields <= set(read(CONTRACTS / f"events/{needs.stem}.example.json")["data"])
    assert fields <= set(read(CONTRACTS / f"events/{needs.stem}.schema.json")["required"])


@pytest.mark.parametrize("subscription", SUBSCRIPTIONS, ids=lambda subscription: subscription.type)
async def test_what_is_filed_with_orders_is_all_that_is_read_of_an_event(
    shop: "Shop", subscription: Subscription
) -> None:
    filed = read(FILED_WITH_ORDERS / f"{subscription.type}.json")

    assert {f"/{name}" for name in subscription.reader.model_fields} == {
        pointer for pointer in filed["reads"] if pointer.count("/") == 1
    }
    await shop.harness.deliver(subscription.type, filed["example-minimum"], subject=new_id())


async def test_the_openapi_document_is_the_published_one(shop: "Shop") -> None:
    """`make contracts` writes it anew; read the difference as a client would."""
    assert shop.harness.service.fastapi.openapi() == read(CONTRACTS / "openapi.json")
