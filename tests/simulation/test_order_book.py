"""One suite for both implementations of the order book: what memory promises, PostgreSQL keeps, and the other way."""

from typing import Any

import asyncpg
import pytest

from chassis.ids import new_id
from orders.models import CloseReason, PaymentStatus
from orders.models import Status as OrderStatus
from orders.order_book import OrderBook, hold_for_review
from orders.order_states import Provided, State
from tests.simulation.desk import CART, PRICE, SHOPPER, Desk, Interrupted, a_line, an_order
from tests.simulation.goods import SHOPPERS, VARIANTS


async def test_an_order_is_found_as_it_was_written(desk: Desk) -> None:
    order = await desk.ordered()
    found = await desk.found(order)
    facts = ("id", "number", "status", "version", "total", "placed_at", "deadline", "needs_review", "returned_attempts")
    assert [getattr(found, name) for name in facts] == [getattr(order, name) for name in facts[:-2]] + [False, []]
    assert [(item.variant_id, item.quantity, item.line_total) for item in found.items] == [(VARIANTS[0], 1, PRICE)]
    assert await desk.rows.read(new_id()) is None


async def test_a_move_is_guarded_by_status_and_version(desk: Desk) -> None:
    order = await desk.ordered()
    closing = {"status": OrderStatus.CLOSING, "close_reason": CloseReason.CANCELLED}
    seen = await desk.found(order)
    assert await desk.moved(seen, State.AWAITING_PAYMENT, **closing) is not None
    assert await desk.moved(seen, State.AWAITING_PAYMENT, **closing) is None
    books = await desk.rows.books()
    assert [line["version"] for line in books.orders.moves] == [1, 2]
    assert (await desk.found(order)).status is OrderStatus.CLOSING


async def test_a_move_is_stamped_and_shows_newer_payments_only(desk: Desk) -> None:
    order = await desk.ordered()
    now = await desk.later(60)

    async def take(version: int) -> Any:
        seen = await desk.found(order)
        async with desk.rows.orders(desk.pause) as book:
            return await book.take(
                seen,
                changes={"version": seen.version + 1},
                stamp="paid_at",
                provided=Provided.NOTHING,
                payment=(PaymentStatus.PAID if version == 5 else PaymentStatus.REFUNDED, version),
                line=a_line(order, State.AWAITING_PAYMENT, version=seen.version + 1),
            )

    first, second = await take(5), await take(4)
    assert (first["paid_at"], first["payment_status"], first["payment_version"]) == (now, PaymentStatus.PAID, 5)
    assert (second["payment_status"], second["payment_version"]) == (PaymentStatus.PAID, 5)


async def test_what_is_not_ready_is_not_sent(desk: Desk) -> None:
    order = await desk.ordered()

    async def send() -> bool:
        seen = await desk.found(order)
        async with desk.rows.orders(desk.pause) as book:
            taken = await book.take(
                seen,
                changes={"version": seen.version + 1},
                stamp=None,
                provided=Provided.READY_TO_SEND,
                payment=None,
                line=a_line(order, State.AWAITING_PAYMENT, version=seen.version + 1),
            )
        return taken is not None

    assert not await send()
    async with desk.rows.orders(desk.pause) as book:
        assert await book.remember(order.id, "stock_committed_at")
        assert not await book.remember(order.id, "stock_committed_at")
    assert await send()
    async with desk.rows.orders(desk.pause) as book:
        shown = await book.show_payment(order.id, status=PaymentStatus.REFUNDED, version=3)
        assert shown == (PaymentStatus.REFUNDED, OrderStatus.AWAITING_PAYMENT)
        assert await book.show_payment(order.id, status=PaymentStatus.PAID, version=3) is None
    assert not await send()


