"""Routes for other services: what orders reserves, and what cart wants to know. Never routed by the gateway."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from catalog.answers import LookupAnswer, ReservationAnswer, ReservedItem
from catalog.claims import Wanted
from catalog.errors import InsufficientStock
from catalog.order_trace import trace_of
from catalog.postgres_stockroom import PostgresStockroom
from catalog.product_page import look_up_variants
from catalog.reservations import Held, Shortage, hold, release
from catalog.schemas import LookupBody, ReservationBody
from chassis.routes import Db, Router, Session, access
from chassis.strict import Id, query_int
from chassis.traces import Trace

internal = Router(prefix="/internal", tags=["internal"])


@internal.put(
    "/reservations/{order_id}",
    response_model=ReservationAnswer,
    openapi_extra=access("service", callers=["orders"], transaction=False),
)
async def put_reservation(request: Request, order_id: Id, body: ReservationBody, database: Db) -> ReservationAnswer:
    """Hold all items for the order and quote them, or hold nothing and say what is missing."""
    wanted = {item.variant_id: item.quantity for item in body.items}
    # A shortage is committed before it is refused: what the order held before must not stay held.
    async with database.transaction() as session:
        outcome = await hold(PostgresStockroom(session), order_id=order_id, wanted=wanted)
    if not isinstance(outcome, Held):
        request.app.state.on_refusal()
        raise InsufficientStock(
            "Reduce or remove the items named in shortages.",
            shortages=[_shortage(shortage) for shortage in outcome],
        )
    return quote(order_id, wanted, outcome, currency=request.app.state.service.settings.currency)


def quote(order_id: UUID, wanted: Wanted, held: Held, *, currency: str) -> ReservationAnswer:
    """What is held, and for how much."""
    return ReservationAnswer(
        order_id=order_id,
        hold=held.hold,
        currency=currency,
        items=[
            ReservedItem(
                variant_id=level.variant_id,
                product_id=level.product_id,
                sku=level.sku,
                name=level.title,
                image_url=level.image_url,
                quantity=wanted[level.variant_id],
                unit_price=level.unit_price,
            )
            for level in held.levels
        ],
    )


def _shortage(shortage: Shortage) -> dict[str, object]:
    document: dict[str, object] = {
        "variant_id": str(shortage.variant_id),
        "wanted": shortage.wanted,
        "available": shortage.available,
    }
    return document | ({"reason": "variant_not_found"} if shortage.is_unknown else {})


@internal.delete("/reservations/{order_id}", status_code=204, openapi_extra=access("service", callers=["orders"]))
async def delete_reservation(
    order_id: Id,
    hold: Annotated[query_int(1, 2**31 - 1), Query()],  # type: ignore[valid-type]  # a type made for these bounds
    session: Session,
) -> None:
    """Give back the hold that the caller saw; nothing happens to a newer, confirmed or decided one."""
    await release(PostgresStockroom(session), order_id=order_id, hold=hold)


@internal.post("/variants/lookup", response_model=LookupAnswer, openapi_extra=access("service", callers=["cart"]))
async def post_lookup(request: Request, body: LookupBody, database: Db) -> Response:
    """Name, price and availability of variants; unknown ids are absent."""
    currency = request.app.state.service.settings.currency
    found = await look_up_variants(database.primary_reads, body.ids, currency=currency)
    return Response(found, media_type="application/json")


@internal.get("/orders/{order_id}/trace", openapi_extra=access("service", callers=("orders",)))
async def read_trace(order_id: Id, database: Db) -> Trace:
    """What catalog did about an order; nothing when it has not heard of it."""
    return Trace(items=await trace_of(database.primary_reads, order_id))
