"""Every order in which a payment can be told of, from the provider to the shelf: one end.

The five observations of one payment come in all 120 orders. Each comes a second time, not at once but after all five,
in another order; and what payments tells of them reaches the other services in any order too, some of it twice.
(services/payments/tests/test_observation.py proves the same of payments alone, with each repeated at once.)
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import Any

import pytest

from razorpay_simulator.testing import ReceivedWebhook
from tests.hand_carried import HandCarriedShop
from tests.purchase import PRICE, Purchase
from tests.shopper import Document

pytestmark = pytest.mark.slow

PAID = ("payment.authorized", "payment.captured", "order.paid", "handshake", "poll")
GIVEN_BACK = ("payment.captured", "refund.created", "refund.processed", "handshake", "poll")
"""Somebody gives all of it back in the provider's dashboard before the shop has heard of anything."""

ENDS: dict[tuple[str, ...], Any] = {
    PAID: (
        ("paid", "paid"),
        False,
        {"order.paid.v1": 1, "payment.captured.v1": 1, "stock.committed.v1": 1},
        ("captured", "captured", PRICE, 0),
    ),
    GIVEN_BACK: (
        ("paid", "refunded"),
        True,
        {"order.paid.v1": 1, "payment.captured.v1": 1, "stock.committed.v1": 1, "refund.processed.v1": 1},
        ("refunded", "refunded", PRICE, PRICE),
    ),
}


@pytest.mark.parametrize("observations", ENDS, ids=["paid", "given back"])
async def test_any_order_of_arrival_has_one_end(carried: HandCarriedShop, observations: tuple[str, ...]) -> None:
    dice = random.Random(120)
    orders = list(permutations(observations))
    variant = await carried.new_variant(stock=len(orders), price=PRICE)
    await carried.carry()
    ends: Counter[str] = Counter()
    for first_time in orders:
        purchase = await Purchase.begun(carried, variant)
        proof = await purchase.pay()
        if observations is GIVEN_BACK:
            await purchase.refunded_in_dashboard(proof)
        webhooks = await purchase.webhooks(proof)
        for name in (*first_time, *dice.choice(orders)):
            await observed(purchase, name, proof=proof, webhooks=webhooks)
            if dice.random() < 0.3:
                await carried.carry(purchase.order, dice=dice)
        await carried.carry(purchase.order, dice=dice)
        end = repr(await end_of(purchase))
        assert end == repr(ENDS[observations]), first_time
        ends[end] += 1
    assert ends.total() == 120
    assert await carried.stock(variant) == {"on_hand": 0, "reserved": 0, "available": 0}


async def observed(purchase: Purchase, name: str, *, proof: Document, webhooks: dict[str, ReceivedWebhook]) -> None:
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "handshake": lambda: purchase.brings(proof),
        "poll": purchase.poll,
    }
    await ways.get(name, lambda: purchase.shop.hand_on(webhooks[name]))()


async def end_of(purchase: Purchase) -> tuple[Any, ...]:
    """Where the order stands, whether a person was called, what was told how often, and the money.

    That the provider agrees is among the invariants, which are checked for all of them at the end.
    """
    told: Counter[str] = Counter()
    for service in ("orders", "payments", "catalog"):
        rows = await purchase.shop.rows(service, TOLD, purchase.order)
        told.update(row["type"] for row in rows)
    counted = {
        name: told[name]
        for name in ("order.paid.v1", "payment.captured.v1", "stock.committed.v1", "refund.processed.v1")
        if told[name]
    }
    needs_review = await purchase.needs_review()
    payment = await purchase.shopper.get(f"/payments/{purchase.payment['id']}")
    words = (payment["status"], *(attempt["status"] for attempt in payment["attempts"]))
    money = (*words, payment["captured"]["amount"], payment["refunded"]["amount"])
    return await purchase.stands(), needs_review, counted, money


TOLD = "SELECT type FROM outbox WHERE correlation_id = $1::uuid::text"
