"""A customer checks out: the cart becomes an order, once, at prices and with stock that are certain.

 1. `place_order` derives the order's id from caller and Idempotency-Key. `_already_placed` looks at the caller's
    orders: it exists → that order.
 2. `_look_into_cart` tells cart of the caller's orders that it may not have heard of, and gets the cart back.
    Nothing in it → `cart_empty`; an open order took it, or is of this very version → `cart_already_ordered`.
 3. `_reserve` holds all of it at catalog, or none, and brings the prices. Too little → `insufficient_stock`.
 4. `_check_total` compares with what the shopper was shown (`price_changed`) and with what the provider takes.
 5. `_write` makes order and `order.placed` in one transaction, if nobody ordered this cart since the look (else once
    more from step 2) and a minute has not passed. A total of 0 is paid at once: `order.paid`.
 6. `order.placed` makes catalog confirm the hold, cart remove what was bought, payments expect the money.
 7. The shopper pays: payments tells `payment.captured`, and `payment_outcome.on_payment_captured` emits `order.paid`.
 8. `order.paid` makes catalog sell the stock: `stock.committed`. It cannot: `stock.commit_failed`, and
    `stock_outcome.on_commit_failed` cancels and returns the money (`order.cancelled`, `refund.requested`).
 9. Silence: `cancellation.close_unpaid` emits `order.closing`, payments asks the provider a last time and answers
    `payment.captured` or `payment.intent_closed`; the latter ends in `order.expired`, or after a cancel in
    `order.cancelled`. Both free the stock and give the cart its items back.
10. `fulfillment.ship_order` and `deliver_order` emit `order.shipped` and `order.delivered`.
11. Every refusal reads by order id again before it leaves: another request of the same key may have won.
12. A crash between 3 and 5 leaves a hold without an order. Catalog asks for the order and frees it on a definite no.

No remote call happens inside a transaction.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.exc import DBAPIError

from chassis import tracing
from chassis.ids import derive_id
from chassis.money import Money
from chassis.problems import IdempotencyKeyReused, Problem
from chassis.telemetry import correlation_id
from chassis.transactions import DRIVER_OUTAGES
from orders.errors import (
    CartAlreadyOrdered,
    CartEmpty,
    CheckoutInterrupted,
    CheckoutTookTooLong,
    InsufficientStock,
    PriceChanged,
    TotalTooSmall,
)
from orders.known_orders import KnownOrders
from orders.models import ActorKind, Order, OrderItem, PaymentStatus
from orders.neighbours import Cart, Neighbours, Offer
from orders.order_book import OrderBook, OrderBooks, Turn
from orders.order_states import Actor
from orders.order_writing import begin
from orders.quotes import order_items, quote, totals_of
from orders.schemas import PlaceOrder
from orders.settings import OrdersSettings

SMALLEST_PAYMENT = 100
"""Minor units below which the payment provider refuses, unless there is nothing to pay."""

DATABASE_ERRORS = (DBAPIError, asyncpg.PostgresError, *DRIVER_OUTAGES)
"""What a session raises, and what the driver does, also when the connection breaks or is too slow."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The order of this key, and whether it was there before this request."""

    order: Order
    replayed: bool


@dataclass(slots=True)
class Attempt:
    """One request's way through the steps."""

    order_id: UUID
    user_id: UUID
    wish: PlaceOrder
    guest_token_hash: str | None
    known: KnownOrders = field(init=False)
    """The caller's orders at the last look."""
    started_at: datetime | None = None
    """The database's clock at the first look."""
    acknowledged: list[UUID] = field(default_factory=list)
    """Orders of the caller that cart has settled: it need not be told of them again."""
    hold: int | None = None
    """The number of the hold that step 3 got; it is void once another request of the same key gets the next one."""

    @property
    def fingerprint(self) -> bytes:
        """What was asked for; a field that is not given and one that is null are the same."""
        return hashlib.sha256(self.wish.model_dump_json(exclude_none=True).encode()).digest()


class OrderedMeanwhile(Exception):
    """Since the last look at the caller's orders another was made of the same cart."""

    def __init__(self, order_id: UUID) -> None:
        super().__init__(str(order_id))
        self.order_id = order_id


