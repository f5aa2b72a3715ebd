"""The events of orders, applied to reservations in every state, in every order, and more than once."""

import asyncio
from itertools import permutations
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

STATES = {
    "nothing": (),
    "held": ("put",),
    "released": ("put", "release"),
    "held confirmed": ("put", "placed"),
    "commit_failed": ("drain", "placed", "refill"),
    "committed": ("put", "placed", "paid"),
    "expired": ("put", "placed", "expire"),
    "released closed": ("put", "placed", "cancelled"),
    "returned closed": ("put", "placed", "paid", "cancelled"),
    "committed closed": ("put", "placed", "paid", "expired"),
}
"""How to get a reservation into each state."""

OUTCOMES = {
    # state: after placed, paid, cancelled, expired
    "nothing": ("held confirmed", "committed", "released closed", "released closed"),
    "held": ("held confirmed", "committed", "released closed", "released closed"),
    "released": ("held confirmed", "committed", "released closed", "released closed"),
    "held confirmed": ("held confirmed", "committed", "released closed", "released closed"),
    "commit_failed": ("commit_failed", "committed", "commit_failed closed", "commit_failed closed"),
    "committed": ("committed", "committed", "returned closed", "committed closed"),
    "expired": ("expired", "committed", "expired closed", "expired closed"),
    "released closed": ("released closed",) * 4,
    "returned closed": ("returned closed",) * 4,
    "committed closed": ("committed closed",) * 4,
}
EVENTS = ("placed", "paid", "cancelled", "expired")


async def step(shop: "Shop", name: str, order: UUID, variant: UUID) -> None:
    """One thing that happens to the reservation of two pieces."""
    match name:
        case "put":
            assert (await shop.reserve(order, {variant: 2})).status_code == 200
        case "release":
            await shop.release(order, hold=1)
        case "drain":
            assert (await shop.adjust(variant, -10)).status_code == 201
        case "refill":
            assert (await shop.adjust(variant, 10)).status_code == 201
        case "expire":
            await shop.harness.execute("UPDATE reservations SET confirmed_at = now() - interval '91 minutes'")
            shop.orders.routes = {("GET", r"/internal/orders/.*"): (200, {"is_closed": True})}
            await shop.harness.run_job("expired-holds")
        case event:
            await shop.order_event(event, order, {variant: 2})


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
async def test_every_event_in_every_state(shop: "Shop", state: str, event: str) -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    for name in STATES[state]:
        await step(shop, name, order, variant)
    assert await shop.status(order) == (None if state == "nothing" else state)

    for _twice in range(2):
        await step(shop, event, order, variant)
        assert await shop.status(order) == OUTCOMES[state][EVENTS.index(event)]
        assert await shop.broken_invariants() == []

    on_hand = {"committed": 8, "committed closed": 8}.get(OUTCOMES[state][EVENTS.index(event)], 10)
    reserved = 2 if OUTCOMES[state][EVENTS.index(event)] == "held confirmed" else 0
    assert await shop.stock(variant) == (on_hand, reserved)


@pytest.mark.parametrize("order_of_arrival", list(permutations(("placed", "paid", "cancelled"))))
async def test_events_in_any_order_end_without_stock_held(shop: "Shop", order_of_arrival: tuple[str, ...]) -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    await shop.reserve(order, {variant: 2})

    for event in order_of_arrival:
        await shop.order_event(event, order, {variant: 2})

    assert await shop.stock(variant) == (10, 0)
    assert str(await shop.status(order)).endswith("closed")
    assert await shop.broken_invariants() == []


