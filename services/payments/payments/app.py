"""Puts the payments service together."""

from chassis.clients import Upstreams
from chassis.database import Database
from chassis.events import Bus
from chassis.operations import operations_router
from chassis.service import Service, client_for
from payments import admin_api, api, internal, observation, refunds
from payments.adoption import Adoption
from payments.collection import Collection
from payments.daily_statement import Statements
from payments.errors import PROBLEMS
from payments.events import EVENTS
from payments.figures import counted_calls, figures
from payments.job_overview import JobOverview
from payments.jobs import Work, jobs
from payments.postgres_ledger import in_ledger, ledger_of, one_step_of
from payments.provider import Provider
from payments.provider_calls import RecordedProvider
from payments.razorpay_provider import RazorpayProvider
from payments.settings import PaymentsSettings
from payments.subscriptions import SUBSCRIPTIONS
from payments.webhooks import Processing

OTHERS = ("orders", "catalog", "cart", "accounts")
"""The services beside this one, in the order in which their jobs are shown."""

OPERATIONS = operations_router(jobs_for=(), events_for=("orders",))


def build(settings: PaymentsSettings, bus: Bus, upstreams: Upstreams, *, provider: Provider | None = None) -> Service:
    """The service, ready to start; with Razorpay unless another provider is handed in."""
    database = Database(settings)
    provider = RecordedProvider(provider or RazorpayProvider(settings), database)
    orders = client_for(settings, upstreams, "orders")
    ledger = ledger_of(database)
    collection = Collection(ledger, one_step=one_step_of(database), provider=provider, orders=orders, settings=settings)
    webhooks = Processing(
        database,
        apply_payment=in_ledger(observation.observe_webhook),
        apply_refund=in_ledger(refunds.observe_refund),
        account_id=settings.razorpay_account_id,
    )
    adoption = Adoption(ledger, provider=provider, orders=orders)
    work = Work(settings, ledger, provider=provider, collection=collection, adoption=adoption)
    statements = Statements(database, provider, orders)

    async def finish() -> None:
        await collection.close()
        await webhooks.settle()
        await provider.close()

    service = Service(
        settings,
        bus=bus,
        upstreams=upstreams,
        database=database,
        routers=(api.router, admin_api.router, internal.router, OPERATIONS),
        subscriptions=SUBSCRIPTIONS,
        jobs=jobs(work, webhooks, statements),
        events=EVENTS,
        problems=PROBLEMS,
        figures=figures,
        state={
            "settings": settings,
            "provider": provider,
            "collection": collection,
            "webhooks": webhooks,
            "statements": statements,
            "job_overview": JobOverview({name: client_for(settings, upstreams, name) for name in OTHERS}),
        },
        on_stop=(finish,),
    )
    provider.on_call = counted_calls(service.metrics)
    return service
