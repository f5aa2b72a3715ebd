"""One suite for both implementations of the ledger: what memory promises, PostgreSQL keeps, and the other way."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from chassis.ids import new_id
from orders.order_book import OrderBook
from payments.balances import new_refund
from payments.ledger import Due
from payments.models import PaymentStatus as StatusOfPayment
from payments.models import Rank, RefundKind, RefundStatus
from payments.opening import Lease, OrderToPay
from payments.reports import report_intent_closed
from tests.simulation.desk import PRICE, SHOPPER, Desk, Interrupted
from tests.simulation.goods import SHOPPERS


async def test_one_lease_at_a_time_and_none_when_it_is_over(desk: Desk) -> None:
    order_id, payment_id = await desk.payable()
    cheaper = OrderToPay(user_id=SHOPPER, total=1, currency="INR", pay_by=desk.clock.now)
    await desk.in_ledger(lambda ledger: ledger.note_placed(order_id, cheaper))

    async def lease(who: UUID = SHOPPER) -> Any:
        return await desk.in_ledger(lambda ledger: ledger.take_lease(order_id, user_id=who, seconds=30))

    assert await lease(SHOPPERS[1]) is None
    first = await lease()
    assert (first.amount, first.follows_another) == (PRICE, False)
    assert await lease() is None
    await desk.later(31)
    second = await lease()
    assert second.follows_another

    async def adopt(lease: Lease) -> bool:
        async with desk.rows.ledger() as ledger:
            return await ledger.adopt(payment_id, [f"order_{lease.id}"], lease=lease.id)

    assert not await adopt(first)
    assert await adopt(second)
    assert not await adopt(second)
    orders = await desk.in_ledger(lambda ledger: ledger.provider_orders(payment_id))
    assert orders == [f"order_{first.id}", f"order_{second.id}"]
    assert await desk.in_ledger(lambda ledger: ledger.payment_id_at(orders[0])) == payment_id
    assert await lease() is None
    late, _ = await desk.payable()
    await desk.later(16 * 60)
    assert await desk.in_ledger(lambda ledger: ledger.take_lease(late, user_id=SHOPPER, seconds=30)) is None
    assert (await desk.in_ledger(lambda ledger: ledger.standing(late))).is_over


async def test_a_payment_closes_also_before_it_was_heard_of(desk: Desk) -> None:
    order_id = new_id()
    async with desk.rows.ledger() as ledger:
        payment = await ledger.lock_payment_or_tombstone(order_id)
        assert (payment.status, payment.user_id, payment.version) == (StatusOfPayment.NEW, None, 0)
        payment.version += 1
        await ledger.move(payment, StatusOfPayment.CLOSED, cause="order closed")
    pay_by = desk.clock.now + timedelta(minutes=15)
    async with desk.rows.ledger() as ledger:
        await ledger.note_placed(order_id, OrderToPay(user_id=SHOPPER, total=PRICE, currency="INR", pay_by=pay_by))
        again = await ledger.lock_payment_or_tombstone(order_id)
        assert (again.id, again.status, again.version) == (payment.id, StatusOfPayment.CLOSED, 1)
        again.version = 7
        await ledger.keep_version(again)
        assert (await ledger.lock_payment(payment.id)).version == 7


async def test_closing_hands_out_no_lease_and_asks_at_once(desk: Desk) -> None:
    order_id, payment_id = await desk.payable()
    async with desk.rows.ledger() as ledger:
        lease = await ledger.take_lease(order_id, user_id=SHOPPER, seconds=30)
        await ledger.begin_closing(await ledger.lock_payment(payment_id))
    assert lease is not None
    await desk.later(40)
    async with desk.rows.ledger() as ledger:
        assert await ledger.take_lease(order_id, user_id=SHOPPER, seconds=30) is None
        standing = await ledger.standing(order_id)
        assert standing is not None
        assert standing.is_closing
        assert not await ledger.adopt(payment_id, ["order_00000000000009"], lease=None)
        assert (await ledger.lock_payment(payment_id)).status is StatusOfPayment.CLOSING
        due = await ledger.take_due(StatusOfPayment.CLOSING, again_in=timedelta(seconds=15), limit=5)
        assert [each.payment_id for each in due] == [payment_id]
        assert await ledger.take_due(StatusOfPayment.CLOSING, again_in=timedelta(seconds=15), limit=5) == []


async def test_a_creation_is_looked_up_when_its_lease_is_over(desk: Desk) -> None:
    order_id, payment_id = await desk.payable()

    async def take() -> Sequence[Due]:
        async with desk.rows.ledger() as ledger:
            return await ledger.take_due(StatusOfPayment.CREATING, again_in=timedelta(seconds=30), limit=5)

    await desk.in_ledger(lambda ledger: ledger.take_lease(order_id, user_id=SHOPPER, seconds=30))
    assert await take() == []
    async with desk.rows.ledger() as ledger:
        await ledger.end_lease(await ledger.lock_payment(payment_id))
    assert [each.payment_id for each in await take()] == [payment_id]
    assert await take() == []


async def test_what_nobody_ends_is_found_long_after_its_time(desk: Desk) -> None:
    unopened, _ = await desk.payable()
    creating, payment_id = await desk.payable()
    await desk.in_ledger(lambda ledger: ledger.take_lease(creating, user_id=SHOPPER, seconds=30))

    async def overdue(skip: int = 0) -> Any:
        hour = timedelta(hours=1)
        return await desk.in_ledger(lambda ledger: ledger.long_overdue(for_longer_than=hour, limit=5, skip=skip))

    await desk.later(74 * 60)
    assert await overdue() == []
    await desk.later(2 * 60)
    assert await overdue() == [creating]
    assert await overdue(skip=1) == []
    async with desk.rows.ledger() as ledger:
        await ledger.move(await ledger.lock_payment(payment_id), StatusOfPayment.CLOSED, cause="its order is lost")
    assert await overdue() == []
    assert (await desk.in_ledger(lambda ledger: ledger.standing(unopened))).is_over


async def test_money_for_an_order_that_nobody_knows_has_a_closed_payment(desk: Desk) -> None:
    order_id, known = new_id(), (await desk.payable())[0]
    for each in (order_id, order_id, known):
        async with desk.rows.ledger() as ledger:
            await ledger.note_ownerless(each, amount=PRICE, currency="INR")
    async with desk.rows.ledger() as ledger:
        payment = await ledger.lock_payment_or_tombstone(order_id)
        assert (payment.status, payment.user_id, payment.amount) == (StatusOfPayment.CLOSED, None, PRICE)
        payment.user_id, payment.amount, payment.currency, payment.pay_by = new_id(), 2 * PRICE, "EUR", desk.clock.now
        await ledger.keep_order(payment)
        kept = await ledger.lock_payment(payment.id)
        for name in ("user_id", "amount", "currency", "pay_by"):
            assert getattr(kept, name) == getattr(payment, name)
        assert (await ledger.lock_payment_or_tombstone(known)).status is StatusOfPayment.NEW


async def test_attempts_are_kept_and_found(desk: Desk) -> None:
    payment_id = await desk.open_payment()
    created = await desk.attempted(payment_id, "pay_00000000000001", Rank.CREATED)
    async with desk.rows.ledger() as ledger:
        assert await ledger.find_attempt(new_id()) is None
        assert await ledger.lock_attempt(new_id()) is None
        assert await ledger.has_undecided(payment_id, within=60)
        assert not await ledger.has_undecided(payment_id, within=0)
        locked = await ledger.lock_payment_at("order_00000000000001")
        assert locked is not None
        assert (locked[0].id, locked[1]) == (payment_id, desk.clock.now)
        assert await ledger.lock_payment_at("order_00000000000002") is None
        assert await ledger.lock_payment_at(None) is None
    await desk.attempted(payment_id, "pay_00000000000002", Rank.AUTHORIZED)
    await desk.attempted(payment_id, "pay_00000000000003", Rank.CAPTURED, captured=PRICE)
    await desk.attempted(payment_id, "pay_00000000000001", Rank.FAILED)
    async with desk.rows.ledger() as ledger:
        found = await ledger.lock_attempt(created.id)
        assert found is not None
        assert (found[0].id, found[1].rank) == (payment_id, Rank.FAILED)
        assert [each.provider_payment_id for each in await ledger.captured_attempts(payment_id)] == [
            "pay_00000000000003"
        ]
        ours, known = await ledger.known_among(
            provider_order_ids=["order_00000000000001", "order_00000000000002", None],
            provider_payment_ids=["pay_00000000000003", "pay_00000000000009"],
        )
        assert (ours, known) == ({"order_00000000000001"}, {"pay_00000000000003": (Rank.CAPTURED, 0)})
    await desk.later(100)
    async with desk.rows.ledger() as ledger:
        waiting = await ledger.capturable(unchanged_for=timedelta(seconds=99), limit=5)
        assert waiting == ["pay_00000000000002"]
        assert await ledger.capturable(unchanged_for=timedelta(seconds=99), limit=5, skip=1) == []
        assert await ledger.can_be_captured("pay_00000000000002")
        assert not await ledger.can_be_captured("pay_00000000000003")
        assert await ledger.capturable(unchanged_for=timedelta(seconds=200), limit=5) == []


async def test_no_attempt_takes_more_than_its_amount(desk: Desk) -> None:
    payment_id = await desk.open_payment()
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.attempted(payment_id, "pay_00000000000001", Rank.CAPTURED, captured=PRICE + 1)


async def test_refunds_add_up(desk: Desk) -> None:
    payment_id = await desk.open_payment()
    attempt = await desk.attempted(payment_id, "pay_00000000000001", Rank.CAPTURED, captured=PRICE)
    now = await desk.later(1)
    returned, staff = (
        new_refund(attempt, refund_id=new_id(), kind=kind, amount=amount, reason="why")
        for kind, amount in ((RefundKind.RETURN, 300), (RefundKind.STAFF, 200))
    )
    staff.next_try_at = now + timedelta(seconds=50)
    async with desk.rows.ledger() as ledger:
        await ledger.add_refund(returned)
        await ledger.add_refund(staff)
        assert (returned.tries, returned.next_try_at, returned.created_at) == (0, now, now)
        assert await ledger.given_back(attempt.id) == 500
        assert await ledger.returns(attempt.id) == 1
        assert await ledger.due_refunds(limit=5) == [returned.id]
        assert sorted(refund.id for refund in await ledger.unnamed_refunds(attempt.id)) == sorted(
            [returned.id, staff.id]
        )
        await ledger.name_refund(returned, "rfnd_00000000000001")
        named = await ledger.refund_named("rfnd_00000000000001")
        assert named is not None
        assert (named.id, named.kind, named.status) == (returned.id, RefundKind.RETURN, RefundStatus.REQUESTED)
        assert await ledger.refund_named("rfnd_00000000000002") is None
        found = await ledger.refund_among([new_id(), staff.id])
        assert found is not None
        assert found.id == staff.id
        assert await ledger.refund_among([new_id()]) is None
        await ledger.move_refund(returned, RefundStatus.SUBMITTED)
        await ledger.move_refund(returned, RefundStatus.PROCESSED)
        await ledger.move_refund(staff, RefundStatus.FAILED)
        totals = await ledger.totals(payment_id)
        assert (totals.captured, totals.refunded, totals.pending) == (PRICE, 300, 0)
        assert await ledger.given_back(attempt.id) == 300
        assert await ledger.due_refunds(limit=5) == []
    path = [status for _, status in (await desk.rows.books()).ledger.refund_history]
    assert path == ["requested", "requested", "submitted", "processed", "failed"]


async def test_a_refund_keeps_its_turn_and_its_error(desk: Desk) -> None:
    payment_id = await desk.open_payment()
    attempt = await desk.attempted(payment_id, "pay_00000000000001", Rank.CAPTURED, captured=PRICE)
    refund = new_refund(attempt, refund_id=new_id(), kind=RefundKind.RETURN, amount=300, reason="why")
    async with desk.rows.ledger() as ledger:
        await ledger.add_refund(refund)
    now = await desk.later(5)
    async with desk.rows.ledger() as ledger:
        locked, its_attempt, found = await ledger.lock_refund(refund.id)
        assert (locked.id, its_attempt.id, found.id) == (payment_id, attempt.id, refund.id)
        found.tries, found.next_try_at = 1, now + timedelta(seconds=30)
        await ledger.keep_turn(found)
        await ledger.keep_error(found, "no answer")
        assert await ledger.due_refunds(limit=5) == []
    await desk.later(30)
    async with desk.rows.ledger() as ledger:
        assert await ledger.due_refunds(limit=5) == [refund.id]
        _, _, found = await ledger.lock_refund(refund.id)
        assert (found.tries, found.last_error) == (1, "no answer")
    with pytest.raises(asyncpg.UniqueViolationError):
        async with desk.rows.ledger() as ledger:
            await ledger.add_refund(refund)


async def test_what_must_go_back_is_found_until_it_is_on_its_way(desk: Desk) -> None:
    payment_id = await desk.open_payment()
    attempt = await desk.attempted(payment_id, "pay_00000000000001", Rank.CAPTURED, captured=PRICE)
    async with desk.rows.ledger() as ledger:
        assert await ledger.with_rest_to_return(at_least=100, limit=5) == []
        await ledger.mark_to_return(attempt, reason="late_capture")
        assert await ledger.with_rest_to_return(at_least=100, limit=5) == [attempt.id]
        assert await ledger.with_unseen_refunds(limit=5) == []
        attempt.refunds_seen = 400
        await ledger.keep(attempt, source="webhook", rank=Rank.CAPTURED, applied=False, raw={})
        assert await ledger.with_unseen_refunds(limit=5) == [attempt.id]
        assert await ledger.with_unseen_refunds(limit=5, skip=1) == []
        await ledger.refunds_looked_at(attempt.id, up_to=400)
        await ledger.refunds_looked_at(attempt.id, up_to=100)
        assert await ledger.with_unseen_refunds(limit=5) == []
        whole = new_refund(attempt, refund_id=new_id(), kind=RefundKind.RETURN, amount=PRICE, reason="why")
        await ledger.add_refund(whole)
        assert await ledger.with_rest_to_return(at_least=100, limit=5) == []
        await ledger.move_refund(whole, RefundStatus.FAILED)
        assert await ledger.with_rest_to_return(at_least=100, limit=5) == [attempt.id]
        assert await ledger.rests_below(100) == 0
        almost = new_refund(attempt, refund_id=new_id(), kind=RefundKind.RETURN, amount=PRICE - 1, reason="why")
        await ledger.add_refund(almost)
        assert await ledger.with_rest_to_return(at_least=100, limit=5) == []
        assert (await ledger.rests_below(100), await ledger.rests_below(1)) == (1, 0)
        assert await ledger.clock() == desk.clock.now


async def test_an_event_is_received_once(desk: Desk) -> None:
    payment_id = await desk.open_payment()
    await desk.rows.published("payments")
    async with desk.rows.ledger() as ledger:
        payment = await ledger.lock_payment(payment_id)
        await report_intent_closed(ledger, payment)
    (letter,) = await desk.rows.published("payments")
    assert (letter.type, letter.sequence, letter.data["payment_version"]) == ("payment.intent_closed.v1", 2, 2)
    assert await desk.rows.published("payments") == []

    async def interrupted(book: OrderBook) -> None:
        assert await desk.rows.receive(book, "orders", letter)
        raise Interrupted

    with pytest.raises(Interrupted):
        await desk.in_orders(interrupted)
    for is_new in (True, False):
        async with desk.rows.orders(desk.pause) as book:
            assert await desk.rows.receive(book, "orders", letter) is is_new
