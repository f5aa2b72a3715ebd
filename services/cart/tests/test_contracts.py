"""What cart promises to clients, and what it needs of the events of others, as files that others can read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cart.subscriptions import SUBSCRIPTIONS
from chassis.events import Reader, Subscription

if TYPE_CHECKING:
    from tests.conftest import Shop

SERVICES = Path(__file__).parents[2]
PRODUCERS = {"user": "accounts", "product": "catalog", "stock": "catalog", "order": "orders"}


def _needs(subscription: Subscription) -> dict[str, Any]:
    producer = PRODUCERS[subscription.type.partition(".")[0]]
    file = SERVICES / producer / "contracts/consumers/cart" / f"{subscription.type}.json"
    needs: dict[str, Any] = json.loads(file.read_text())
    return needs


def _fields(reader: type[Reader], example: dict[str, Any], path: str = "") -> list[str]:
    """Every field that a reader names, as a pointer into the example."""
    found = []
    for name in reader.model_fields:
        found.append(f"{path}/{name}")
        if isinstance(example[name], list):
            (inner,) = reader.model_fields[name].annotation.__args__  # type: ignore[union-attr]  # list[…]
            found += _fields(inner, example[name][0], f"{path}/{name}/0")
    return found


@pytest.mark.parametrize("subscription", SUBSCRIPTIONS, ids=lambda subscription: subscription.type)
async def test_needs_filed_with_the_producer_are_those_of_the_reader(subscription: Subscription) -> None:
    needs = _needs(subscription)
    example = needs["example-minimum"]
    assert needs["reads"] == _fields(subscription.reader, example)
    subscription.reader.model_validate_json(json.dumps({**example, "field_of_tomorrow": 1}))


@pytest.mark.parametrize("subscription", SUBSCRIPTIONS, ids=lambda subscription: subscription.type)
async def test_filed_example_is_applied(shop: "Shop", subscription: Subscription) -> None:
    await shop.harness.deliver(subscription.type, _needs(subscription)["example-minimum"])


async def test_openapi_snapshot_is_current(shop: "Shop") -> None:
    """`make contracts` writes it anew; read the difference as a client would."""
    snapshot = json.loads((SERVICES / "cart/contracts/openapi.json").read_text())
    assert shop.harness.service.fastapi.openapi() == snapshot
