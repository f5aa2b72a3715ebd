"""Reading orders: one's own, all of them for staff, and single ones for other services."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, selectinload

from chassis.database import Database
from chassis.jobs import JobOutcome
from chassis.pagination import COUNT_CAP, PageQuery, decode_cursor, encode_cursor
from chassis.plain_sql import driver_connection
from orders.errors import OrderNotFound
from orders.models import Order, OrderMove
from orders.order_numbers import as_number
from orders.order_reading import read_order
from orders.schemas import AdminOrderQuery, OrderQuery


@dataclass(frozen=True, slots=True)
class Page:
    """Some orders with their items, newest first, and where the next ones begin."""

    orders: list[Order]
    next_cursor: str | None
    counted: int | None
    """Up to one more than is counted to; None when nobody asked."""

    @property
    def counts(self) -> dict[str, Any]:
        """The members of the answer that tell the total, when it was asked for."""
        if self.counted is None:
            return {}
        return {"total": min(self.counted, COUNT_CAP), "total_is_capped": self.counted > COUNT_CAP}


async def my_order(session: AsyncSession, user_id: UUID, order_id: UUID) -> Order:
    """One of the caller's orders. Raises OrderNotFound, also for somebody else's."""
    return own(await read_order(await driver_connection(session), order_id), user_id)


def own(order: Order | None, user_id: UUID) -> Order:
    """This order if it is the caller's. Raises OrderNotFound."""
    if order is None or order.user_id != user_id:
        raise OrderNotFound
    return order


async def any_order(session: AsyncSession, order_id: UUID) -> Order:
    """An order whoever it belongs to. Raises OrderNotFound."""
    order = await read_order(await driver_connection(session), order_id)
    if order is None:
        raise OrderNotFound
    return order


async def history(session: AsyncSession, order: Order) -> list[OrderMove]:
    """Everything that happened to an order, first to last."""
    query = select(OrderMove).where(OrderMove.order_id == order.id).order_by(OrderMove.version)
    return list(await session.scalars(query))


async def my_orders(session: AsyncSession, user_id: UUID, wanted: OrderQuery) -> Page:
    """The caller's orders."""
    filters: list[ColumnElement[bool]] = [Order.user_id == user_id]
    if wanted.status is not None:
        filters.append(Order.status == wanted.status)
    scope = f"orders of {user_id} {wanted.status}"
    return await _page(session, wanted, filters, keys={Order.placement: int}, scope=scope)


async def all_orders(session: AsyncSession, wanted: AdminOrderQuery) -> Page:
    """Orders as staff search them."""
    filters = _admin_filters(wanted)
    scope = f"all orders {wanted.model_dump(exclude={'limit', 'cursor', 'count'})}"
    return await _page(session, wanted, filters, keys={Order.placed_at: datetime, Order.id: UUID}, scope=scope)


def _admin_filters(wanted: AdminOrderQuery) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if wanted.number is not None:
        filters.append(Order.number == as_number(wanted.number))
    if wanted.user_id is not None:
        filters.append(Order.user_id == wanted.user_id)
    if wanted.status is not None:
        filters.append(Order.status == wanted.status)
    if wanted.placed_from is not None:
        filters.append(Order.placed_at >= wanted.placed_from)
    if wanted.placed_before is not None:
        filters.append(Order.placed_at < wanted.placed_before)
    if wanted.needs_review is not None:
        filters.append(Order.needs_review.is_(wanted.needs_review))
    return filters


async def _page(
    session: AsyncSession,
    wanted: PageQuery,
    filters: list[ColumnElement[bool]],
    *,
    keys: dict[InstrumentedAttribute[Any], Any],
    scope: str,
) -> Page:
    """The orders after the cursor by descending `keys`, which name each order's place without a tie."""
    after = []
    if wanted.cursor is not None:
        after.append(tuple_(*keys) < tuple_(*decode_cursor(wanted.cursor, scope, *keys.values())))
    query = select(Order).where(*filters, *after).order_by(*(key.desc() for key in keys)).limit(wanted.limit + 1)
    found = list(await session.scalars(query.options(selectinload(Order.items))))
    orders = found[: wanted.limit]
    next_cursor = None
    if len(found) > wanted.limit:
        next_cursor = encode_cursor(scope, *(getattr(orders[-1], key.key) for key in keys))
    counted = None
    if wanted.count:
        capped = select(Order.id).where(*filters).limit(COUNT_CAP + 1).subquery()
        counted = await session.scalar(select(func.count()).select_from(capped))
    return Page(orders, next_cursor, counted)


async def orders_in_review(database: Database) -> JobOutcome:
    """How many orders wait for a person: an alarm as long as there are any."""
    async with database.transaction() as session:
        count = await session.scalar(select(func.count()).where(Order.needs_review)) or 0
    return JobOutcome(found=count, unresolved=count)
