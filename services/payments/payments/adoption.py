"""Taking in what was paid at an order of the provider that our own books do not know.

That happens when a database was lost and its backup is older than the order. The provider's order bears a
receipt of ours and names in its notes the order it was made for, and orders is asked about that one:

- It exists: the provider's order belongs to its payment, and what was paid there counts as if a poll had found it.
- It does not, it was lost too: the money becomes a closed payment that belongs to nobody, which the daily statement
  names until staff have given it back. That is left to people, because the goods may be on their way already.

The other way round, a payment may be there whose order is lost: nobody would ever end it, so `close_lost` does.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.jobs import JobOutcome, work_through
from chassis.telemetry import get_logger
from payments.attempts import apply_observation
from payments.ledger import Ledger, OpenLedger
from payments.models import Payment, PaymentStatus
from payments.opening import OrderToPay
from payments.provider import Provider, ProviderPayment, UnknownToProvider

OVERDUE = timedelta(minutes=90)
"""So long after its time to pay, an order that exists is paid or closed."""
BATCH = 100
"""Payments looked at together."""


class FoundOrder(OrderToPay):
    """What payments needs of orders' answer about an order that it has lost or never heard of."""

    payment_version: int = 0
    """The newest report of ours that orders has seen; unknown to a release of orders before this one."""


class Adoption:
    """Decides whose money it is. One of somebody else's orders at the same provider is asked about once."""

    def __init__(self, ledger: OpenLedger, *, provider: Provider, orders: InternalClient) -> None:
        self._ledger = ledger
        self._provider = provider
        self._orders = orders
        self._strangers: set[str] = set()

    async def adopt(self, seen: ProviderPayment) -> bool:
        """Apply what was paid at an order that we do not know; False when the order was not made for us.

        Raises ProviderError, UpstreamUnavailable.
        """
        if seen.order_id is None or seen.order_id in self._strangers:
            return False
        order_id = await self._made_for(seen.order_id)
        if order_id is None:
            self._strangers.add(seen.order_id)
            return False
        order = await self._found_at_orders(order_id)
        async with self._ledger() as ledger:
            if order is None:
                await ledger.note_ownerless(order_id, amount=seen.amount, currency=seen.currency)
            else:
                await ledger.note_placed(order_id, order)
            payment = await ledger.lock_payment_or_tombstone(order_id)
            await _complete_tombstone(ledger, payment, order, seen)
            if order is not None and payment.version < order.payment_version:
                # Our reports go on from the last one that orders has seen: it takes no older one for news.
                payment.version = order.payment_version
                await ledger.keep_version(payment)
            if payment.status is PaymentStatus.NEW:
                await ledger.move(payment, PaymentStatus.CREATING, cause="found at the provider")
            await ledger.adopt(payment.id, [seen.order_id], lease=None)
            await apply_observation(ledger, seen, source="poll")
        if order is None:
            get_logger().error("paid for a lost order", order_id=str(order_id), provider_payment_id=seen.id)
        return True

    async def close_lost(self) -> JobOutcome:
        """End what can be paid no longer and has no order; money that comes all the same is named by the statement.

        Unresolved: those whose order exists and did not end, or about which orders said nothing.
        """

        async def overdue(skip: int) -> Sequence[UUID]:
            async with self._ledger() as ledger:
                return await ledger.long_overdue(for_longer_than=OVERDUE, limit=BATCH, skip=skip)

        return await work_through(overdue, self._close_if_lost, batch=BATCH)

    async def _close_if_lost(self, order_id: UUID) -> bool:
        try:
            if await self._found_at_orders(order_id) is not None:
                return False
        except UpstreamUnavailable as error:
            get_logger().warning("orders asked in vain", order_id=str(order_id), error=repr(error))
            return False
        async with self._ledger() as ledger:
            payment = await ledger.lock_payment_or_tombstone(order_id)
            if payment.status in (PaymentStatus.CREATING, PaymentStatus.OPEN):
                await ledger.move(payment, PaymentStatus.CLOSED, cause="its order is lost")
        return True

    async def _made_for(self, provider_order_id: str) -> UUID | None:
        """None when it is surely not ours; any other refusal says nothing about it."""
        try:
            labels = await self._provider.labels_of(provider_order_id)
        except UnknownToProvider:
            return None
        if not Payment.is_receipt(labels.receipt):
            return None
        try:
            return UUID(labels.notes["order_id"])
        except (KeyError, ValueError):
            return None

    async def _found_at_orders(self, order_id: UUID) -> FoundOrder | None:
        """None when orders is sure that there is no such order."""
        reply = await self._orders.call("GET", f"/internal/orders/{order_id}")
        if reply.is_ok:
            return FoundOrder.model_validate(reply.data)
        if reply.status == 404 and isinstance(reply.data, dict) and reply.data.get("code") == "order_not_found":
            return None
        raise UpstreamUnavailable("orders")


async def _complete_tombstone(
    ledger: Ledger, payment: Payment, order: FoundOrder | None, seen: ProviderPayment
) -> None:
    """Where the order's end was heard of first, nobody could see the payment or give anything back by hand."""
    if payment.user_id is not None:
        return
    if order is not None:
        payment.user_id, payment.pay_by = order.user_id, order.pay_by
        payment.amount, payment.currency = order.total, order.currency
    elif payment.amount == 0:
        payment.amount, payment.currency = seen.amount, seen.currency
    await ledger.keep_order(payment)
