"""What cart does by the clock: job → period → what happens."""

from cart.abandonment import delete_abandoned
from cart.settings import CartSettings
from chassis.database import Database
from chassis.jobs import Job, JobOutcome

HOUR = 3600.0


def jobs(settings: CartSettings) -> tuple[Job, ...]:
    """The jobs of this service."""

    async def abandoned_carts(database: Database) -> JobOutcome:
        deleted = await delete_abandoned(database, older_than=settings.guest_cart_lifetime)
        return JobOutcome(found=deleted, repaired=deleted)

    return (Job(name="abandoned-carts", every=HOUR, run=abandoned_carts),)
