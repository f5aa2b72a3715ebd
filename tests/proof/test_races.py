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
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import pytest

from tests.hand_carried import HandCarriedShop, together
from tests.purchase import PRICE, Purchase

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("ROUNDS") or "60")
BATCH = 12
"""Rounds at the same time."""

PIECES = 2

ON_HAND = PIECES * ROUNDS

Side = Callable[[], Awaitable[object]]
Way = Callable[[list[Purchase], random.Random], Awaitable[None]]
"""How the two sides of each purchase of a batch meet."""


async def at_the_same_moment(slower: Side, *others: Side, dice: random.Random, within: float) -> None:
    """The slower side, as measured, starts at once; the others within so many seconds, so that either may win."""

    async def after_a_breath(side: Side) -> None:
        await asyncio.sleep(dice.uniform(0, within))
        await side()

    await together((slower(), *(after_a_breath(side) for side in others)))


@dataclass
class Raced:
    """Races that are over, all of them for pieces of one variant."""

    shop: HandCarriedShop
    variant: str
    provider_had: tuple[int, int]
    purchases: list[Purchase] = field(default_factory=list)

    async def earned(self) -> tuple[int, int]:
        """What the provider now keeps for the shop and what it gave back, to the paisa."""
        kept, given_back = await provider_has(self.shop)
        return kept - self.provider_had[0], given_back - self.provider_had[1]


async def race(shop: HandCarriedShop, ways: Sequence[Way], *, seed: int) -> Raced:
    """ROUNDS races in batches, each batch in the next of the ways, until everything has come to rest."""
    dice = random.Random(seed)
    variant = await shop.new_variant(stock=ON_HAND, price=PRICE)
    await shop.carry()
    raced = Raced(shop, variant, await provider_has(shop))
    for way, begun in zip(cycle(ways), range(0, ROUNDS, BATCH)):
        count = min(BATCH, ROUNDS - begun)
        these = await asyncio.gather(*(Purchase.begun(shop, variant, pieces=PIECES) for _ in range(count)))
        await way(these, dice)
        await shop.settle(dice=dice)
        raced.purchases += these
    return raced


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
    raced = await race(carried, CANCEL, seed=20_261)

    winners: Counter[str] = Counter()
    for one in raced.purchases:
        moves = await carried.moves(one.order)
        winners[" ".join(moves)] += 1
        events = await carried.rows("orders", ENDINGS, one.order)
        assert [row["type"] for row in events] == ["order.cancelled.v1", "refund.requested.v1"], moves
        assert (await one.stands())[1] == "refunded"
    assert set(winners) <= {"T1 T3 T8", "T1 T4 T6", "T1 T4 T7 T11"}, winners
    assert ROUNDS < 60 or {"T1 T3 T8", "T1 T4 T6"} <= set(winners), f"only one side ever won: {winners}"
    assert await raced.earned() == (0, PRICE * PIECES * ROUNDS)
    assert await carried.stock(raced.variant) == {"on_hand": ON_HAND, "reserved": 0, "available": ON_HAND}


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
    raced = await race(carried, EXPIRY, seed=20_262)

    winners: Counter[tuple[str, str]] = Counter()
    for one in raced.purchases:
        winners[await one.stands()] += 1
        endings = [row["type"] for row in await carried.rows("orders", ENDINGS, one.order)]
        assert endings in (["order.paid.v1"], ["order.expired.v1", "refund.requested.v1"]), endings
    assert set(winners) <= {("paid", "paid"), ("expired", "refunded")}
    assert ROUNDS < 60 or len(winners) == 2, f"only one side ever won: {winners}"
    sold, returned = winners["paid", "paid"], winners["expired", "refunded"]
    assert await raced.earned() == (PRICE * PIECES * sold, PRICE * PIECES * returned)
    left = ON_HAND - PIECES * sold
    assert await carried.stock(raced.variant) == {"on_hand": left, "reserved": 0, "available": left}


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
