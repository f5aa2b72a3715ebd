"""Rows of either kind for the suites of the ports, and short words for what the tests do with them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.ids import new_id
from orders.models import ActorKind, Order, OrderItem, PaymentStatus
from orders.models import Status as OrderStatus
from orders.order_book import OrderBook, history_line
from orders.order_states import Actor, Provided, State, Step, Trigger, move_for
from payments.ledger import Ledger
from payments.models import Attempt, Rank
from payments.opening import OrderToPay
from tests.simulation.clock import Clock
from tests.simulation.goods import SHOPPERS, VARIANTS
from tests.simulation.rows import Rows

SHOPPER, CART = SHOPPERS[0], UUID(int=0xE1)
PRICE = 49_900


class Interrupted(Exception):
    """Ends a transaction early."""


class Desk:
    """Rows with a clock, and short words for what the tests do with them."""

    def __init__(self, rows: Rows, clock: Clock) -> None:
        self.rows, self.clock = rows, clock

    async def pause(self) -> None:
        """Nobody else is here."""

    async def later(self, seconds: float) -> datetime:
        """Time passes."""
        self.clock.advance(seconds)
        await self.rows.show_time(self.clock)
        return self.clock.now

    async def ordered(self, *, version: int = 1, seen: int = 0, total: int = PRICE) -> Order:
        """An order, written. Raises AssertionError when it is not."""
        await self.later(1)
        order = an_order(self.clock.now, version=version, total=total)
        async with self.rows.orders(self.pause) as book:
            assert await book.write(order, line=a_line(order, State.NEW), seen=seen, acknowledged=())
        return order

    async def found(self, order: Order) -> Order:
        """The order as it is now."""
        found = await self.rows.read(order.id)
        assert found is not None
        return found

    async def moved(self, order: Order, state: State, **changes: Any) -> Any:
        """What taking a step gives."""
        async with self.rows.orders(self.pause) as book:
            return await book.take(
                order,
                changes={"version": order.version + 1, **changes},
                stamp=None,
                provided=Provided.NOTHING,
                payment=None,
                line=a_line(order, state, version=order.version + 1),
            )

    async def in_orders(self, act: Callable[[OrderBook], Awaitable[Any]]) -> Any:
        """What one transaction of orders gives."""
        async with self.rows.orders(self.pause) as book:
            return await act(book)

    async def in_ledger(self, act: Callable[[Ledger], Awaitable[Any]]) -> Any:
        """What one transaction of payments gives."""
        async with self.rows.ledger() as ledger:
            return await act(ledger)

    async def payable(self) -> tuple[UUID, UUID]:
        """Order and payment, placed."""
        order_id = new_id()
        pay_by = self.clock.now + timedelta(minutes=15)
        async with self.rows.ledger() as ledger:
            await ledger.note_placed(order_id, OrderToPay(user_id=SHOPPER, total=PRICE, currency="INR", pay_by=pay_by))
            standing = await ledger.standing(order_id)
        assert standing is not None
        return order_id, standing.payment_id

    async def open_payment(self, provider_order: str = "order_00000000000001") -> UUID:
        """A payment that is open."""
        order_id, payment_id = await self.payable()
        async with self.rows.ledger() as ledger:
            lease = await ledger.take_lease(order_id, user_id=SHOPPER, seconds=30)
            assert lease is not None
            assert await ledger.adopt(payment_id, [provider_order], lease=lease.id)
        return payment_id

    async def attempted(self, payment_id: UUID, name: str, rank: Rank, *, captured: int = 0) -> Attempt:
        """An attempt, observed."""
        now = await self.later(1)
        attempt = Attempt(
            id=Attempt.id_for(name),
            payment_id=payment_id,
            provider_order_id="order_00000000000001",
            provider_payment_id=name,
            rank=rank,
            method="upi",
            amount=PRICE,
            currency="INR",
            captured=captured,
            captured_at=now if captured else None,
            refunds_seen=0,
            changed_at=now,
        )
        async with self.rows.ledger() as ledger:
            await ledger.keep(attempt, source="poll", rank=rank, applied=True, raw={})
        return attempt


def an_order(now: datetime, *, version: int, total: int) -> Order:
    item = OrderItem(
        id=new_id(), position=0, variant_id=VARIANTS[0], product_id=new_id(), sku="S", name="N", quantity=1,
        price_at_purchase=total,
    )  # fmt: skip
    return Order(
        id=new_id(), number=f"HT-{new_id().hex[-8:]}", user_id=SHOPPER, cart_id=CART, cart_version=version,
        fingerprint=b"wish", status=OrderStatus.AWAITING_PAYMENT, version=1, currency="INR", subtotal=total, discount=0,
        shipping=0, tax=0, total=total, payment_status=PaymentStatus.UNPAID, shipping_address={}, placed_at=now,
        pay_by=now + timedelta(minutes=15), deadline=now + timedelta(minutes=30), items=[item],
    )  # fmt: skip


def a_line(order: Order, state: State, *, version: int = 1) -> dict[str, Any]:
    trigger = Trigger.PLACED if state is State.NEW else Trigger.CANCEL_ASKED
    move = move_for(state, trigger)
    assert move is not None
    step = Step(move=move, actor=Actor(ActorKind.CUSTOMER, SHOPPER))
    return history_line(order.id, step, version=version, before=None if state is State.NEW else order.status)
