"""The rows of orders in memory: a second implementation of `orders.order_book`, with the constraints of the tables."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.orm import configure_mappers

from chassis.events import Event
from orders.known_orders import KnownOrders, NewestOrder, OrderedQuantity, UntoldOrder
from orders.models import CLOSED, Order, OrderItem, PaymentStatus, Status, order_items, orders
from orders.order_book import Line, StockNews, Turn
from orders.order_states import Provided
from tests.simulation.clock import Clock
from tests.simulation.memory import Row, Transaction

Pause = Callable[[], Awaitable[None]]
"""Lets the schedule choose who goes on."""

_COLUMNS = orders.columns.keys()
_ITEM_COLUMNS = order_items.columns.keys()
_DEFAULTS: Row = {
    "cart_knows": False,
    "needs_review": False,
    "payment_version": 0,
    "returned_attempts": [],
    "discount": 0,
    "shipping": 0,
    "tax": 0,
}
configure_mappers()
_new_order = Order.__mapper__.class_manager.new_instance
_new_item = OrderItem.__mapper__.class_manager.new_instance


class OrderTables:
    """The committed rows."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.orders: dict[UUID, Row] = {}
        self.items: dict[UUID, list[Row]] = {}
        self.moves: list[Line] = []
        self.placements = 0

    def copy(self, order_id: UUID) -> Order | None:
        """The order as a process gets it: filled as a row is loaded, which is faster than by the constructor."""
        row = self.orders.get(order_id)
        if row is None:
            return None
        order: Order = _new_order()
        order.__dict__.update(row)
        order.__dict__["items"] = [self._item(item) for item in self.items[order_id]]
        return order

    def known(self, user_id: UUID, order_id: UUID) -> KnownOrders:
        """What a checkout must know of its caller's orders."""
        mine = [row for row in self.orders.values() if row["user_id"] == user_id]
        newest = max(mine, key=lambda row: row["placement"], default=None)
        return KnownOrders(
            self.clock.now,
            order_id in self.orders,
            newest=NewestOrder(
                newest["id"],
                newest["placement"],
                newest["cart_id"],
                newest["cart_version"],
                newest["status"] in CLOSED,
            )
            if newest
            else None,
            untold=[
                UntoldOrder(
                    row["id"],
                    [OrderedQuantity(item["variant_id"], item["quantity"]) for item in self.items[row["id"]]],
                    row["status"] in CLOSED,
                    row["paying_attempt_id"] is not None or row["total"] == 0,
                )
                for row in sorted(mine, key=lambda row: row["placement"])
                if not row["cart_knows"]
            ],
        )

    @staticmethod
    def _item(row: Row) -> OrderItem:
        item: OrderItem = _new_item()
        item.__dict__.update(row)
        return item


