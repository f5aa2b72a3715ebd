"""Every event and every command in every state: what moves, what is announced, and that nothing else does anything."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

Placed = dict[str, Any]
PRICE = 50_000


async def _nothing(shop: "Shop", order: Placed) -> None:
    """Placed and no more."""


async def _expire(shop: "Shop", order: Placed) -> None:
    await shop.pass_deadline(order)


async def _cancel(shop: "Shop", order: Placed) -> None:
    await shop.staff("POST", f"/{order['id']}/cancel", json={"reason": "asked by phone"})


async def _capture(shop: "Shop", order: Placed) -> None:
    await shop.capture(order)


async def _capture_wrong_amount(shop: "Shop", order: Placed) -> None:
    await shop.capture(order, amount=PRICE - 1)


async def _close_intent(shop: "Shop", order: Placed) -> None:
    await shop.tell("payment.intent_closed.v1", order)


async def _lose_hold(shop: "Shop", order: Placed) -> None:
    await shop.tell("stock.commit_failed.v1", order, cause="placed", shortages=[])


async def _lose_sale(shop: "Shop", order: Placed) -> None:
    await shop.tell("stock.commit_failed.v1", order, cause="paid", shortages=[])


async def _commit_stock(shop: "Shop", order: Placed) -> None:
    await shop.tell("stock.committed.v1", order)


async def _hear_news(shop: "Shop", order: Placed) -> None:
    """Everything that is kept but moves nothing."""
    await shop.tell("payment.failed.v1", order, attempt_id=str(new_id()))
    await shop.refund("submitted", order, version=49, refunded=0)
    await shop.refund("processed", order, version=50, refunded=PRICE // 2)
    for stock in ("committed", "released", "returned"):
        await shop.tell(f"stock.{stock}.v1", order)


async def _pass_deadline(shop: "Shop", order: Placed) -> None:
    await shop.pass_deadline(order)


async def _pass_limit(shop: "Shop", order: Placed) -> None:
    await shop.pass_closing_limit(order)


async def _ship(shop: "Shop", order: Placed) -> None:
    await shop.staff("POST", f"/{order['id']}/ship", json={"carrier": "Bluedart", "tracking": "BD1"})


async def _deliver(shop: "Shop", order: Placed) -> None:
    await shop.staff("POST", f"/{order['id']}/deliver")


Act = Callable[["Shop", Placed], Awaitable[None]]

PATHS: dict[str, tuple[Act, ...]] = {
    "awaiting_payment": (_nothing,),
    "closing expired": (_expire,),
    "closing cancelled": (_cancel,),
    "paid": (_capture, _commit_stock),
    "shipped": (_capture, _commit_stock, _ship),
    "delivered": (_capture, _commit_stock, _ship, _deliver),
    "cancelled": (_cancel, _close_intent),
    "cancelled after payment": (_capture, _commit_stock, _cancel),
    "expired": (_expire, _close_intent),
}
"""How an order comes into each state."""

ACTS: dict[str, Act] = {
    act.__name__.removeprefix("_"): act
    for act in (
        _capture, _capture_wrong_amount, _close_intent, _lose_hold, _lose_sale, _hear_news, _pass_deadline, _pass_limit,
        _cancel, _ship, _deliver,
    )
}  # fmt: skip

CANCELLED, EXPIRED = "order.cancelled.v1", "order.expired.v1"
CLOSING, PAID, REFUND = "order.closing.v1", "order.paid.v1", "refund.requested.v1"

MOVES: dict[tuple[str, str], tuple[str, list[str]]] = {
    ("awaiting_payment", "capture"): ("paid", [PAID]),
    ("awaiting_payment", "lose_hold"): ("closing", [CLOSING]),
    ("awaiting_payment", "pass_deadline"): ("closing", [CLOSING]),
    ("awaiting_payment", "cancel"): ("closing", [CLOSING]),
    ("closing expired", "capture"): ("paid", [PAID]),
    ("closing expired", "close_intent"): ("expired", [EXPIRED]),
    ("closing expired", "pass_limit"): ("expired", [EXPIRED]),
    ("closing expired", "cancel"): ("closing", []),
    ("closing cancelled", "capture"): ("cancelled", [CANCELLED, REFUND]),
    ("closing cancelled", "close_intent"): ("cancelled", [CANCELLED]),
    ("closing cancelled", "pass_limit"): ("cancelled", [CANCELLED]),
    ("paid", "lose_sale"): ("cancelled", [CANCELLED, REFUND]),
    ("paid", "cancel"): ("cancelled", [CANCELLED, REFUND]),
    ("paid", "ship"): ("shipped", ["order.shipped.v1"]),
    ("shipped", "deliver"): ("delivered", ["order.delivered.v1"]),
}
"""State and act → status and events. What is missing changes neither."""

for _state in PATHS:
    MOVES[_state, "capture_wrong_amount"] = (_state.split(" ", maxsplit=1)[0], [REFUND])
    if (_state, "capture") not in MOVES:
        MOVES[_state, "capture"] = (_state.split(" ", maxsplit=1)[0], [REFUND])


async def _brought_to(shop: "Shop", state: str) -> Placed:
    order = await shop.shopper().placed(price=PRICE)
    for act in PATHS[state]:
        await act(shop, order)
    return order


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("state", PATHS)
async def test_every_act_in_every_state(shop: "Shop", state: str, act: str) -> None:
    order = await _brought_to(shop, state)
    before, told = await shop.row(order["id"]), await shop.harness.events()
    assert before["status"] == state.split(" ", maxsplit=1)[0]
    await ACTS[act](shop, order)
    after, news = await shop.row(order["id"]), (await shop.harness.events())[len(told) :]
    expected, announced = MOVES.get((state, act), (before["status"], []))
    assert (after["status"], [envelope.type for envelope in news]) == (expected, announced)
    # The version rises with every event, each event carries its own, and the cause of a review is a line of its own.
    moved = max(len(announced), (state, act) in MOVES)
    assert after["version"] == before["version"] + moved + after["needs_review"]
    assert [envelope.sequence for envelope in news] == [before["version"] + 1 + place for place in range(len(news))]
    assert [envelope.data["version"] for envelope in news] == [envelope.sequence for envelope in news]
    await _history_is_a_path(shop, after)


async def _history_is_a_path(shop: "Shop", row: dict[str, Any]) -> None:
    moves = (await shop.staff("GET", f"/{row['id']}/timeline")).json()["items"]
    assert moves[0]["from_status"] is None
    assert [move["from_status"] for move in moves[1:]] == [move["to_status"] for move in moves[:-1]]
    assert (moves[-1]["to_status"], moves[-1]["version"]) == (row["status"], row["version"])


@pytest.mark.parametrize("state", PATHS)
async def test_every_event_twice_and_for_nobody(shop: "Shop", state: str) -> None:
    """The same message again changes nothing, nor does one about an order that does not exist."""
    order = await _brought_to(shop, state)
    stranger = {**order, "id": str(new_id())}
    for name in ("payment.captured.v1", "payment.intent_closed.v1", "stock.commit_failed.v1"):
        event_id, attempt_id = str(new_id()), str(new_id())
        fields = {"attempt_id": attempt_id, "amount": PRICE, "currency": "INR", "cause": "paid"}
        fields["captured_at"] = "2026-11-22T10:00:00Z"
        await shop.tell(name, order, event_id=event_id, **fields)
        known = await shop.row(order["id"]), await shop.told()
        await shop.tell(name, order, event_id=event_id, **fields)
        await shop.tell(name, order, **fields)
        await shop.tell(name, stranger, **fields)
        if known[0]["needs_review"]:
            # A cause told again, by another message, is one line more for whoever reviews it.
            assert await shop.told() == known[1]
        elif name != "payment.intent_closed.v1":
            assert (await shop.row(order["id"]), await shop.told()) == known
