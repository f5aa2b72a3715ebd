"""What a purchase asks of the database: a number that must not grow unseen, since every order pays for it."""

import asyncio
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from tests.conftest import Till


class Statements:
    """Everything that the service's sessions send, with BEGIN and COMMIT."""

    def __init__(self, till: "Till") -> None:
        self._sent: list[str] = []
        event.listen(till.harness.database.engine.sync_engine, "checkout", self._watch)

    def _watch(self, connection: Any, *_rest: Any) -> None:
        connection.driver_connection.add_query_logger(self._note)

    def _note(self, logged: Any) -> None:
        self._sent.append(logged.query)

    async def since_last(self) -> int:
        """How many there were since the last look."""
        await asyncio.sleep(0)  # the driver tells of a statement in the loop's next turn
        count = len(self._sent)
        self._sent.clear()
        return count


async def test_a_purchase_takes_few_statements(till: "Till") -> None:
    first = await till.placed()  # connections are opened and set up for the first one
    await till.open(first)
    statements = Statements(till)
    order = await till.placed()
    assert await statements.since_last() <= 3
    await till.open(order)
    assert await statements.since_last() <= 2
    await till.recorded()  # written for several purchases together, so it is no part of one
    proof = await till.pay(order)
    for name, most in (("payment.authorized", 6), ("payment.captured", 8)):
        webhook = await till.webhook(name, proof["razorpay_payment_id"])
        await statements.since_last()
        await till.hand_on(webhook)
        assert 0 < await statements.since_last() <= most, name
