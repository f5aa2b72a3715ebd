"""What payments does by the clock: everything that should have come by itself, and everything that must be repeated."""

from functools import partial
from uuid import UUID

from chassis.database import Database
from chassis.jobs import Job, JobOutcome
from chassis.telemetry import get_logger
from payments import collection, observation, reconciliation, refunds, webhooks
from payments.provider import Provider
from payments.settings import PaymentsSettings


async def process_webhook(database: Database, event_id: str) -> None:
    """Apply one stored webhook; whatever goes wrong, it stays stored and is tried again."""
    try:
        await webhooks.process(
            database,
            event_id,
            apply_payment=observation.observe_webhook,
            apply_refund=refunds.observe_refund,
        )
    except Exception as error:  # noqa: BLE001 - the stored webhook is the record; the next round tries again
        get_logger().warning("webhook not processed", event_id=event_id, error=repr(error))


def jobs(settings: PaymentsSettings, provider: Provider, collecting: collection.Collection) -> tuple[Job, ...]:
    """The table: job, period in seconds, process."""
    work = _Work(settings, provider, collecting)
    return (
        Job("webhooks", 2, work.process_webhooks),
        Job("closing", 2, work.ask_about_closing),
        Job("refunds", 2, work.submit_refunds),
        Job("creations", 5, work.resolve_creations),
        Job("open", 30, work.ask_about_open),
        Job("capture", 30, work.capture_authorised),
        Job("returns", 30, work.return_what_is_left),
    )


class _Work:
    """Joins each job's process with the provider, and with the processes it hands its cases to."""

    def __init__(self, settings: PaymentsSettings, provider: Provider, collecting: collection.Collection) -> None:
        self._patience = settings.attempt_patience
        self._provider = provider
        self._collecting = collecting

    async def process_webhooks(self, database: Database) -> JobOutcome:
        waiting = await webhooks.due(database)
        for event_id in waiting:
            await process_webhook(database, event_id)
        return JobOutcome(found=len(waiting))

    async def submit_refunds(self, database: Database) -> JobOutcome:
        waiting = await refunds.due(database)
        decided = 0
        for refund_id in waiting:
            decided += await refunds.submit(database, self._provider, refund_id)
        return JobOutcome(found=len(waiting), repaired=decided, unresolved=len(waiting) - decided)

    async def resolve_creations(self, database: Database) -> JobOutcome:
        return await reconciliation.resolve_creations(database, look_up=self._collecting.look_up)

    async def ask_about_closing(self, database: Database) -> JobOutcome:
        async def close(payment_id: UUID) -> bool:
            async with database.transaction() as session:
                return await collection.close_if_nothing_came(session, payment_id, patience=self._patience)

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
