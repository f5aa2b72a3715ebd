"""Making an order payable at the provider.

1. `on_order_placed` notes what is to be paid (P1).
2. The shopper asks to pay: `open_payment`. It makes sure that the payment exists and may still be paid
   (`_payable`), takes a lease on creating the order at the provider (`_take_lease`), and waits a moment for
   `_create`, which goes on when the shopper's patience ends (P2). Whoever asks again meanwhile waits for the same
   creation.
3. An answer that was lost is looked up by our receipt, never asked for blindly again: `look_up`, by the next request
   or by a job.

How it ends is told in `closing.py`, and what the shopper really paid in `observation.py`.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.database import Database, db_now
from chassis.events import Reader
from chassis.ids import new_id
from chassis.telemetry import get_logger
from payments.errors import OrderNotPayable, OrderUnknown, ProviderDown
from payments.models import (
    Payment,
    PaymentStatus,
    PaymentTransition,
    ProviderOrder,
    clock,
    locked_payment,
    move,
)
from payments.provider import OutcomeUnknown, Provider, ProviderRefused, ProviderUnreachable
from payments.reports import report_intent_closed
from payments.settings import PaymentsSettings

NEWS_EXPECTED_WITHIN = timedelta(minutes=3)
"""An open payment that nobody talked about for so long is asked about."""


class OrderPlaced(Reader):
    """What payments needs of `order.placed`."""

    order_id: UUID
    user_id: UUID
    currency: str
    total: int
    pay_by: datetime


class OrderAnswer(Reader):
    """What payments needs of orders' answer about an order."""

    user_id: UUID
    status: str
    total: int
    currency: str
    pay_by: datetime


async def on_order_placed(session: AsyncSession, order: OrderPlaced) -> None:
    """P1: there is something to pay. A tombstone of an order that closed first stays closed."""
    if order.total > 0:
        await _note(session, order.order_id, order)


