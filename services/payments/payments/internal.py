"""Routes for other services; the gateway never routes them."""

from chassis.routes import Db, Router, access
from chassis.strict import Id
from chassis.traces import Trace
from payments.order_trace import trace_of

router = Router(prefix="/internal", tags=["internal"])


@router.get("/orders/{order_id}/trace", openapi_extra=access("service", callers=("orders",)))
async def read_trace(order_id: Id, db: Db) -> Trace:
    """What payments did about an order; nothing when it has not heard of it."""
    return Trace(items=await trace_of(db.primary_reads, order_id))
