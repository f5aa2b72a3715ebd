"""What catalog does by the clock: holds that no order stands behind are found and given back.

orders is asked between transactions, never inside one, and only a definite answer releases anything.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from catalog.claims import BATCH
from catalog.postgres_stockroom import stockroom_of
from catalog.reservations import expire, release
from catalog.settings import CatalogSettings
from catalog.stockroom import OpenStockroom
from chassis.clients import InternalClient, Reply, UpstreamUnavailable
from chassis.database import Database
from chassis.jobs import Job, JobOutcome, work_through
from chassis.telemetry import get_logger


def jobs(settings: CatalogSettings, orders: Callable[[], InternalClient]) -> tuple[Job, ...]:
    """The table of jobs. `orders` makes the client at first use."""

    async def orphan_holds(database: Database) -> JobOutcome:
        return await release_orphans(stockroom_of(database), orders(), older_than=settings.orphan_hold_after)

    async def expired_holds(database: Database) -> JobOutcome:
        return await expire_overdue(stockroom_of(database), orders(), older_than=settings.hold_expires_after)

    return (
        Job(name="orphan-holds", every=settings.orphan_hold_after / 4, run=orphan_holds),
        Job(name="expired-holds", every=60.0, run=expired_holds),
    )


async def release_orphans(stock: OpenStockroom, orders: InternalClient, *, older_than: float) -> JobOutcome:
    """Holds whose checkout died before the order was made. One that orders knows waits for its event."""

    async def find(skip: int) -> Sequence[tuple[UUID, int]]:
        async with stock() as room:
            return await room.unconfirmed_holds(older_than=older_than, skip=skip)

    async def release_orphan(found: tuple[UUID, int]) -> bool:
        order_id, seen = found
        reply = await _ask(orders, order_id)
        if reply is None or not _is_definite_no(reply):
            return False
        async with stock() as room:
            await release(room, order_id=order_id, hold=seen, cause="orphan")
        return True

    return await work_through(find, release_orphan, batch=BATCH)


async def expire_overdue(stock: OpenStockroom, orders: InternalClient, *, older_than: float) -> JobOutcome:
    """Confirmed holds that outlived every deadline of an order. Each is an alarm: an event was lost or is stuck.

    One whose order nobody knows any more comes from before a restore; should it be paid all the same, R5 takes anew.
    """

    async def find(skip: int) -> Sequence[UUID]:
        async with stock() as room:
            return await room.overdue_holds(older_than=older_than, skip=skip)

    async def expire_hold(order_id: UUID) -> bool:
        reply = await _ask(orders, order_id)
        if reply is None or not (_is_closed(reply) or _is_definite_no(reply)):
            get_logger().error("confirmed hold is overdue and its order not closed", order_id=str(order_id))
            return False
        async with stock() as room:
            await expire(room, order_id=order_id)
        get_logger().error(
            "confirmed hold expired: its order closed without an event, or is lost", order_id=str(order_id)
        )
        return True

    return await work_through(find, expire_hold, batch=BATCH)


async def _ask(orders: InternalClient, order_id: UUID) -> Reply | None:
    try:
        return await orders.call("GET", f"/internal/orders/{order_id}")
    except UpstreamUnavailable:
        return None


def _is_closed(reply: Reply) -> bool:
    return reply.status == 200 and reply.data.get("is_closed") is True


def _is_definite_no(reply: Reply) -> bool:
    return reply.status == 404 and isinstance(reply.data, dict) and reply.data.get("code") == "order_not_found"
