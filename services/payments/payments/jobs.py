"""What payments does by the clock: everything that should have come by itself, and everything that must be repeated."""

from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

from chassis.database import Database
from chassis.jobs import Job, JobOutcome
from payments import closing, observation, provider_calls, reconciliation, refunds
from payments.adoption import Adoption
from payments.collection import Collection
from payments.daily_statement import Statements
from payments.ledger import OpenLedger
from payments.provider import Provider
from payments.settings import PaymentsSettings
from payments.webhooks import Processing


def jobs(work: "Work", webhooks: Processing, statements: Statements) -> tuple[Job, ...]:
    """The table: job, period in seconds, process. Each turn costs a query also when there is nothing to do."""

    async def process_webhooks() -> JobOutcome:
        return await webhooks.process_due()

    return (
        Job("closing", 2, _alone(work.ask_about_closing)),
        Job("refunds", 3, _alone(work.pursue_refunds)),
        Job("webhooks", 5, _alone(process_webhooks)),
        Job("creations", 15, _alone(work.resolve_creations)),
        Job("open", 30, _alone(work.ask_about_open)),
        Job("capture", 60, _alone(work.capture_authorised)),
        Job("returns", 300, _alone(work.return_what_is_left)),
        Job("webhook-silence", 300, reconciliation.notice_silent_webhook),
        Job("sweep", 900, _alone(work.sweep)),
        Job("lost-orders", 900, _alone(work.close_lost)),
        Job("daily-statement", 3600, statements.make_due),
        Job("refund-sweep", 3600, _alone(work.sweep_refunds)),
        Job("provider-calls-cleanup", 3600, provider_calls.forget_old_calls),
    )


def _alone(process: Callable[[], Awaitable[JobOutcome]]) -> Callable[[Database], Awaitable[JobOutcome]]:
    """A process that has its ledger already."""

    async def run(_database: Database) -> JobOutcome:
        return await process()

    return run


class Work:
    """Joins each job's process with the ledger and the provider, and with the processes it hands its cases to."""

    def __init__(
        self,
        settings: PaymentsSettings,
        ledger: OpenLedger,
        *,
        provider: Provider,
        collection: Collection,
        adoption: Adoption,
    ) -> None:
        self._patience = settings.attempt_patience
        self._ledger = ledger
        self._provider = provider
        self._collection = collection
        self._adoption = adoption
        self._ask = partial(observation.ask_provider, ledger, provider)

    async def pursue_refunds(self) -> JobOutcome:
        """Every refund whose turn it is."""
        waiting = await refunds.due(self._ledger)
        answered = 0
        for refund_id in waiting:
            answered += await refunds.pursue(self._ledger, self._provider, refund_id)
        return JobOutcome(found=len(waiting), repaired=answered, unresolved=len(waiting) - answered)

    async def resolve_creations(self) -> JobOutcome:
        """Creations whose answer was lost."""
        return await reconciliation.resolve_creations(self._ledger, look_up=self._collection.look_up)

    async def ask_about_closing(self) -> JobOutcome:
        """Payments that orders waits for."""

        async def close(payment_id: UUID) -> bool:
            async with self._ledger() as ledger:
                return await closing.close_if_nothing_came(ledger, payment_id, patience=self._patience)

        return await reconciliation.ask_about_closing(self._ledger, ask=self._ask, close=close)

    async def ask_about_open(self) -> JobOutcome:
        """Payments without news."""
        return await reconciliation.ask_about_open(self._ledger, ask=self._ask)

    async def capture_authorised(self) -> JobOutcome:
        """Money that the provider did not take by itself."""
        return await reconciliation.capture_authorised(self._ledger, self._provider)

    async def return_what_is_left(self) -> JobOutcome:
        """Money that must still go back, and refunds that were not looked at."""
        check = partial(refunds.check_refunds, self._ledger, self._provider)
        return await reconciliation.return_what_is_left(self._ledger, check_refunds=check)

    async def sweep(self) -> JobOutcome:
        """What webhooks and polls left out."""
        return await reconciliation.sweep(self._ledger, self._provider, adopt=self._adoption.adopt)

    async def close_lost(self) -> JobOutcome:
        """Payments whose order does not exist any more."""
        return await self._adoption.close_lost()

    async def sweep_refunds(self) -> JobOutcome:
        """Refunds made in the provider's dashboard that nobody told us of."""
        return await reconciliation.sweep_refunds(self._ledger, self._provider, apply=refunds.apply_refund)