async def _note(session: AsyncSession, order_id: UUID, order: OrderPlaced | OrderAnswer) -> None:
    payment_id = new_id()
    made = await session.execute(
        insert(Payment)
        .values(
            id=payment_id,
            order_id=order_id,
            user_id=order.user_id,
            status=PaymentStatus.NEW,
            amount=order.total,
            currency=order.currency,
            receipt=Payment.receipt_for(payment_id),
            pay_by=order.pay_by,
            version=1,
        )
        .on_conflict_do_nothing(index_elements=["order_id"])
        .returning(Payment.id)
    )
    if made.first() is not None:
        session.add(PaymentTransition(payment_id=payment_id, status=PaymentStatus.NEW, cause="order placed"))
        await session.flush()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to create the order at the provider, for a while."""

    id: UUID
    payment: Payment
    follows_another: bool
    """An earlier creation may have succeeded without our hearing of it."""


class Collection:
    """Opening payments: the one process here that talks to another service."""

    def __init__(
        self, database: Database, *, provider: Provider, orders: InternalClient, settings: PaymentsSettings
    ) -> None:
        self._database = database
        self._provider = provider
        self._orders = orders
        self._settings = settings
        self._creations: set[asyncio.Task[None]] = set()

    async def open_payment(self, order_id: UUID, *, user_id: UUID) -> bool:
        """Make an order payable at the provider; whether this call did so, or is about to.

        Returns also when the provider takes too long: the payment is `preparing` then. Raises OrderUnknown,
        OrderNotPayable, ProviderDown, UpstreamUnavailable.
        """
        payment = await self._payable(order_id, user_id=user_id)
        if payment.status in (PaymentStatus.OPEN, PaymentStatus.SETTLED):
            return False
        lease = await self._take_lease(payment.id)
        if lease is None:
            await self._wait_for_the_other(payment.id)
            await self._payable(order_id, user_id=user_id)
            return False
        creation = asyncio.create_task(self._create(lease))
        self._creations.add(creation)
        creation.add_done_callback(self._forget)
        # Not wait_for: neither the shopper's patience nor a closed connection may break off a creation.
        await asyncio.wait({creation}, timeout=self._settings.create_wait)
        if creation.done():
            creation.result()
        return True

    async def _payable(self, order_id: UUID, *, user_id: UUID) -> Payment:
        payment, is_over = await self._find(order_id)
        if payment is None or payment.user_id is None:
            await self._ask_orders(order_id, user_id=user_id)
            payment, is_over = await self._find(order_id)
        if payment is None or payment.user_id != user_id:
            raise OrderUnknown("Pay one of your own orders.")
        if payment.status in (PaymentStatus.CLOSING, PaymentStatus.CLOSED) or payment.closing_at is not None:
            raise OrderNotPayable("The order is closed or closing; place a new one.")
        if is_over and payment.status is not PaymentStatus.SETTLED:
            raise OrderNotPayable("The time to pay this order is over; place a new one.")
        return payment

    async def _find(self, order_id: UUID) -> tuple[Payment | None, bool]:
        """The payment of an order, and whether its time to pay is over."""
        async with self._database.transaction() as session:
            found = await session.execute(
                select(Payment, db_now() > Payment.pay_by).where(Payment.order_id == order_id)
            )
            row = found.first()
        return (row[0], bool(row[1])) if row else (None, False)

    async def _ask_orders(self, order_id: UUID, *, user_id: UUID) -> None:
        """The shopper was faster than the event."""
        reply = await self._orders.call("GET", f"/internal/orders/{order_id}")
        if reply.status == 404:
            raise OrderUnknown("Pay one of your own orders.")
        if not reply.is_ok:
            raise UpstreamUnavailable("orders")
        order = OrderAnswer.model_validate(reply.data)
        if order.user_id != user_id:
            raise OrderUnknown("Pay one of your own orders.")
        if order.status != "awaiting_payment" or order.total == 0:
            raise OrderNotPayable("The order does not wait for a payment.")
        async with self._database.transaction() as session:
            await _note(session, order_id, order)

    async def _take_lease(self, payment_id: UUID) -> Lease | None:
        """None while somebody else has it, or when the payment may no longer be opened."""
        async with self._database.transaction() as session:
            payment = await locked_payment(session, payment_id)
            now = await clock(session)
            is_over = payment.closing_at is not None or payment.pay_by is None or payment.pay_by <= now
            was_left = payment.status is PaymentStatus.CREATING and _lease_is_over(payment, now)
            if is_over or not (payment.status is PaymentStatus.NEW or was_left):
                return None
            payment.lease = new_id()
            payment.lease_until = payment.next_ask_at = now + timedelta(seconds=self._settings.create_lease)
            await move(session, payment, PaymentStatus.CREATING, cause="shopper wants to pay")
            return Lease(payment.lease, payment, follows_another=was_left)

    async def _wait_for_the_other(self, payment_id: UUID) -> None:
        deadline = asyncio.get_running_loop().time() + self._settings.create_wait
        while asyncio.get_running_loop().time() < deadline:
            async with self._database.transaction() as session:
                status = await session.scalar(select(Payment.status).where(Payment.id == payment_id))
            if status != PaymentStatus.CREATING:
                return
            await asyncio.sleep(0.1)

    async def _create(self, lease: Lease) -> None:
        """Create the order at the provider and keep its id. Raises ProviderDown."""
        payment = lease.payment
        try:
            if lease.follows_another and await self.look_up(payment.id, payment.receipt):
                return
            provider_order_id = await self._provider.create_order(
                receipt=payment.receipt,
                amount=payment.amount,
                currency=payment.currency,
                notes={"order_id": str(payment.order_id)},
            )
        except ProviderUnreachable as error:
            get_logger().warning("provider not reached", payment_id=str(payment.id), error=str(error))
            await self._give_back(lease)
            raise ProviderDown("Repeat in a moment; nothing is lost.", retry_after=5) from error
        except ProviderRefused as error:
            get_logger().error("provider refuses the order", payment_id=str(payment.id), error=str(error))
            await self._give_back(lease, is_in_doubt=True)
            raise ProviderDown("Repeat in a moment; nothing is lost.", retry_after=30) from error
        except OutcomeUnknown as error:
            # It may exist: the lease stays, and once it is over the look-up by receipt finds out.
            get_logger().warning("provider order in doubt", payment_id=str(payment.id), error=str(error))
            raise ProviderDown("Repeat in a moment; nothing is paid twice.", retry_after=5) from error
        async with self._database.transaction() as session:
            await adopt(session, payment.id, [provider_order_id], lease=lease.id)

    async def _give_back(self, lease: Lease, *, is_in_doubt: bool = False) -> None:
        """The next request need not wait. In doubt it looks first: a refusal may mean that our receipt is there."""
        async with self._database.transaction() as session:
            payment = await locked_payment(session, lease.payment.id)
            if payment.status is not PaymentStatus.CREATING or payment.lease != lease.id:
                return
            payment.lease_until = payment.next_ask_at = await clock(session)
            if lease.follows_another or is_in_doubt:
                return
            if payment.closing_at is None:
                await move(session, payment, PaymentStatus.NEW, cause="the provider was not reached")
            else:
                await _close(session, payment)

    async def look_up(self, payment_id: UUID, receipt: str) -> bool:
        """Find out by our receipt whether a creation in doubt happened; whether it did. Raises ProviderError."""
        found = await self._provider.orders_of(receipt)
        async with self._database.transaction() as session:
            if found:
                await adopt(session, payment_id, found, lease=None)
            else:
                await _close_if_nothing_was_made(session, payment_id)
        return bool(found)

    def _forget(self, creation: asyncio.Task[None]) -> None:
        """Nobody may be left who waits for it, so what went wrong is noted here."""
        self._creations.discard(creation)
        if creation.cancelled():
            return
        error = creation.exception()
        if error is not None and not isinstance(error, ProviderDown):
            get_logger().error("creation failed", error=repr(error))

    async def close(self) -> None:
        """Let creations under way end; what is broken off is looked up by its receipt."""
        if not self._creations:
            return
        _, unfinished = await asyncio.wait(self._creations, timeout=5)
        for creation in unfinished:
            creation.cancel()


def _lease_is_over(payment: Payment, now: datetime) -> bool:
    return payment.lease_until is not None and payment.lease_until <= now


async def adopt(session: AsyncSession, payment_id: UUID, provider_order_ids: list[str], *, lease: UUID | None) -> None:
    """Link provider orders to their payment: the first answer opens it, a late one is watched like the first."""
    payment = await locked_payment(session, payment_id)
    for provider_order_id in provider_order_ids:
        values = {"provider_order_id": provider_order_id, "payment_id": payment_id}
        await session.execute(insert(ProviderOrder).values(values).on_conflict_do_nothing())
    if payment.status is not PaymentStatus.CREATING or (lease is not None and payment.lease != lease):
        return
    now = await clock(session)
    if payment.closing_at is None:
        payment.next_ask_at = now + NEWS_EXPECTED_WITHIN
        await move(session, payment, PaymentStatus.OPEN, cause="provider order made")
    else:
        payment.next_ask_at = now
        await move(session, payment, PaymentStatus.CLOSING, cause="provider order made while closing")


async def _close_if_nothing_was_made(session: AsyncSession, payment_id: UUID) -> None:
    payment = await locked_payment(session, payment_id)
    is_undecided = payment.status is PaymentStatus.CREATING and payment.closing_at is not None
    if is_undecided and _lease_is_over(payment, await clock(session)):
        await _close(session, payment)


async def _close(session: AsyncSession, payment: Payment) -> None:
    await move(session, payment, PaymentStatus.CLOSED, cause="closing, and nothing at the provider")
    await report_intent_closed(session, payment)
