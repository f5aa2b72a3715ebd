"""Money that comes while an order ends: the same instant, again and again, and always exactly one winner.

Each round is a purchase of its own. Its two sides start at the same moment and meet where the round says: at orders
(the news of the capture against the cancel or the clock), at payments (the webhook against the closing of the order)
or at the provider (the shopper pays while the provider is being asked for its last word). Every round of a batch runs
at the same time as the others. `make test` runs some; `make test-races ROUNDS=1000` runs a thousand of each.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import pytest

from tests.hand_carried import HandCarriedShop, together
from tests.purchase import PRICE, Purchase

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("ROUNDS") or "60")
BATCH = 12
"""Rounds at the same time."""

PIECES = 2

Side = Callable[[], Awaitable[object]]


async def at_the_same_moment(slower: Side, *others: Side, dice: random.Random, within: float) -> None:
    """The slower side, as measured, starts at once; the others within so many seconds, so that either may win."""

    async def after_a_breath(side: Side) -> None:
        await asyncio.sleep(dice.uniform(0, within))
        await side()

    await together((slower(), *(after_a_breath(side) for side in others)))


async def rounds(shop: HandCarriedShop, variant: str, count: int) -> list[Purchase]:
    return await asyncio.gather(*(Purchase.begun(shop, variant, pieces=PIECES) for _ in range(count)))


def batches(count: int) -> Iterable[int]:
    """How many rounds each batch has."""
    return [BATCH] * (count // BATCH) + ([count % BATCH] if count % BATCH else [])


async def cancel_meets_capture_at_orders(these: list[Purchase], dice: random.Random) -> None:
    """T3 and then T8, or T4 and then T6."""
    letters = await asyncio.gather(*(one.news_of_capture() for one in these))
    shop = these[0].shop

    for one, letter in zip(these, letters, strict=True):
        await at_the_same_moment(partial(shop.deliver, letter), one.cancel, dice=dice, within=0.005)


async def cancel_meets_capture_at_payments(these: list[Purchase], dice: random.Random) -> None:
    """P5 and then P7, or P4 and then P5."""
    shop = these[0].shop
    await together(one.cancel() for one in these)

    for one in these:
        closing = await shop.take("order.closing → payments", one.order)
        captured = (await one.webhooks(await one.pay()))["payment.captured"]
        await at_the_same_moment(
            partial(shop.deliver, closing), partial(shop.hand_on, captured), dice=dice, within=0.003
        )


async def cancel_meets_capture_at_the_provider(these: list[Purchase], dice: random.Random) -> None:
    """The last word is asked for while the shopper pays: P5, or `payment.intent_closed` and money that comes late."""
    shop = these[0].shop
    await together(one.cancel() for one in these)
    await together(shop.carry(one.order) for one in these)
    asks = partial(shop.job, "payments", "closing")
    await at_the_same_moment(asks, *(one.pay for one in these), dice=dice, within=0.2)


CANCEL = (cancel_meets_capture_at_orders, cancel_meets_capture_at_payments, cancel_meets_capture_at_the_provider)


async def test_capture_racing_cancel(carried: HandCarriedShop) -> None:
    """Whoever wins: cancelled once, the money back once and whole, every piece on the shelf."""
    dice = random.Random(20_261)
    on_hand = PIECES * ROUNDS
    variant = await carried.new_variant(stock=on_hand, price=PRICE)
    await carried.carry()
    before = await provider_has(carried)
    raced: list[Purchase] = []
    for number, count in enumerate(batches(ROUNDS)):
        these = await rounds(carried, variant, count)
        await CANCEL[number % len(CANCEL)](these, dice)
        await carried.settle(dice=dice)
        raced += these

    winners: Counter[str] = Counter()
    for one in raced:
        moves = await carried.moves(one.order)
        winners[" ".join(moves)] += 1
        events = await carried.rows("orders", ENDINGS, one.order)
        assert [row["type"] for row in events] == ["order.cancelled.v1", "refund.requested.v1"], moves
        assert (await one.stands())[1] == "refunded"
    assert set(winners) <= {"T1 T3 T8", "T1 T4 T6", "T1 T4 T7 T11"}, winners
    assert len(raced) < 60 or {"T1 T3 T8", "T1 T4 T6"} <= set(winners), f"only one side ever won: {winners}"
    kept, given_back = await provider_has(carried)
    assert (kept - before[0], given_back - before[1]) == (0, PRICE * PIECES * len(raced))
    assert await carried.stock(variant) == {"on_hand": on_hand, "reserved": 0, "available": on_hand}


async def deadline_meets_capture_at_orders(these: list[Purchase], dice: random.Random) -> None:
    """T3, or T4 and then T5: paid in time either way."""
    shop = these[0].shop
    letters = await asyncio.gather(*(one.news_of_capture() for one in these))
    await shop.pass_deadlines(*(one.order for one in these))
    captures = [partial(shop.deliver, letter) for letter in letters]
    await at_the_same_moment(partial(shop.job, "orders", "deadlines"), *captures, dice=dice, within=0.05)


async def hard_limit_meets_capture_at_orders(these: list[Purchase], dice: random.Random) -> None:
    """T5 and paid, or T7, and the money goes back by T11."""
    shop = these[0].shop
    await shop.expire(*(one.order for one in these))
    letters = await asyncio.gather(*(one.news_of_capture() for one in these))
    await shop.pass_closing_limits(*(one.order for one in these))
    captures = [partial(shop.deliver, letter) for letter in letters]
    await at_the_same_moment(partial(shop.job, "orders", "closing-limit"), *captures, dice=dice, within=0.05)


async def last_word_meets_capture_at_orders(these: list[Purchase], dice: random.Random) -> None:
    """Payments closed, and then the money came: both letters are under way, and one is read first."""
    shop = these[0].shop
    await shop.expire(*(one.order for one in these))
    await together(shop.carry(one.order) for one in these)
    await shop.job("payments", "closing")
    closed = await asyncio.gather(*(shop.take("payment.intent_closed → orders", one.order) for one in these))
    captured = await asyncio.gather(*(one.news_of_capture() for one in these))

    for letters in zip(closed, captured, strict=True):
        await at_the_same_moment(*(partial(shop.deliver, letter) for letter in letters), dice=dice, within=0.003)


async def closing_meets_capture_at_the_provider(these: list[Purchase], dice: random.Random) -> None:
    """The shopper pays while the provider is asked for the last time."""
    shop = these[0].shop
    await shop.expire(*(one.order for one in these))
    await together(shop.carry(one.order) for one in these)
    asks = partial(shop.job, "payments", "closing")
    await at_the_same_moment(asks, *(one.pay for one in these), dice=dice, within=0.2)


EXPIRY = (
    hard_limit_meets_capture_at_orders,
    last_word_meets_capture_at_orders,
    closing_meets_capture_at_the_provider,
    deadline_meets_capture_at_orders,
)


async def test_capture_racing_expiry(carried: HandCarriedShop) -> None:
    """Paid with the stock sold and the money kept, or expired with the stock free and the money back."""
    dice = random.Random(20_262)
    on_hand = PIECES * ROUNDS
    variant = await carried.new_variant(stock=on_hand, price=PRICE)
    await carried.carry()
    before = await provider_has(carried)
    raced: list[Purchase] = []
    for number, count in enumerate(batches(ROUNDS)):
        these = await rounds(carried, variant, count)
        await EXPIRY[number % len(EXPIRY)](these, dice)
        await carried.settle(dice=dice)
        raced += these

    winners: Counter[tuple[str, str]] = Counter()
    for one in raced:
        winners[await one.stands()] += 1
        endings = [row["type"] for row in await carried.rows("orders", ENDINGS, one.order)]
        assert endings in (["order.paid.v1"], ["order.expired.v1", "refund.requested.v1"]), endings
    assert set(winners) <= {("paid", "paid"), ("expired", "refunded")}
    assert len(raced) < 60 or len(winners) == 2, f"only one side ever won: {winners}"
    sold, returned = winners["paid", "paid"], winners["expired", "refunded"]
    kept, given_back = await provider_has(carried)
    assert (kept - before[0], given_back - before[1]) == (PRICE * PIECES * sold, PRICE * PIECES * returned)
    left = on_hand - PIECES * sold
    assert await carried.stock(variant) == {"on_hand": left, "reserved": 0, "available": left}


ENDINGS = """
SELECT type FROM outbox WHERE correlation_id = $1::uuid::text
    AND type IN ('order.paid.v1', 'order.cancelled.v1', 'order.expired.v1', 'refund.requested.v1')
    AND NOT (type = 'order.paid.v1' AND EXISTS (
        SELECT FROM orders WHERE id = $1 AND status = 'cancelled'))
ORDER BY position
"""
"""How an order ended, in events; that a cancelled one was paid before is no ending."""


async def provider_has(shop: HandCarriedShop) -> tuple[int, int]:
    """What it keeps for the shop and what it gave back, to the paisa."""
    totals = (await shop.ledger())["totals"]
    return totals["captured"] - totals["refunded"], totals["refunded"]
