"""What orders does by the clock."""

from chassis.database import Database
from chassis.jobs import Job, JobOutcome
from orders.cancellation import close_unpaid, end_overdue
from orders.lookup import orders_in_review
from orders.settings import OrdersSettings


def jobs(settings: OrdersSettings) -> tuple[Job, ...]:
    """Job → period → process."""

    async def end_closing(database: Database) -> JobOutcome:
        return await end_overdue(database, limit=settings.closing_limit)

    return (
        Job(name="deadlines", every=5.0, run=close_unpaid),
        Job(name="closing-limit", every=5.0, run=end_closing),
        Job(name="orders-in-review", every=60.0, run=orders_in_review),
    )
