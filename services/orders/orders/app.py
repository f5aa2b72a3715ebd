"""The composition root: settings → neighbours → routes → subscriptions → jobs → service."""

from chassis.clients import Upstreams
from chassis.events import Bus
from chassis.operations import operations_router
from chassis.service import Service, client_for
from orders.admin_api import admin_router
from orders.api import router
from orders.checkout import Checkout
from orders.errors import PROBLEMS
from orders.events import PUBLISHED
from orders.figures import figures
from orders.internal import internal
from orders.jobs import jobs
from orders.neighbours import Neighbours
from orders.order_trace import Tracing
from orders.postgres_orders import PostgresOrders
from orders.settings import OrdersSettings
from orders.subscriptions import subscriptions

OPERATIONS = operations_router(jobs_for=("payments",), events_for=("orders",))


def build(settings: OrdersSettings, bus: Bus, upstreams: Upstreams) -> Service:
    """Put orders together."""

    def count(event: str) -> None:
        ignored.labels(event).inc()

    service = Service(
        settings,
        bus=bus,
        upstreams=upstreams,
        routers=(router, admin_router, internal, OPERATIONS),
        subscriptions=subscriptions(count),
        jobs=jobs(settings),
        events=PUBLISHED,
        problems=PROBLEMS,
        figures=figures,
    )
    ignored = service.metrics.counter("haat_events_without_effect_total", "Events that changed nothing.", ("type",))
    for subscription in service.subscriptions:
        ignored.labels(subscription.type)
    neighbours = Neighbours(
        accounts=client_for(settings, upstreams, "accounts"),
        cart=client_for(settings, upstreams, "cart"),
        catalog=client_for(settings, upstreams, "catalog"),
    )
    service.fastapi.state.checkout = Checkout(PostgresOrders(service.database), neighbours, settings)
    service.fastapi.state.tracing = Tracing(
        {name: client_for(settings, upstreams, name) for name in ("catalog", "cart", "payments")}
    )
    return service
