"""Holds that no order stands behind are found by the clock, and given back only on a definite answer."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

ORDERS = ("GET", r"/internal/orders/.*")


async def old_hold(shop: "Shop") -> tuple[UUID, UUID]:
    """A hold that was last touched three minutes ago: its order and variant."""
    (variant,) = await shop.variants(10)
    order = new_id()
    await shop.reserve(order, {variant: 2})
    await shop.harness.execute("UPDATE reservations SET touched_at = now() - interval '3 minutes'")
    return order, variant


async def test_a_hold_whose_order_was_never_made_is_released(shop: "Shop") -> None:
    order, variant = await old_hold(shop)

    outcome = await shop.harness.run_job("orphan-holds")

    assert (outcome.found, outcome.repaired) == (1, 1)
    assert shop.orders.calls == [("GET", f"/internal/orders/{order}", None)]
    assert await shop.status(order) == "released"
    assert await shop.stock(variant) == (10, 0)
    assert (await shop.reserve(order, {variant: 1})).status_code == 200, "it may be held again"


@pytest.mark.parametrize(
    "answer",
    [(200, {"is_closed": False}), (404, {"code": "route_not_found"}), (503, {"code": "unavailable"}), (403, {})],
)
async def test_without_a_definite_no_the_hold_stays(shop: "Shop", answer: Any) -> None:
    order, _ = await old_hold(shop)
    shop.orders.routes = {ORDERS: answer}

    outcome = await shop.harness.run_job("orphan-holds")

    assert (outcome.repaired, outcome.unresolved) == (0, 1)
    assert await shop.status(order) == "held"


async def test_an_unreachable_orders_releases_nothing(shop: "Shop") -> None:
    order, _ = await old_hold(shop)
    shop.orders.is_down = True
    assert (await shop.harness.run_job("orphan-holds")).unresolved == 1
    assert await shop.status(order) == "held"


async def test_a_hold_taken_over_while_orders_was_asked_stays(shop: "Shop") -> None:
    order, variant = await old_hold(shop)

    async def meanwhile(_request: Any, _body: Any) -> tuple[int, Any]:
        await shop.reserve(order, {variant: 3})
        return 404, {"code": "order_not_found"}

    shop.orders.routes = {ORDERS: meanwhile}
    await shop.harness.run_job("orphan-holds")

    assert await shop.status(order) == "held"
    assert await shop.stock(variant) == (10, 3)


async def test_a_fresh_hold_is_not_questioned(shop: "Shop") -> None:
    (variant,) = await shop.variants(10)
    await shop.reserve(new_id(), {variant: 2})
    assert (await shop.harness.run_job("orphan-holds")).found == 0
    assert shop.orders.calls == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"is_closed": True}), "expired"),
        ((200, {"is_closed": False}), "held confirmed"),
        ((404, {"code": "order_not_found"}), "expired"),
        ((404, {"code": "route_not_found"}), "held confirmed"),
        ((503, {}), "held confirmed"),
    ],
)
async def test_an_overdue_confirmed_hold_expires_only_when_its_order_is_closed_or_lost(
    shop: "Shop", answer: Any, expected: str
) -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    await shop.order_event("placed", order, {variant: 2})
    await shop.harness.execute("UPDATE reservations SET confirmed_at = now() - interval '91 minutes'")
    shop.orders.routes = {ORDERS: answer}

    outcome = await shop.harness.run_job("expired-holds")

    assert await shop.status(order) == expected
    assert outcome.repaired + outcome.unresolved == 1
    assert await shop.broken_invariants() == []


@pytest.mark.parametrize(
    ("job", "event", "age", "ended"),
    [
        ("orphan-holds", None, "touched_at = now() - interval '3 minutes'", "released"),
        ("expired-holds", "placed", "confirmed_at = now() - interval '91 minutes'", "expired"),
    ],
)
async def test_a_hundred_holds_that_stay_keep_no_other_from_its_turn(
    shop: "Shop", job: str, event: str | None, age: str, ended: str
) -> None:
    (variant,) = await shop.variants(10)
    order = new_id()
    if event:
        await shop.order_event(event, order, {variant: 2})
    else:
        await shop.reserve(order, {variant: 2})
    await shop.harness.execute(f"UPDATE reservations SET {age}")
    await shop.harness.execute("""
        INSERT INTO reservations (order_id, status, hold, version, is_closed, touched_at, confirmed_at)
        SELECT gen_random_uuid(), status, hold, version, is_closed, touched_at - older, confirmed_at - older
        FROM reservations, generate_series(1, 100), (VALUES (interval '1 minute')) AS by (older)
    """)

    def answer(request: Any, _body: Any) -> tuple[int, Any]:
        is_gone = request.url.path.endswith(str(order))
        return (404, {"code": "order_not_found"}) if is_gone else (200, {"is_closed": False})

    shop.orders.routes = {ORDERS: answer}
    outcome = await shop.harness.run_job(job)

    assert (outcome.found, outcome.repaired, outcome.unresolved) == (101, 1, 100)
    assert len(shop.orders.calls) == 101, "each is asked about once in a run"
    assert await shop.status(order) == ended
