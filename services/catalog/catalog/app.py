"""Catalog put together: routes, subscriptions and jobs on one database, one bus, and orders as its only upstream."""

from functools import cache

from catalog.api import router
from catalog.errors import PROBLEMS
from catalog.events import PUBLISHED
from catalog.figures import figures, refusals
from catalog.internal import internal
from catalog.jobs import jobs
from catalog.settings import CatalogSettings
from catalog.subscriptions import subscriptions
from chassis.clients import InternalClient, Upstreams
from chassis.events import Bus
from chassis.operations import operations_router
from chassis.service import Service, client_for

OPERATIONS = operations_router(jobs_for=("payments",), events_for=("orders",))


def build(settings: CatalogSettings, bus: Bus, upstreams: Upstreams) -> Service:
    """The service, not yet started."""

    @cache
    def orders() -> InternalClient:
        return client_for(settings, upstreams, "orders")

    def ignored(event_type: str) -> None:
        unchanged.labels(event_type).inc()

    service = Service(
        settings,
        bus=bus,
        upstreams=upstreams,
        routers=[router, internal, OPERATIONS],
        subscriptions=subscriptions(ignored),
        jobs=jobs(settings, orders),
        events=PUBLISHED,
        problems=PROBLEMS,
        figures=figures,
    )
    unchanged = service.metrics.counter("haat_events_without_effect_total", "Events that changed nothing.", ("type",))
    for subscription in service.subscriptions:
        unchanged.labels(subscription.type)
    service.fastapi.state.on_refusal = refusals(service.metrics)
    return service
