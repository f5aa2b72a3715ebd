"""Collecting the money of an order.

1. `on_order_placed` notes what is to be paid (P1).
2. The shopper asks to pay: `open_payment`. It makes sure that the payment exists and may still be paid
   (`_payable`), takes a lease on creating the order at the provider (`_take_lease`), and waits a moment for
   `_create_at_provider`, which goes on when the shopper's patience ends (P2). Whoever asks again meanwhile waits
   for the same creation.
3. An answer that was lost is looked up by our receipt, never asked for blindly again: `look_up`, also a job.
4. `on_order_closing` stops it: no new checkout from then on (P3, P4, P7). `close_if_nothing_came` gives the last
   word once the provider was asked. `on_order_closed` ends it without asking (P3, P6).

What the shopper then really paid is told in `observation.py`.
"""

import asyncio
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.clients import InternalClient
from chassis.database import Database, db_now
from chassis.events import Reader
from chassis.ids import new_id
from chassis.outbox import record
from chassis.telemetry import get_logger
from payments.attempts import locked_payment, report_capture
from payments.errors import OrderNotPayable, OrderUnknown, ProviderDown
from payments.events import PaymentIntentClosed
from payments.models import (
    Attempt,
    Payment,
    PaymentStatus,
    PaymentTransition,
    ProviderOrder,
    Rank,
    move,
)
from payments.provider import OutcomeUnknown, Provider, ProviderRefused, ProviderUnreachable
from payments.settings import PaymentsSettings


class OrderPlaced(Reader):
    """What payments needs of `order.placed`."""

    order_id: UUID
    user_id: UUID
    currency: str
    total: int
    pay_by: datetime


class OrderClosing(Reader):
    """What payments needs of `order.closing`, `order.cancelled` and `order.expired`."""

    order_id: UUID


async def on_order_placed(session: AsyncSession, order: OrderPlaced) -> None:
    """P1: there is something to pay. A tombstone of an order that closed first stays closed."""
    if order.total > 0:
        await _note(
            session,
            order_id=order.order_id,
            user_id=order.user_id,
            amount=order.total,
            currency=order.currency,
            pay_by=order.pay_by,
        )


async def _note(
    session: AsyncSession, *, order_id: UUID, user_id: UUID, amount: int, currency: str, pay_by: datetime
) -> None:
    payment_id = new_id()
    made = await session.execute(
        insert(Payment)
        .values(
            id=payment_id,
            order_id=order_id,
            user_id=user_id,
            status=PaymentStatus.NEW,
            amount=amount,
            currency=currency,
            receipt=Payment.receipt_for(payment_id),
            pay_by=pay_by,
            version=1,
        )
        .on_conflict_do_nothing(index_elements=["order_id"])
        .returning(Payment.id)
    )
    if made.first() is not None:
        session.add(PaymentTransition(payment_id=payment_id, status=PaymentStatus.NEW, cause="order placed"))
        await session.flush()


