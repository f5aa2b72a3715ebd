"""Routes for other services; the gateway never routes them."""

from starlette.responses import Response

from chassis.routes import Db, Router, access
from chassis.strict import Id
from orders.errors import OrderNotFound
from orders.order_reading import read_order
from orders.schemas import InternalOrder
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