async def test_the_same_message_counts_once(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    order, message = new_id(), new_id()
    for _ in range(3):
        await shop.order_event("paid", order, {variant: 2}, event_id=message)
    assert await shop.stock(variant) == (8, 0)


async def test_the_event_and_not_the_put_is_the_truth(shop: "Shop") -> None:
    first, second = await shop.variants(10, 10)
    order = new_id()
    await shop.reserve(order, {first: 3})

    await shop.order_event("placed", order, {second: 1})
    assert (await shop.stock(first), await shop.stock(second)) == ((10, 0), (10, 1))

    await shop.order_event("paid", order, {first: 1, second: 1})
    assert (await shop.stock(first), await shop.stock(second)) == ((9, 0), (9, 0))


@pytest.mark.parametrize("cause", ["placed", "paid"])
async def test_an_order_that_cannot_be_supplied_is_told(shop: "Shop", cause: str) -> None:
    (variant,) = await shop.variants(1)
    unknown, order = new_id(), new_id()

    await shop.order_event(cause, order, {variant: 2, unknown: 1})

    assert await shop.status(order) == "commit_failed"
    assert await shop.told("stock.commit_failed.v1") == [
        {
            "order_id": str(order),
            "cause": cause,
            "shortages": [
                {"variant_id": str(variant), "wanted": 2, "available": 1},
                {"variant_id": str(unknown), "wanted": 1, "available": 0},
            ],
        }
    ]
    assert await shop.stock(variant) == (1, 0)


async def test_an_order_that_exists_is_supplied_though_the_product_was_withdrawn(shop: "Shop") -> None:
    product = await shop.product()
    variant, order = shop.first(product), new_id()
    await shop.write("DELETE", f"/products/{product['id']}")

    await shop.order_event("paid", order, {variant: 1})

    assert await shop.status(order) == "committed"


async def test_each_step_is_told_once_with_a_rising_version(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    for name in ("put", "placed", "paid", "cancelled"):
        await step(shop, name, order, variant)

    told = [envelope for envelope in await shop.harness.events() if envelope.subject == str(order)]
    assert [envelope.type for envelope in told] == ["stock.committed.v1", "stock.returned.v1"]
    assert all(envelope.correlationid == str(order) for envelope in told)
    assert told[0].sequence < told[1].sequence


async def test_availability_is_told_only_when_it_changes(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    for name in ("put", "placed", "paid", "cancelled"):
        await step(shop, name, order, variant)

    told = await shop.told("stock.changed.v1")
    assert [(data["available"], data["stock_version"]) for data in told] == [(10, 1), (8, 2), (10, 3)]


async def test_history_is_a_path_that_ends_at_the_present_state(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    for name in ("put", "placed", "paid", "cancelled"):
        await step(shop, name, order, variant)
    rows = await shop.harness.fetch(
        "SELECT from_status, to_status, cause FROM reservation_history WHERE order_id = $1 ORDER BY number", order
    )
    assert [tuple(row) for row in rows] == [
        (None, "held", "put"),
        ("held", "held", "order.placed"),
        ("held", "committed", "order.paid"),
        ("committed", "returned", "order.cancelled"),
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_puts_releases_events_and_adjustments_keeps_the_books(shop: "Shop", seed: int) -> None:
    dice = Random(seed)
    variants = await shop.variants(*(dice.randint(2, 12) for _ in range(4)))
    orders = [new_id() for _ in range(12)]

    async def buyer() -> None:
        for _ in range(15):
            order = dice.choice(orders)
            items = {key: dice.randint(1, 3) for key in dice.sample(variants, dice.randint(1, 3))}
            match dice.choice(["put", "put", "release", "adjust", *EVENTS]):
                case "put":
                    assert (await shop.reserve(order, items)).status_code in (200, 409)
                case "release":
                    assert (await shop.release(order, hold=dice.randint(1, 4))).status_code == 204
                case "adjust":
                    assert (await shop.adjust(dice.choice(variants), dice.choice([-2, 3]))).status_code in (201, 409)
                case event:
                    await shop.order_event(event, order, items)

    await asyncio.gather(*(buyer() for _ in range(8)))

    assert await shop.broken_invariants() == []
    for order in orders:
        await shop.order_event("cancelled", order)
    assert await shop.broken_invariants() == []
    assert [(await shop.stock(variant))[1] for variant in variants] == [0, 0, 0, 0]
