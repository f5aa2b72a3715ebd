"""Making an order payable at the provider.

1. `on_order_placed` notes what is to be paid (P1).
2. The shopper asks to pay: `open_payment`. It takes a lease on creating the order at the provider
   (`lease_or_standing`), or learns why there is none, and waits a moment for `create`, which goes on when the
   shopper's patience ends (P2). Whoever asks again meanwhile waits for the same creation.
3. An answer that was lost is looked up by our receipt, never asked for blindly again: `look_up`, by the next request
   or by a job.

How it ends is told in `closing.py`, and what the shopper really paid in `observation.py`.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis import tracing
from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.telemetry import about, correlation_id, get_logger
from payments.errors import OrderNotPayable, OrderUnknown, ProviderDown
from payments.ledger import Ledger, OpenLedger
from payments.models import Payment, PaymentStatus
from payments.opening import Lease, OrderToPay, Standing
from payments.provider import OutcomeUnknown, Provider, ProviderRefused, ProviderUnreachable
from payments.reports import report_intent_closed
from payments.settings import PaymentsSettings


class OrderPlaced(OrderToPay):
    """What payments needs of `order.placed`."""

    order_id: UUID


class OrderAnswer(OrderToPay):
    """What payments needs of orders' answer about an order."""

    status: str


async def on_order_placed(ledger: Ledger, order: OrderPlaced) -> None:
    """P1: there is something to pay. A tombstone of an order that closed first stays closed."""
    if order.total > 0:
        await ledger.note_placed(order.order_id, order)


@dataclass(frozen=True, slots=True)
class JustOpened:
    """A payment that this request opened: nobody can have tried to pay it before its answer."""

    lease: Lease
    provider_order_id: str


