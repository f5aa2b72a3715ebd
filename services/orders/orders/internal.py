"""Routes for other services; the gateway never routes them."""

from typing import Annotated

from fastapi import Query
from pydantic import Field
from starlette.responses import Response

from chassis.routes import Db, Router, access
from chassis.strict import Id, RequestBody
from orders import order_totals
from orders.errors import OrderNotFound
from orders.order_reading import read_order
from orders.schemas import InternalOrder, OrderTotals
from orders.showing import encoded_for_services

internal = Router(prefix="/internal", tags=["orders internal"])


@internal.get(
    "/orders/{order_id}",
    response_model=InternalOrder,
    openapi_extra=access("service", callers=("payments", "catalog")),
)
async def read_order_for_services(database: Db, order_id: Id) -> Response:
    """An order as payments and catalog need it. That there is none is a definite answer: `order_not_found`."""
    order = await read_order(database.primary_reads, order_id)
    if order is None:
        raise OrderNotFound
    return Response(encoded_for_services(order), media_type="application/json")


class OrderIds(RequestBody):
    """Orders by id."""

    ids: Annotated[list[Id], Field(max_length=100)]


@internal.get("/order-totals", openapi_extra=access("service", callers=("payments",)))
async def read_totals_of_paid_orders(database: Db, wanted: Annotated[order_totals.PaidBetween, Query()]) -> OrderTotals:
    """What the orders that were paid in a time are worth, page by page."""
    return await order_totals.paid_between(database.primary_reads, wanted)


@internal.post("/order-totals", openapi_extra=access("service", callers=("payments",), idempotency="none"))
async def read_totals_of_these_orders(database: Db, body: OrderIds) -> OrderTotals:
    """What these orders are worth; those that do not exist are left out."""
    return await order_totals.these(database.primary_reads, body.ids)