class MemoryOrderBook:
    """Implements `OrderBook`."""

    def __init__(self, tables: OrderTables, transaction: Transaction, pause: Pause) -> None:
        self.tables = tables
        self.transaction = transaction
        self._pause = pause

    @property
    def now(self) -> datetime:
        """The clock of the tables."""
        return self.tables.clock.now

    async def find(self, order_id: UUID) -> Order | None:
        """A copy, which may be old when it is used: nothing is locked."""
        order = self.tables.copy(order_id)
        if not self.transaction.has_written:
            await self._pause()
        return order

    async def take(
        self,
        order: Order,
        *,
        changes: Mapping[str, Any],
        stamp: str | None,
        provided: Provided,
        payment: tuple[PaymentStatus, int] | None,
        line: Line,
    ) -> Mapping[str, Any] | None:
        """Guarded as the statement is."""
        row = self.tables.orders.get(order.id)
        if row is None or not self.holds(row, order, provided):
            return None
        after = {**row, **changes}
        if stamp:
            after[stamp] = self.now
        if payment and payment[1] > row["payment_version"]:
            after["payment_status"], after["payment_version"] = payment
        self._put(after)
        self.transaction.add(self.tables.moves, line)
        told = ("payment_status", "payment_version", "needs_review", "stock_committed_at", *((stamp,) if stamp else ()))
        return {name: after[name] for name in told}

    def holds(self, row: Row, order: Order, provided: Provided) -> bool:
        """Whether the order is where the decision saw it."""
        ready = row["payment_status"] is not PaymentStatus.REFUNDED and row["stock_committed_at"] is not None
        is_unmoved = (row["status"], row["version"]) == (order.status, order.version)
        return is_unmoved and (ready or provided is not Provided.READY_TO_SEND)

    async def record(self, event: Event, *, order_id: UUID, version: int) -> None:
        """Published with the commit."""
        self.transaction.events.append((event, order_id, version, order_id))

    async def find_unspent(self, order_id: UUID, *, attempt_id: UUID) -> tuple[Order | None, bool]:
        """By a look at all."""
        others = (row for row in self.tables.orders.values() if row["id"] != order_id)
        is_unspent = all(row["paying_attempt_id"] != attempt_id for row in others)
        return await self.find(order_id), is_unspent

    async def show_payment(
        self, order_id: UUID, *, status: PaymentStatus, version: int
    ) -> tuple[PaymentStatus, Status] | None:
        """Guarded as the statement is."""
        row = self.tables.orders.get(order_id)
        if row is None or row["payment_version"] >= version:
            return None
        self.transaction.change(self.tables.orders, order_id, payment_status=status, payment_version=version)
        return status, row["status"]

    async def remember(self, order_id: UUID, news: StockNews) -> bool:
        """Guarded as the statement is."""
        row = self.tables.orders.get(order_id)
        if row is None or row[news] is not None:
            return False
        self.transaction.change(self.tables.orders, order_id, **{news: self.now})
        return True

    async def past_deadline(self, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Sorted as the statement does."""
        due = [
            row
            for row in self.tables.orders.values()
            if row["status"] is Status.AWAITING_PAYMENT and row["deadline"] < self.now
        ]
        return [row["id"] for row in sorted(due, key=lambda row: (row["deadline"], row["id"]))[skip:][:limit]]

    async def closing_for(self, seconds: float, *, limit: int, skip: int = 0) -> Sequence[UUID]:
        """Sorted as the statement does."""
        since = self.now - timedelta(seconds=seconds)
        due = [
            row
            for row in self.tables.orders.values()
            if row["status"] is Status.CLOSING and row["closing_since"] < since
        ]
        return [row["id"] for row in sorted(due, key=lambda row: (row["closing_since"], row["id"]))[skip:][:limit]]

    async def take_turn(self, cart_id: UUID) -> Turn:
        """At once."""
        return Turn(self.now, f"HT-{len(self.tables.orders):04}-SIM")

    async def write(self, order: Order, *, line: Line, seen: int, acknowledged: Collection[UUID]) -> bool:
        """Guarded as the statement is."""
        newer = await self.ordered_since(seen, user_id=order.user_id, cart_id=order.cart_id, but=order.id)
        if newer is not None:
            return False
        if order.id in self.tables.orders:
            raise asyncpg.UniqueViolationError("pk_orders")
        self.tables.placements += 1
        row = {name: _DEFAULTS.get(name) if (value := order.__dict__.get(name)) is None else value for name in _COLUMNS}
        row["placement"] = self.tables.placements
        items = [
            {**{name: item.__dict__.get(name) for name in _ITEM_COLUMNS}, "order_id": order.id} for item in order.items
        ]
        self._put(row)
        self.transaction.put(self.tables.items, order.id, items)
        self.transaction.add(self.tables.moves, line)
        for order_id in acknowledged:
            if order_id in self.tables.orders:
                self.transaction.change(self.tables.orders, order_id, cart_knows=True)
        return True

    async def open_order_of_version(self, cart_id: UUID, version: int) -> UUID | None:
        """By a look at all."""
        return next((row["id"] for row in self._open() if _version(row) == (cart_id, version)), None)

    async def is_open(self, order_id: UUID) -> bool:
        """By its key."""
        return any(row["id"] == order_id for row in self._open())

    async def ordered_since(self, seen: int, *, user_id: UUID, cart_id: UUID, but: UUID) -> UUID | None:
        """By a look at all."""
        newer = [
            row
            for row in self.tables.orders.values()
            if (row["user_id"], row["cart_id"]) == (user_id, cart_id) and row["placement"] > seen and row["id"] != but
        ]
        return min(newer, key=lambda row: row["placement"])["id"] if newer else None

    def _open(self) -> list[Row]:
        return [row for row in self.tables.orders.values() if row["status"] not in CLOSED]

    def _put(self, row: Row) -> None:
        """Write an order as the table's constraints allow it."""
        status, reason = row["status"], row["close_reason"]
        if (reason is not None) != (status in (Status.CLOSING, *CLOSED)):
            self.transaction.refuse("ck_orders_closed_for_a_reason")
        if row["closing_since"] is not None and reason is None:
            self.transaction.refuse("ck_orders_closing_since")
        if row["total"] != row["subtotal"] + row["shipping"] + row["tax"] - row["discount"]:
            self.transaction.refuse("ck_orders_total")
        owes = status in (Status.PAID, Status.SHIPPED, Status.DELIVERED)
        attempt_id = row["paying_attempt_id"]
        if owes and row["total"] and attempt_id is None:
            self.transaction.refuse("ck_orders_paid_by_an_attempt")
        for other in self.tables.orders.values():
            if other["id"] == row["id"]:
                continue
            if attempt_id is not None and other["paying_attempt_id"] == attempt_id:
                raise asyncpg.UniqueViolationError("uq_orders_paying_attempt_id")
            if status not in CLOSED and other["status"] not in CLOSED and _version(other) == _version(row):
                raise asyncpg.UniqueViolationError("uq_orders_open_cart_version")
        self.transaction.put(self.tables.orders, row["id"], row)


def _version(row: Row) -> tuple[UUID, int]:
    return row["cart_id"], row["cart_version"]
