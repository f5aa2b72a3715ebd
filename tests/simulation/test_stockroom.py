"""One suite for both implementations of the stockroom: what memory promises, PostgreSQL keeps, and the other way."""

import asyncpg
import pytest

from catalog.claims import Status as ReservationStatus
from catalog.levels import Entry, Move
from chassis.ids import new_id
from tests.simulation.desk import Desk
from tests.simulation.goods import VARIANTS


async def test_a_claim_is_opened_once_and_keeps_its_path(desk: Desk) -> None:
    order_id = new_id()
    async with desk.rows.stock() as room:
        assert await room.find_claim(order_id) is None
        claim = await room.open_claim(order_id)
        assert (claim.status, claim.hold, claim.version, claim.held) == (ReservationStatus.RELEASED, 0, 0, {})
        both = {VARIANTS[0]: 1, VARIANTS[1]: 1}
        await room.transition(claim, ReservationStatus.HELD, cause="put", items=both, hold=1)
    async with desk.rows.stock() as room:
        claim = await room.open_claim(order_id)
        assert (claim.status, claim.hold, claim.version) == (ReservationStatus.HELD, 1, 1)
        assert claim.held == {VARIANTS[0]: 1, VARIANTS[1]: 1}
        one = {VARIANTS[0]: 2}
        await room.transition(claim, ReservationStatus.HELD, cause="order.placed", items=one, is_confirmed=True)
    async with desk.rows.stock() as room:
        found = await room.find_claim(order_id)
        assert found is not None
        assert (found.version, found.is_decided, found.held) == (2, True, {VARIANTS[0]: 2})
        await room.transition(found, ReservationStatus.RELEASED, cause="order.expired", is_closed=True)
    history = [line[1:] for line in (await desk.rows.books()).stock.history]
    assert history == [
        (None, "held", "put", 1),
        ("held", "held", "order.placed", 1),
        ("held", "released", "order.expired", 1),
    ]


async def test_stock_moves_with_its_ledger_and_never_below_nothing(desk: Desk) -> None:
    first, second = VARIANTS
    async with desk.rows.stock() as room:
        locked = await room.lock_levels([second, first, new_id()])
        assert list(locked) == [first, second]
        assert (locked[first].on_hand, locked[first].title, locked[first].is_sellable) == (2, "Kurta (1)", True)
        await room.move_levels({first: Move(reserved=2), second: Move(on_hand=4)})
        await room.enter_ledger([Entry(second, Move(4, kind="adjustment", reason="counted"), 5)])
    async with desk.rows.stock() as room:
        await room.commit_held({first: 1}, order_id=new_id())
        locked = await room.lock_levels([first, second])
    counters = [(level.on_hand, level.reserved, level.stock_version) for level in locked.values()]
    assert counters == [(1, 1, 2), (5, 0, 2)]
    assert (await desk.rows.books()).stock.movements == [(second, "adjustment", 4, 5), (first, "committed", -1, 1)]
    for too_much in (Move(reserved=1), Move(on_hand=-1), Move(reserved=-2)):
        with pytest.raises(asyncpg.CheckViolationError):
            async with desk.rows.stock() as room:
                await room.move_levels({first: too_much})


async def test_holds_are_found_by_age(desk: Desk) -> None:
    waiting, confirmed = new_id(), new_id()
    async with desk.rows.stock() as room:
        await room.transition(await room.open_claim(waiting), ReservationStatus.HELD, cause="put", hold=3)
        claim = await room.open_claim(confirmed)
        await room.transition(claim, ReservationStatus.HELD, cause="order.placed", is_confirmed=True)
    await desk.later(100)
    async with desk.rows.stock() as room:
        assert await room.unconfirmed_holds(older_than=99) == [(waiting, 3)]
        assert await room.overdue_holds(older_than=99) == [confirmed]
        assert await room.unconfirmed_holds(older_than=99, skip=1) == []
        assert await room.overdue_holds(older_than=99, skip=1) == []
        assert await room.unconfirmed_holds(older_than=101) == []
        assert await room.overdue_holds(older_than=101) == []
        await room.transition(await room.open_claim(waiting), ReservationStatus.HELD, cause="put", hold=4)
        await room.transition(
            await room.open_claim(confirmed), ReservationStatus.HELD, cause="order.paid", is_confirmed=True
        )
    async with desk.rows.stock() as room:
        assert await room.unconfirmed_holds(older_than=99) == []
        assert await room.overdue_holds(older_than=99) == [confirmed]