class Collection:
    """Opening payments: the one process here that talks to another service.

    `one_step` opens transactions of a single step, where that is cheaper than a whole one: a shopper waits for these.
    """

    def __init__(
        self,
        ledger: OpenLedger,
        *,
        one_step: OpenLedger | None = None,
        provider: Provider,
        orders: InternalClient,
        settings: PaymentsSettings,
    ) -> None:
        self._ledger = ledger
        self._one_step = one_step or ledger
        self._provider = provider
        self._orders = orders
        self._settings = settings
        self._creations: set[asyncio.Task[JustOpened | None]] = set()

    async def open_payment(self, order_id: UUID, *, user_id: UUID) -> JustOpened | bool:
        """Make an order payable at the provider.

        Returns what this call has just opened; True when it found its own order there after a lost answer, or when the
        provider takes too long, so that the payment is still `preparing`; False when somebody else was before it.
        Raises OrderUnknown, OrderNotPayable, ProviderDown, UpstreamUnavailable.
        """
        correlation_id.set(str(order_id))
        found = await self.lease_or_standing(order_id, user_id=user_id)
        if isinstance(found, Standing):
            if found.status is PaymentStatus.CREATING:
                await self._wait_for_the_other(order_id)
                _check_payable(await self._standing(order_id), user_id=user_id)
            return False
        creation = asyncio.create_task(self.create(found))
        self._creations.add(creation)
        creation.add_done_callback(self._creation_ended)
        # Not wait_for: neither the shopper's patience nor a closed connection may break off a creation.
        await asyncio.wait({creation}, timeout=self._settings.create_wait)
        if not creation.done():
            return True
        return creation.result() or True

    async def lease_or_standing(self, order_id: UUID, *, user_id: UUID) -> Lease | Standing:
        """The lease, or a payment that is open, settled, or being created by somebody else."""
        for _ in range(5):
            lease, payment = await self._take_lease(order_id, user_id=user_id)
            if lease is not None:
                return lease
            if payment is None or payment.user_id is None:
                await self._ask_orders(order_id, user_id=user_id)
                continue
            payment = _check_payable(payment, user_id=user_id)
            # One that is new came by its event between the two looks, or was given back: its lease is there now.
            if payment.status is not PaymentStatus.NEW:
                return payment
        raise ProviderDown("Repeat in a moment; nothing is lost.")

    async def _take_lease(self, order_id: UUID, *, user_id: UUID) -> tuple[Lease | None, Standing | None]:
        """The lease, or how the payment stands that gives none."""
        async with self._one_step() as ledger:
            lease = await ledger.take_lease(order_id, user_id=user_id, seconds=self._settings.create_lease)
        return lease, None if lease else await self._standing(order_id)

    async def _standing(self, order_id: UUID) -> Standing | None:
        async with self._one_step() as ledger:
            return await ledger.standing(order_id)

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
        async with self._one_step() as ledger:
            await ledger.note_placed(order_id, order)

    async def _wait_for_the_other(self, order_id: UUID) -> None:
        deadline = asyncio.get_running_loop().time() + self._settings.create_wait
        while asyncio.get_running_loop().time() < deadline:
            payment = await self._standing(order_id)
            if payment is None or payment.status is not PaymentStatus.CREATING:
                return
            await asyncio.sleep(0.1)

    async def create(self, lease: Lease) -> JustOpened | None:
        """Create the order at the provider and keep its id; None when it was there already. Raises ProviderDown."""
        with about(lease.order_id), tracing.resumed("open payment", lease.traceparent):
            return await self._create(lease)

    async def _create(self, lease: Lease) -> JustOpened | None:
        try:
            if lease.follows_another and await self.look_up(lease.payment_id, lease.receipt):
                return None
            provider_order_id = await self._provider.create_order(
                receipt=lease.receipt,
                amount=lease.amount,
                currency=lease.currency,
                notes={"order_id": str(lease.order_id)},
            )
        except ProviderUnreachable as error:
            get_logger().warning("provider not reached", payment_id=str(lease.payment_id), error=str(error))
            await self._give_back(lease)
            raise ProviderDown("Repeat in a moment; nothing is lost.", retry_after=5) from error
        except ProviderRefused as error:
            get_logger().error("provider refuses the order", payment_id=str(lease.payment_id), error=str(error))
            await self._give_back(lease, is_in_doubt=True)
            raise ProviderDown("Repeat in a moment; nothing is lost.", retry_after=30) from error
        except OutcomeUnknown as error:
            # It may exist: the lease stays, and once it is over the look-up by receipt finds out.
            get_logger().warning("provider order in doubt", payment_id=str(lease.payment_id), error=str(error))
            raise ProviderDown("Repeat in a moment; nothing is paid twice.", retry_after=5) from error
        async with self._one_step() as ledger:
            is_open = await ledger.adopt(lease.payment_id, [provider_order_id], lease=lease.id)
        return JustOpened(lease, provider_order_id) if is_open else None

    async def _give_back(self, lease: Lease, *, is_in_doubt: bool = False) -> None:
        """Give the lease back, so that the next request need not wait for its end.

        In doubt that one looks first: a refusal may mean that an order with our receipt is there.
        """
        async with self._ledger() as ledger:
            payment = await ledger.lock_payment(lease.payment_id)
            if payment.status is not PaymentStatus.CREATING or payment.lease != lease.id:
                return
            await ledger.end_lease(payment)
            if lease.follows_another or is_in_doubt:
                return
            if payment.closing_at is None:
                await ledger.move(payment, PaymentStatus.NEW, cause="the provider was not reached")
            else:
                await _close(ledger, payment)

    async def look_up(self, payment_id: UUID, receipt: str) -> bool:
        """Find out by our receipt whether a creation in doubt happened; whether it did. Raises ProviderError."""
        found = await self._provider.orders_of(receipt)
        async with self._ledger() as ledger:
            if found:
                await ledger.adopt(payment_id, found, lease=None)
            else:
                await _close_if_nothing_was_made(ledger, payment_id)
        return bool(found)

    def _creation_ended(self, creation: asyncio.Task[JustOpened | None]) -> None:
        """Its caller may have stopped waiting, so a failure is logged here."""
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


def _check_payable(payment: Standing | None, *, user_id: UUID) -> Standing:
    """The payment, if this user may pay it. Raises OrderUnknown, OrderNotPayable."""
    if payment is None or payment.user_id != user_id:
        raise OrderUnknown("Pay one of your own orders.")
    if payment.status in (PaymentStatus.CLOSING, PaymentStatus.CLOSED) or payment.is_closing:
        raise OrderNotPayable("The order is closed or closing; place a new one.")
    if payment.is_over and payment.status is not PaymentStatus.SETTLED:
        raise OrderNotPayable("The time to pay this order is over; place a new one.")
    return payment


async def _close_if_nothing_was_made(ledger: Ledger, payment_id: UUID) -> None:
    payment = await ledger.lock_payment(payment_id)
    is_undecided = payment.status is PaymentStatus.CREATING and payment.closing_at is not None
    if is_undecided and _lease_is_over(payment, await ledger.clock()):
        await _close(ledger, payment)


async def _close(ledger: Ledger, payment: Payment) -> None:
    await report_intent_closed(ledger, payment)
    await ledger.move(payment, PaymentStatus.CLOSED, cause="closing, and nothing at the provider")