class Collection:
    """Opening payments: the one process here that talks to other services and the provider."""

    def __init__(
        self, database: Database, *, provider: Provider, orders: InternalClient, settings: PaymentsSettings
    ) -> None:
        self._database = database
        self._provider = provider
        self._orders = orders
        self._settings = settings
        self._creating: set[asyncio.Task[bool]] = set()

    async def open_payment(self, order_id: UUID, *, user_id: UUID) -> bool:
        """Make an order payable at the provider; whether this call made it.

        Returns also when the provider takes too long: the payment is `preparing` then. Raises OrderUnknown,
        OrderNotPayable, ProviderDown.
        """
        payment = await self._payable(order_id, user_id=user_id)
        if payment.status in (PaymentStatus.OPEN, PaymentStatus.SETTLED):
            return False
        lease = await self._take_lease(payment)
        if lease is None:
            await self._wait_for_the_other(payment.id)
            return False
        was_under_way = payment.status is PaymentStatus.CREATING
        task = asyncio.create_task(self._create_at_provider(payment, lease, look_first=was_under_way))
        self._creating.add(task)
        task.add_done_callback(self._creating.discard)
        done, _ = await asyncio.wait({task}, timeout=self._settings.create_wait)
        return True if not done else task.result()

    async def _payable(self, order_id: UUID, *, user_id: UUID) -> Payment:
        payment = await self._find(order_id)
        if payment is None:
            await self._ask_orders(order_id, user_id=user_id)
            payment = await self._find(order_id)
        if payment is None or payment.user_id != user_id:
            raise OrderUnknown("Pay one of your own orders.")
        if payment.status in (PaymentStatus.CLOSING, PaymentStatus.CLOSED) or payment.closing_at is not None:
            raise OrderNotPayable("The order is closed or closing; place a new one.")
        if payment.status is not PaymentStatus.SETTLED and await self._is_over(payment):
            raise OrderNotPayable("The time to pay this order is over; place a new one.")
        return payment

    async def _find(self, order_id: UUID) -> Payment | None:
        async with self._database.transaction() as session:
            return await session.scalar(select(Payment).where(Payment.order_id == order_id))

    async def _is_over(self, payment: Payment) -> bool:
        async with self._database.transaction() as session:
            return bool(await session.scalar(select(db_now() > payment.pay_by)))

    async def _ask_orders(self, order_id: UUID, *, user_id: UUID) -> None:
        """The shopper was faster than the event."""
        reply = await self._orders.call("GET", f"/internal/orders/{order_id}")
        if reply.status == 404 or not reply.is_ok or reply.data["user_id"] != str(user_id):
            raise OrderUnknown("Pay one of your own orders.")
        order = reply.data
        if order["status"] != "awaiting_payment" or order["total"] == 0:
            raise OrderNotPayable("The order does not wait for a payment.")
        async with self._database.transaction() as session:
            await _note(
                session,
                order_id=order_id,
                user_id=user_id,
                amount=order["total"],
                currency=order["currency"],
                pay_by=datetime.fromisoformat(order["pay_by"]),
            )

    async def _take_lease(self, payment: Payment) -> UUID | None:
        """The right to create the order at the provider, for a while; None while somebody else has it."""
        lease = new_id()
        async with self._database.transaction() as session:
            over = (Payment.status == PaymentStatus.CREATING) & (Payment.lease_until < db_now())
            taken = await session.execute(
                update(Payment)
                .where(Payment.id == payment.id, Payment.closing_at.is_(None), Payment.pay_by > db_now())
                .where(or_(Payment.status == PaymentStatus.NEW, over))
                .values(
                    status=PaymentStatus.CREATING,
                    lease=lease,
                    lease_until=db_now() + _seconds(self._settings.create_lease),
                    next_ask_at=db_now() + _seconds(self._settings.create_lease),
                )
                .returning(Payment.id)
            )
            if taken.first() is None:
                return None
            cause = "shopper wants to pay"
            session.add(PaymentTransition(payment_id=payment.id, status=PaymentStatus.CREATING, cause=cause))
        return lease

    async def _wait_for_the_other(self, payment_id: UUID) -> None:
        deadline = asyncio.get_running_loop().time() + self._settings.create_wait
        while asyncio.get_running_loop().time() < deadline:
            async with self._database.transaction() as session:
                status = await session.scalar(select(Payment.status).where(Payment.id == payment_id))
            if status != PaymentStatus.CREATING:
                return
            await asyncio.sleep(0.1)

    async def _create_at_provider(self, payment: Payment, lease: UUID, *, look_first: bool) -> bool:
        """Whether the provider order is ready. Raises ProviderDown when nothing can have been made."""
        try:
            if look_first and await self.look_up(payment.id, payment.receipt):
                return True
            provider_order_id = await self._provider.create_order(
                receipt=payment.receipt,
                amount=payment.amount,
                currency=payment.currency,
                notes={"order_id": str(payment.order_id)},
            )
        except OutcomeUnknown as error:
            # It may exist: the lease stays, and the look-up by receipt finds out.
            get_logger().warning("provider order in doubt", payment_id=str(payment.id), error=str(error))
            raise ProviderDown("Repeat in a moment; nothing is paid twice.", retry_after=5) from error
        except (ProviderUnreachable, ProviderRefused) as error:
            get_logger().error("provider order not made", payment_id=str(payment.id), error=str(error))
            await self._give_lease_back(payment.id, lease, look_first=look_first)
            raise ProviderDown("Repeat in a moment; nothing is lost.", retry_after=5) from error
        async with self._database.transaction() as session:
            await adopt(session, payment.id, [provider_order_id], lease=lease)
        return True

    async def _give_lease_back(self, payment_id: UUID, lease: UUID, *, look_first: bool) -> None:
        """Nothing was made, so the next request need not wait; unless an earlier creation is still in doubt."""
        async with self._database.transaction() as session:
            payment = await locked_payment(session, payment_id)
            if payment.status is PaymentStatus.CREATING and payment.lease == lease:
                payment.lease_until = db_now()
                if not look_first and payment.closing_at is None:
                    await move(session, payment, PaymentStatus.NEW, cause="provider did not take the order")

    async def look_up(self, payment_id: UUID, receipt: str) -> bool:
        """Find out by our receipt whether a creation in doubt happened; whether it did. Raises ProviderError."""
        found = await self._provider.orders_of(receipt)
        async with self._database.transaction() as session:
            if found:
                await adopt(session, payment_id, found, lease=None)
            else:
                await _nothing_was_made(session, payment_id)
        return bool(found)

    async def close(self) -> None:
        """Let creations under way end."""
        if self._creating:
            await asyncio.wait(self._creating, timeout=5)


def _seconds(seconds: float) -> object:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