async def test_constraints_hold_in_memory_too(desk: Desk) -> None:
    order = await desk.ordered()
    for wrong in (
        {"status": OrderStatus.CLOSING},
        {"status": OrderStatus.PAID},
        {"closing_since": desk.clock.now},
        {"total": 1},
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await desk.moved(await desk.found(order), State.AWAITING_PAYMENT, **wrong)
    attempt = new_id()
    paid = {"status": OrderStatus.PAID, "paying_attempt_id": attempt}
    assert await desk.moved(await desk.found(order), State.AWAITING_PAYMENT, **paid)
    other = await desk.ordered(version=2, seen=1)
    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.moved(await desk.found(other), State.AWAITING_PAYMENT, **paid)
    async with desk.rows.orders(desk.pause) as book:
        for asked, is_unspent in ((other, False), (order, True)):
            found, told = await book.find_unspent(asked.id, attempt_id=attempt)
            assert found is not None
            assert (found.id, told) == (asked.id, is_unspent)
        assert await book.find_unspent(new_id(), attempt_id=attempt) == (None, False)
        assert await book.find_unspent(new_id(), attempt_id=new_id()) == (None, True)


async def test_a_cart_version_is_ordered_once(desk: Desk) -> None:
    order = await desk.ordered()
    again = an_order(desk.clock.now, version=1, total=PRICE)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with desk.rows.orders(desk.pause) as book:
            await book.write(again, line=a_line(again, State.NEW), seen=1, acknowledged=())
    with pytest.raises(asyncpg.UniqueViolationError):
        async with desk.rows.orders(desk.pause) as book:
            await book.write(order, line=a_line(order, State.NEW), seen=1, acknowledged=())
    async with desk.rows.orders(desk.pause) as book:
        later = an_order(desk.clock.now, version=2, total=PRICE)
        assert not await book.write(later, line=a_line(later, State.NEW), seen=0, acknowledged=())
        assert await book.ordered_since(0, user_id=SHOPPER, cart_id=CART, but=later.id) == order.id
        assert await book.ordered_since(0, user_id=SHOPPER, cart_id=CART, but=order.id) is None
        assert await book.open_order_of_version(CART, 1) == order.id
        assert await book.open_order_of_version(CART, 2) is None
        assert await book.is_open(order.id)
        assert not await book.is_open(later.id)


async def test_a_checkout_knows_its_callers_orders(desk: Desk) -> None:
    nothing = await desk.rows.known(SHOPPER, new_id())
    assert (nothing.now, nothing.is_placed, nothing.newest, nothing.untold) == (desk.clock.now, False, None, [])
    first = await desk.ordered()
    known = await desk.rows.known(SHOPPER, first.id)
    assert known.is_placed
    assert known.newest is not None
    assert known.newest.is_open_order_of(CART, 1)
    assert [(order.order_id, order.is_closed, order.was_paid) for order in known.untold] == [(first.id, False, False)]
    second = an_order(desk.clock.now, version=2, total=0)
    async with desk.rows.orders(desk.pause) as book:
        assert await book.write(second, line=a_line(second, State.NEW), seen=known.seen, acknowledged=[first.id])
    known = await desk.rows.known(SHOPPER, first.id)
    assert [(order.order_id, order.was_paid) for order in known.untold] == [(second.id, True)]
    assert (await desk.rows.known(SHOPPERS[1], first.id)).newest is None


async def test_deadlines_are_found_the_longest_overdue_first(desk: Desk) -> None:
    first, second = await desk.ordered(), await desk.ordered(version=2, seen=1)
    async with desk.rows.orders(desk.pause) as book:
        assert await book.past_deadline(limit=5) == []
    await desk.later(31 * 60)
    async with desk.rows.orders(desk.pause) as book:
        assert await book.past_deadline(limit=5) == [first.id, second.id]
        assert await book.past_deadline(limit=1) == [first.id]
        assert await book.past_deadline(limit=5, skip=1) == [second.id]
    for order in (second, first):
        closing = {"status": OrderStatus.CLOSING, "close_reason": CloseReason.EXPIRED}
        now = await desk.later(1)
        await desk.moved(await desk.found(order), State.AWAITING_PAYMENT, **closing, closing_since=now)
    await desk.later(100)
    async with desk.rows.orders(desk.pause) as book:
        assert await book.past_deadline(limit=5) == []
        assert await book.closing_for(99, limit=5) == [second.id, first.id]
        assert await book.closing_for(99, limit=5, skip=1) == [first.id]
        assert await book.closing_for(101.5, limit=5) == []


async def test_what_is_interrupted_has_not_happened(desk: Desk) -> None:
    order = await desk.ordered()

    async def interrupted(book: OrderBook) -> None:
        await hold_for_review(book, order, why="interrupted")
        await book.remember(order.id, "stock_given_back_at")
        raise Interrupted

    with pytest.raises(Interrupted):
        await desk.in_orders(interrupted)
    found = await desk.found(order)
    assert (found.needs_review, found.stock_given_back_at) == (False, None)
    assert await desk.rows.published("orders") == []
    async with desk.rows.orders(desk.pause) as book:
        await hold_for_review(book, order, why="interrupted")
    assert (await desk.found(order)).needs_review


async def test_a_review_is_ended_by_one_and_begins_again(desk: Desk) -> None:
    order = await desk.ordered()

    async def mark(book: OrderBook) -> None:
        await hold_for_review(book, order, why="does not fit")

    await desk.in_orders(mark)
    seen = await desk.found(order)
    ended = await desk.moved(seen, State.AWAITING_PAYMENT, needs_review=False)
    assert ended["needs_review"] is False
    assert await desk.moved(seen, State.AWAITING_PAYMENT, needs_review=False) is None
    assert not (await desk.found(order)).needs_review
    await desk.in_orders(mark)
    assert (await desk.found(order)).needs_review
