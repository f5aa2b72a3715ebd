"""Puts the cart service together."""

from cart import api, internal
from cart.errors import PROBLEMS
from cart.jobs import jobs
from cart.settings import CartSettings
from cart.shopper import caller_of
from cart.subscriptions import SUBSCRIPTIONS
from chassis.clients import Upstreams
from chassis.events import Bus
from chassis.operations import operations_router
from chassis.service import Service, client_for

OPERATIONS = operations_router(jobs_for=("payments",), events_for=("orders",))


def build(settings: CartSettings, bus: Bus, upstreams: Upstreams) -> Service:
    """The service, ready to start."""
    return Service(
        settings,
        bus=bus,
        upstreams=upstreams,
        routers=(api.router, internal.router, OPERATIONS),
        subscriptions=SUBSCRIPTIONS,
        jobs=jobs(settings),
        problems=PROBLEMS,
        state={"settings": settings, "catalog": client_for(settings, upstreams, "catalog")},
        caller_of=caller_of,
    )
