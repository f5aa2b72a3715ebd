"""Routes for other services; the gateway never routes them."""

from chassis.routes import Router, Session, access
from chassis.strict import Id
from orders.lookup import any_order
from orders.schemas import InternalOrder

internal = Router(prefix="/internal", tags=["orders internal"])


@internal.get(
    "/orders/{order_id}",
    response_model=InternalOrder,
    openapi_extra=access("service", callers=("payments", "catalog")),
)
async def read_order_for_services(session: Session, order_id: Id) -> InternalOrder:
    """An order as payments and catalog need it. That there is none is a definite answer: `order_not_found`."""
    return InternalOrder.model_validate(await any_order(session, order_id))