async def adopt(session: AsyncSession, payment_id: UUID, provider_order_ids: list[str], *, lease: UUID | None) -> None:
    """Link provider orders to their payment: the first answer opens it, a late one is watched like the first."""
    payment = await locked_payment(session, payment_id)
    for provider_order_id in provider_order_ids:
        values = {"provider_order_id": provider_order_id, "payment_id": payment_id}
        await session.execute(insert(ProviderOrder).values(values).on_conflict_do_nothing())
    if payment.status is not PaymentStatus.CREATING or (lease is not None and payment.lease != lease):
        return
    payment.next_ask_at = await session.scalar(select(db_now() + _seconds(180)))  # type: ignore[assignment]  # a time
    if payment.closing_at is None:
        await move(session, payment, PaymentStatus.OPEN, cause="provider order made")
    else:
        payment.next_ask_at = payment.closing_at
        await move(session, payment, PaymentStatus.CLOSING, cause="provider order made while closing")


async def _nothing_was_made(session: AsyncSession, payment_id: UUID) -> None:
    payment = await locked_payment(session, payment_id)
    is_over = await session.scalar(select(payment.lease_until < db_now()))
    if payment.status is PaymentStatus.CREATING and payment.closing_at is not None and is_over:
        await _close(session, payment, cause="closing, and nothing at the provider")


async def on_order_closing(session: AsyncSession, order: OrderClosing) -> None:
    """P3, P4, P7: no checkout from now on; the provider's last word is asked for by a job at once."""
    payment = await _locked_by_order(session, order.order_id)
    if payment is None:
        await _tombstone(session, order.order_id)
    elif payment.status is PaymentStatus.NEW:
        await _close(session, payment, cause="order closing")
    elif payment.status is PaymentStatus.SETTLED:
        for attempt in await _captured(session, payment):
            await report_capture(session, payment, attempt)
    elif payment.status in (PaymentStatus.CREATING, PaymentStatus.OPEN) and payment.closing_at is None:
        payment.closing_at = await session.scalar(select(db_now()))
        payment.next_ask_at = payment.closing_at  # type: ignore[assignment]  # a time, read just now
        if payment.status is PaymentStatus.OPEN:
            await move(session, payment, PaymentStatus.CLOSING, cause="order closing")
        await session.flush()


async def on_order_closed(session: AsyncSession, order: OrderClosing) -> None:
    """P3, P6: `order.cancelled` and `order.expired`. Provider orders stay watched."""
    payment = await _locked_by_order(session, order.order_id)
    if payment is None:
        await _tombstone(session, order.order_id)
    elif payment.status is PaymentStatus.NEW:
        await _close(session, payment, cause="order closed")
    elif payment.status in (PaymentStatus.CREATING, PaymentStatus.OPEN, PaymentStatus.CLOSING):
        await move(session, payment, PaymentStatus.CLOSED, cause="order closed")


async def close_if_nothing_came(session: AsyncSession, payment_id: UUID, *, patience: float) -> bool:
    """P4, after the provider was asked: close unless an attempt may still succeed; whether it closed."""
    payment = await locked_payment(session, payment_id)
    if payment.status is not PaymentStatus.CLOSING:
        return False
    undecided = select(Attempt.id).where(
        Attempt.payment_id == payment_id,
        Attempt.rank.in_((Rank.CREATED, Rank.AUTHORIZED)),
        Attempt.first_seen_at > db_now() - _seconds(patience),
    )
    if (await session.scalars(undecided.limit(1))).first() is not None:
        return False
    await _close(session, payment, cause="nothing at the provider")
    return True


async def _locked_by_order(session: AsyncSession, order_id: UUID) -> Payment | None:
    return await session.scalar(select(Payment).where(Payment.order_id == order_id).with_for_update())


async def _captured(session: AsyncSession, payment: Payment) -> list[Attempt]:
    captured = select(Attempt).where(Attempt.payment_id == payment.id, Attempt.captured > 0)
    return list(await session.scalars(captured.order_by(Attempt.captured_at)))


async def _close(session: AsyncSession, payment: Payment, *, cause: str) -> None:
    payment.version += 1
    await move(session, payment, PaymentStatus.CLOSED, cause=cause)
    event = PaymentIntentClosed(order_id=payment.order_id, payment_id=payment.id, payment_version=payment.version)
    await record(session, event, subject=payment.id, sequence=payment.version, correlation_id=payment.order_id)


async def _tombstone(session: AsyncSession, order_id: UUID) -> None:
    """The order closed before payments heard of it: a later `order.placed` finds the payment closed."""
    payment_id = new_id()
    made = await session.execute(
        insert(Payment)
        .values(
            id=payment_id,
            order_id=order_id,
            status=PaymentStatus.NEW,
            amount=0,
            currency="XXX",
            receipt=Payment.receipt_for(payment_id),
            version=0,
        )
        .on_conflict_do_nothing(index_elements=["order_id"])
        .returning(Payment.id)
    )
    if made.first() is None:
        payment = await _locked_by_order(session, order_id)
        if payment is not None and payment.status is PaymentStatus.NEW:
            await _close(session, payment, cause="order closing")
        return
    await _close(session, await locked_payment(session, payment_id), cause="order closed before it was placed here")