@dataclass(frozen=True, slots=True)
class Checkout:
    """The process with those it works with."""

    orders: OrderBooks
    neighbours: Neighbours
    settings: OrdersSettings

    async def place_order(
        self, user_id: UUID, key: str, wish: PlaceOrder, *, guest_token_hash: str | None = None
    ) -> Placed:
        """Make the caller's cart an order, or find the one that this key has made. Raises the refusals of `errors`."""
        attempt = Attempt(derive_id(user_id, key), user_id, wish, guest_token_hash)
        correlation_id.set(str(attempt.order_id))
        if placed := await self._already_placed(attempt):
            return placed
        try:
            return await self._place(attempt)
        except Problem:
            if placed := await self._already_placed(attempt):
                return placed
            await self._release(attempt)
            raise

    async def _already_placed(self, attempt: Attempt) -> Placed | None:
        """Step 1, and the last look before any refusal."""
        known = attempt.known = await self.orders.known(attempt.user_id, attempt.order_id)
        attempt.started_at = attempt.started_at or known.now
        order = await self.orders.read(attempt.order_id) if known.is_placed else None
        if order is None:
            return None
        if order.fingerprint != attempt.fingerprint:
            raise IdempotencyKeyReused("This key has made another order; choose a new key for a new order.")
        return Placed(order, replayed=True)

    async def _place(self, attempt: Attempt) -> Placed:
        """Steps 2 to 5, and once more when somebody ordered this cart meanwhile."""
        address = await self._shipping_address(attempt)
        for is_last in (False, True):
            cart = await self._look_into_cart(attempt)
            try:
                offer = await self._reserve(attempt, cart)
                items = self._check_total(attempt, offer)
                return await self._write(attempt, cart, currency=offer.currency, items=items, address=address)
            except OrderedMeanwhile as other:
                if is_last:
                    raise _already_ordered(other.order_id) from None
                if placed := await self._already_placed(attempt):
                    return placed
                await self._release(attempt)
            except DATABASE_ERRORS as error:
                # The commit may have happened all the same: only the database knows.
                if placed := await self._already_placed(attempt):
                    return placed
                if not isinstance(error, asyncpg.UniqueViolationError):
                    raise
                raise await self._why_not_unique(cart) from None
        raise AssertionError("the second round returns or raises")

    async def _shipping_address(self, attempt: Attempt) -> dict[str, Any]:
        """The address as it is now: the order keeps it, whatever becomes of the address book."""
        wish = attempt.wish
        if wish.shipping_address_id is not None:
            return await self.neighbours.address(attempt.user_id, wish.shipping_address_id)
        assert wish.shipping_address is not None  # noqa: S101 - the schema demands one of the two
        return wish.shipping_address.model_dump()

    async def _look_into_cart(self, attempt: Attempt) -> Cart:
        """Step 2: what there is to order, after cart knows of everything ordered before."""
        cart, attempt.acknowledged = await self.neighbours.cart_of(
            attempt.user_id, untold=attempt.known.untold, guest_token_hash=attempt.guest_token_hash
        )
        newest = attempt.known.newest
        if newest is not None and newest.is_open_order_of(cart.cart_id, cart.version):
            raise _already_ordered(newest.order_id)
        if not cart.items:
            raise await self._why_empty(cart)
        return cart

    async def _why_empty(self, cart: Cart) -> Problem:
        async with self.orders.transaction() as book:
            other = await _open_order_of(book, cart)
        return _already_ordered(other) if other else CartEmpty("Put something into the cart, then order.")

    async def _reserve(self, attempt: Attempt, cart: Cart) -> Offer:
        """Step 3: hold everything, or learn what is missing."""
        attempt.hold = None
        try:
            offer = await self.neighbours.hold(attempt.order_id, cart)
        except InsufficientStock:
            # What is missing may be what an order of this same cart holds; then that order is the better answer.
            async with self.orders.transaction() as book:
                other = await _ordered_since(book, attempt, cart)
            if other is not None:
                raise OrderedMeanwhile(other) from None
            raise
        attempt.hold = offer.hold
        return offer

    def _check_total(self, attempt: Attempt, offer: Offer) -> list[OrderItem]:
        """Step 4: the shopper pays what they were shown, and the provider takes it. The order's items."""
        items = order_items(offer)
        total = Money.of(totals_of(items)["total"], offer.currency)
        expected = attempt.wish.expected_total
        if expected is not None and expected != total:
            detail = "Show the new total, then order with it as expected_total."
            raise PriceChanged(detail, quote=quote(items, currency=offer.currency))
        if 0 < total.amount < SMALLEST_PAYMENT:
            raise TotalTooSmall("Add something to the cart, then order.", total=total.model_dump())
        return items

    async def _write(
        self, attempt: Attempt, cart: Cart, *, currency: str, items: list[OrderItem], address: dict[str, Any]
    ) -> Placed:
        """Step 5: the order and its event, unless it is too late or somebody else was first."""
        async with self.orders.transaction() as book:
            turn = await book.take_turn(cart.cart_id)
            limit = timedelta(seconds=self.settings.checkout_limit)
            if attempt.started_at is None or turn.now - attempt.started_at > limit:
                raise CheckoutTookTooLong("Repeat with the same Idempotency-Key.")
            order = self._order(attempt, cart, currency=currency, items=items, turn=turn)
            order.shipping_address = address
            actor = Actor(ActorKind.CUSTOMER, attempt.user_id)
            seen, told = attempt.known.seen, attempt.acknowledged
            if not await begin(book, order, actor=actor, seen=seen, acknowledged=told):
                other = await _ordered_since(book, attempt, cart)
                assert other is not None  # noqa: S101 - it is why nothing was written, and its cart is locked
                raise OrderedMeanwhile(other)
        return Placed(order, replayed=False)

    def _order(self, attempt: Attempt, cart: Cart, *, currency: str, items: list[OrderItem], turn: Turn) -> Order:
        totals = totals_of(items)
        is_free = totals["total"] == 0
        billing = attempt.wish.billing_address
        now = turn.now
        pay_by = now + timedelta(seconds=self.settings.pay_window)
        return Order(
            id=attempt.order_id,
            number=turn.number,
            user_id=attempt.user_id,
            cart_id=cart.cart_id,
            cart_version=cart.version,
            fingerprint=attempt.fingerprint,
            currency=currency,
            **totals,
            payment_status=PaymentStatus.PAID if is_free else PaymentStatus.UNPAID,
            billing_address=billing.model_dump() if billing else None,
            note=attempt.wish.note,
            placed_at=now,
            pay_by=pay_by,
            deadline=pay_by + timedelta(seconds=self.settings.pay_grace),
            paid_at=now if is_free else None,
            traceparent=tracing.current() or None,
            items=items,
        )

    async def _why_not_unique(self, cart: Cart) -> Problem:
        """What to answer when the database refused an order that is not there."""
        async with self.orders.transaction() as book:
            other = await _open_order_of(book, cart)
        return _already_ordered(other) if other else CheckoutInterrupted("Repeat with the same Idempotency-Key.")

    async def _release(self, attempt: Attempt) -> None:
        """Give back what this request holds, and nothing that another request of the same key has taken over."""
        hold, attempt.hold = attempt.hold, None
        if hold is not None:
            await self.neighbours.release(attempt.order_id, hold=hold)


def _already_ordered(order_id: UUID) -> CartAlreadyOrdered:
    return CartAlreadyOrdered("See that order; to order again, fill the cart anew.", order_id=str(order_id))


async def _open_order_of(book: OrderBook, cart: Cart) -> UUID | None:
    """The open order that emptied this cart, or that was made of this very version of it."""
    if cart.items:
        return await book.open_order_of_version(cart.cart_id, cart.version)
    return cart.taken_by if cart.taken_by and await book.is_open(cart.taken_by) else None


async def _ordered_since(book: OrderBook, attempt: Attempt, cart: Cart) -> UUID | None:
    """The first order of this cart that was not there at the last look."""
    return await book.ordered_since(
        attempt.known.seen, user_id=attempt.user_id, cart_id=cart.cart_id, but=attempt.order_id
    )
