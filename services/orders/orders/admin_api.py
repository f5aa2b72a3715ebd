"""What staff can do with orders: find, see, send, cancel, review."""

from typing import Annotated

from fastapi import Depends, Query, Response
from starlette.requests import Request

from chassis.auth import Principal
from chassis.routes import Caller, Db, Router, Session, access
from chassis.strict import Id
from orders import cancellation, fulfillment, lookup, review
from orders.errors import OrderNotFound
from orders.models import ActorKind
from orders.order_reading import read_order
from orders.order_states import Actor
from orders.order_trace import Tracing
from orders.postgres_orders import PostgresOrderBook
from orders.schemas import (
    AdminOrderPage,
    AdminOrderQuery,
    AdminOrderView,
    AdminTimeline,
    CancelOrder,
    EndReview,
    OrderTrace,
    ShipOrder,
    Tracking,
)
from orders.showing import admin_order_view, admin_timeline


async def _not_kept(response: Response) -> None:
    """Everything here is personal: no cache keeps it."""
    response.headers["cache-control"] = "no-store"


admin_router = Router(prefix="/api/v1/admin/orders", tags=["orders admin"], dependencies=[Depends(_not_kept)])


def _staff(caller: Principal) -> Actor:
    return Actor(ActorKind.STAFF, caller.user_id)


@admin_router.get("", response_model=AdminOrderPage, openapi_extra=access("staff"))
async def list_all_orders(session: Session, wanted: Annotated[AdminOrderQuery, Query()]) -> AdminOrderPage:
    """Orders of everybody, newest first."""
    page = await lookup.all_orders(session, wanted)
    items = [admin_order_view(order) for order in page.orders]
    return AdminOrderPage(items=items, next_cursor=page.next_cursor, **page.counts)


@admin_router.get("/{order_id}", response_model=AdminOrderView, openapi_extra=access("staff"))
async def read_any_order(session: Session, order_id: Id) -> AdminOrderView:
    """Anybody's order."""
    return admin_order_view(await lookup.any_order(session, order_id))


@admin_router.get("/{order_id}/timeline", response_model=AdminTimeline, openapi_extra=access("staff"))
async def read_any_timeline(session: Session, order_id: Id) -> AdminTimeline:
    """Everything that happened to an order, and who did it."""
    order = await lookup.any_order(session, order_id)
    return admin_timeline(await lookup.history(session, order))


@admin_router.get("/{order_id}/trace", response_model=OrderTrace, openapi_extra=access("staff"))
async def read_trace(request: Request, database: Db, order_id: Id) -> OrderTrace:
    """Every command, transition, event, webhook, provider call and job that touched an order, across all services.

    Events are shown as long as outboxes keep them, seven days. A service that is away is named among the gaps.
    """
    order = await read_order(database.primary_reads, order_id)
    if order is None:
        raise OrderNotFound
    tracing: Tracing = request.app.state.tracing
    return await tracing.trace_of(database.primary_reads, order)


@admin_router.post("/{order_id}/ship", response_model=AdminOrderView, openapi_extra=access("staff"))
async def ship_order(session: Session, caller: Caller, order_id: Id, body: ShipOrder) -> AdminOrderView:
    """Note that a paid order is on its way."""
    tracking = Tracking(carrier=body.carrier, number=body.tracking)
    book = PostgresOrderBook(session)
    order = await fulfillment.ship_order(book, _staff(caller), order_id=order_id, tracking=tracking)
    return admin_order_view(order)


@admin_router.post("/{order_id}/deliver", response_model=AdminOrderView, openapi_extra=access("staff"))
async def deliver_order(session: Session, caller: Caller, order_id: Id) -> AdminOrderView:
    """Note that an order has arrived."""
    book = PostgresOrderBook(session)
    return admin_order_view(await fulfillment.deliver_order(book, _staff(caller), order_id=order_id))


@admin_router.post("/{order_id}/cancel", response_model=AdminOrderView, openapi_extra=access("staff"))
async def cancel_any_order(
    session: Session, caller: Caller, order_id: Id, body: CancelOrder | None = None
) -> AdminOrderView:
    """Cancel anybody's order that was not sent yet; what was paid goes back."""
    reason = body.reason if body else None
    book = PostgresOrderBook(session)
    order = await cancellation.cancel_order(book, _staff(caller), order_id=order_id, reason=reason)
    return admin_order_view(order)


@admin_router.post("/{order_id}/review", response_model=AdminOrderView, openapi_extra=access("staff"))
async def end_review(session: Session, caller: Caller, order_id: Id, body: EndReview) -> AdminOrderView:
    """End the review of an order that a person had to look at; the note stays in its timeline, for staff only."""
    book = PostgresOrderBook(session)
    order = await review.end_review(book, _staff(caller), order_id=order_id, seen=body.version, note=body.note)
    return admin_order_view(order)
