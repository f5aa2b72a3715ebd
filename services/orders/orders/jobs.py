"""What orders does by the clock."""

from chassis.database import Database
from chassis.jobs import Job, JobOutcome
from orders import cancellation
from orders.lookup import orders_in_review
from orders.postgres_orders import PostgresOrders
from orders.settings import OrdersSettings


def jobs(settings: OrdersSettings) -> tuple[Job, ...]:
    """Job → period → process."""

    async def close_unpaid(database: Database) -> JobOutcome:
        return await cancellation.close_unpaid(PostgresOrders(database))

    async def end_overdue(database: Database) -> JobOutcome:
        return await cancellation.end_overdue(PostgresOrders(database), limit=settings.closing_limit)

    return (
        Job(name="deadlines", every=5.0, run=close_unpaid),
        Job(name="closing-limit", every=5.0, run=end_overdue),
        Job(name="orders-in-review", every=60.0, run=orders_in_review),
    )
