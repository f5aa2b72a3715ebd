"""Puts the payments service together."""

import asyncio
from functools import partial

from chassis.clients import Upstreams
from chassis.database import Database
from chassis.events import Bus
from chassis.service import Service, client_for
from payments import api
from payments.collection import Collection
from payments.errors import PROBLEMS
from payments.events import EVENTS
from payments.jobs import jobs, process_webhook
from payments.provider import Provider
from payments.razorpay_provider import RazorpayProvider
from payments.settings import PaymentsSettings
from payments.subscriptions import SUBSCRIPTIONS


def build(settings: PaymentsSettings, bus: Bus, upstreams: Upstreams, *, provider: Provider | None = None) -> Service:
    """The service, ready to start; with Razorpay unless another provider is handed in."""
    provider = provider or RazorpayProvider(settings)
    database = Database(settings)
    orders = client_for(settings, upstreams, "orders")
    collection = Collection(database, provider=provider, orders=orders, settings=settings)
    under_way: set[asyncio.Task[None]] = set()

    async def finish() -> None:
        await collection.close()
        if under_way:
            await asyncio.wait(under_way, timeout=5)
        await provider.close()

    return Service(
        settings,
        bus=bus,
        upstreams=upstreams,
        database=database,
        routers=(api.router,),
        subscriptions=SUBSCRIPTIONS,
        jobs=jobs(settings, provider, collection),
        events=EVENTS,
        problems=PROBLEMS,
        state={
            "settings": settings,
            "provider": provider,
            "collection": collection,
            "process_webhook": partial(process_webhook, database),
            "webhooks_under_way": under_way,
        },
        on_stop=(finish,),
    )
