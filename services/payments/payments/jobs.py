"""What payments does by the clock: everything that should have come by itself, and everything that must be repeated."""

from functools import partial
from uuid import UUID

from chassis.database import Database
from chassis.jobs import Job, JobOutcome
from payments import closing, observation, reconciliation, refunds
from payments.collection import Collection
from payments.provider import Provider
from payments.settings import PaymentsSettings
from payments.webhooks import Processing


def jobs(
    settings: PaymentsSettings, provider: Provider, *, collection: Collection, webhooks: Processing
) -> tuple[Job, ...]:
    """The table: job, period in seconds, process. Each turn costs a query also when there is nothing to do."""
    work = _Work(settings, provider, collection, webhooks)
    return (
        Job("closing", 2, work.ask_about_closing),
        Job("refunds", 3, work.pursue_refunds),
        Job("webhooks", 5, work.process_webhooks),
        Job("creations", 15, work.resolve_creations),
        Job("open", 30, work.ask_about_open),
        Job("capture", 60, work.capture_authorised),
        Job("returns", 300, work.return_what_is_left),
        Job("webhook-silence", 300, reconciliation.notice_silent_webhook),
        Job("sweep", 900, work.sweep),
    )


class _Work:
    """Joins each job's process with the provider, and with the processes it hands its cases to."""

    def __init__(
        self, settings: PaymentsSettings, provider: Provider, collection: Collection, webhooks: Processing
    ) -> None:
        self._patience = settings.attempt_patience
        self._provider = provider
        self._collection = collection
        self._webhooks = webhooks

    async def process_webhooks(self, _database: Database) -> JobOutcome:
        return await self._webhooks.process_due()

    async def pursue_refunds(self, database: Database) -> JobOutcome:
        waiting = await refunds.due(database)
        answered = 0
        for refund_id in waiting:
            answered += await refunds.pursue(database, self._provider, refund_id)
        return JobOutcome(found=len(waiting), repaired=answered, unresolved=len(waiting) - answered)

    async def resolve_creations(self, database: Database) -> JobOutcome:
        return await reconciliation.resolve_creations(database, look_up=self._collection.look_up)

    async def ask_about_closing(self, database: Database) -> JobOutcome:
        async def close(payment_id: UUID) -> bool:
            async with database.transaction() as session:
                return await closing.close_if_nothing_came(session, payment_id, patience=self._patience)

        ask = partial(observation.ask_provider, database, self._provider)
        return await reconciliation.ask_about_closing(database, ask=ask, close=close)

    async def ask_about_open(self, database: Database) -> JobOutcome:
        ask = partial(observation.ask_provider, database, self._provider)
        return await reconciliation.ask_about_open(database, ask=ask)

    async def capture_authorised(self, database: Database) -> JobOutcome:
        return await reconciliation.capture_authorised(database, self._provider)

    async def return_what_is_left(self, database: Database) -> JobOutcome:
        check = partial(refunds.check_refunds, database, self._provider)
        return await reconciliation.return_what_is_left(database, check_refunds=check)

    async def sweep(self, database: Database) -> JobOutcome:
        return await reconciliation.sweep(database, self._provider)
