"""The news of a purchase in any order, some of it twice, with commands and clocks in between: money is never lost."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

PRICE = 50_000


def news_of(shop: "Shop", order: dict[str, Any], attempts: list[str]) -> list[Callable[[], Awaitable[object]]]:
    """Everything that can be heard or asked about an order that was paid twice."""

    def captured(attempt_id: str, version: int) -> Callable[[], Awaitable[object]]:
        return lambda: shop.capture(order, attempt_id=attempt_id, payment_version=version)

    return [
        *(captured(attempt_id, version) for version, attempt_id in enumerate(attempts, start=1)),
        lambda: shop.tell("payment.intent_closed.v1", order),
        lambda: shop.tell("stock.commit_failed.v1", order, cause="placed", shortages=[]),
        lambda: shop.tell("stock.commit_failed.v1", order, cause="paid", shortages=[]),
        lambda: shop.tell("stock.committed.v1", order),
        lambda: shop.pass_deadline(order),
        lambda: shop.pass_closing_limit(order),
        lambda: shop.staff("POST", f"/{order['id']}/cancel"),
        lambda: shop.staff("POST", f"/{order['id']}/ship", json={"carrier": "Bluedart", "tracking": "1"}),
        lambda: shop.staff("POST", f"/{order['id']}/deliver"),
    ]


@pytest.mark.parametrize("seed", range(15))
async def test_every_captured_attempt_pays_or_is_asked_back_once(shop: "Shop", seed: int) -> None:
    dice = random.Random(seed)
    order = await shop.shopper().placed(price=PRICE)
    attempts = [str(new_id()), str(new_id())]
    news = news_of(shop, order, attempts)
    happenings = [*news, *dice.sample(news, 5), *news[:2]]
    dice.shuffle(happenings)
    for happens in happenings:
        await happens()
    row = await shop.row(order["id"])
    events = await shop.harness.events()
    returned = Counter(event.data["attempt_id"] for event in events if event.type == "refund.requested.v1")
    pays = {str(row["paying_attempt_id"])} if row["status"] in ("paid", "shipped", "delivered") else set()
    assert returned == Counter(set(attempts) - pays)
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    closed = [event for event in events if event.type in ("order.cancelled.v1", "order.expired.v1")]
    assert len(closed) == (row["status"] in ("cancelled", "expired"))
    assert sum(event.type == "order.paid.v1" for event in events) <= 1
    moves = (await shop.staff("GET", f"/{order['id']}/timeline")).json()["items"]
    assert [move["from_status"] for move in moves[1:]] == [move["to_status"] for move in moves[:-1]]
    assert moves[-1]["to_status"] == row["status"]
