"""The simulation finds bugs: each of these is planted by handing in a book that is broken in one place."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from catalog.claims import Claim, Status, Wanted
from catalog.levels import Level
from chassis.events import Event
from orders.models import Order
from orders.order_states import Provided
from payments.models import Attempt, Payment, Rank
from tests.simulation.clock import Clock
from tests.simulation.memory import Row
from tests.simulation.memory_ledger import MemoryLedger
from tests.simulation.memory_orders import MemoryOrderBook
from tests.simulation.memory_stock import MemoryStockroom
from tests.simulation.rows import Letter, MemoryRows, Rows
from tests.simulation.running import silence, simulator

REFUSED = "asyncpg.exceptions.CheckViolationError"
WITHIN = 1500
"""Schedules, some twenty seconds of work at most."""


class WithoutGuard(MemoryOrderBook):
    """Moves an order wherever it is by now."""

    def holds(self, row: Row, order: Order, provided: Provided) -> bool:
        return True


class ForgetsToReturn(MemoryOrderBook):
    """A request to give money back is lost."""

    async def record(self, event: Event, *, order_id: UUID, version: int) -> None:
        if event.type != "refund.requested.v1":
            await super().record(event, order_id=order_id, version=version)


class OlderNewsWins(MemoryOrderBook):
    """What payments said last is shown, though it is not what it says now."""

    async def show_payment(self, order_id: UUID, *, status: Any, version: int) -> Any:
        if order_id not in self.tables.orders:
            return None
        self.transaction.change(self.tables.orders, order_id, payment_status=status, payment_version=version)
        return status, self.tables.orders[order_id]["status"]


class CountsRefundsTwice(MemoryLedger):
    """What is on its way back is not counted, so it goes back again."""

    async def given_back(self, attempt_id: UUID) -> int:
        return sum(
            row["amount"]
            for row in self.tables.refunds.values()
            if row["attempt_id"] == attempt_id and row["status"] == "processed"
        )


class ForgetsAttempts(MemoryLedger):
    """Every observation of an attempt is its first."""

    async def find_attempt(self, attempt_id: UUID) -> Attempt | None:
        return None


class StepsBack(MemoryLedger):
    """An attempt is where it was seen last, not where it was seen farthest."""

    async def keep(self, attempt: Attempt, *, source: str, rank: Rank, applied: bool, raw: dict[str, Any]) -> None:
        attempt.rank = rank
        await super().keep(attempt, source=source, rank=rank, applied=applied, raw=raw)


class LosesVersions(MemoryLedger):
    """Reports are sent under a number that was used before."""

    async def keep_version(self, payment: Payment) -> None:
        """Nothing is kept."""


class LeavesNothingReserved(MemoryStockroom):
    """What is sold stays reserved."""

    async def commit_held(self, held: Wanted, *, order_id: UUID) -> None:
        for key, quantity in held.items():
            self._move(key, on_hand=-quantity, reserved=0)
            self.transaction.add(self.tables.movements, (key, "committed", -quantity, self.tables.levels[key].on_hand))


class ForgetsThatItIsClosed(MemoryStockroom):
    """What comes after the end of an order is applied all the same."""

    async def transition(self, claim: Claim, status: Status, *, is_closed: bool = False, **rest: Any) -> None:
        await super().transition(claim, status, is_closed=False, **rest)


class IgnoresInbox(MemoryRows):
    """An event is applied as often as it is delivered."""

    async def receive(self, book: Any, consumer: str, letter: Letter) -> bool:
        return True


class CommitsHalf(MemoryRows):
    """What a crash interrupts stays as it was left."""

    def _commit(self, service: str, transaction: Any) -> None:
        transaction.events = transaction.events[:1]
        super()._commit(service, transaction)


BROKEN: dict[str, tuple[type[MemoryRows], dict[str, Any], tuple[str, ...]]] = {
    "missing guard": (MemoryRows, {"order_book": WithoutGuard}, ("I4", "I12", "I9")),
    "refund forgotten": (MemoryRows, {"order_book": ForgetsToReturn}, ("I9",)),
    "older news wins": (MemoryRows, {"order_book": OlderNewsWins}, ("I14",)),
    "refund counted twice": (MemoryRows, {"ledger": CountsRefundsTwice}, ("I10",)),
    "attempt forgotten": (MemoryRows, {"ledger": ForgetsAttempts}, ("I4", "I10", "I12", "I14")),
    "rank steps back": (MemoryRows, {"ledger": StepsBack}, ("I14",)),
    "versions lost": (MemoryRows, {"ledger": LosesVersions}, ("I14",)),
    "reserved stays": (
        MemoryRows,
        {"stockroom": LeavesNothingReserved},
        ("I2", REFUSED),
    ),
    "closed forgotten": (MemoryRows, {"stockroom": ForgetsThatItIsClosed}, ("I4", "I12")),
    "inbox ignored": (IgnoresInbox, {}, ("I13",)),
    "outbox torn": (CommitsHalf, {}, ("I9", "I12", "I14")),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", BROKEN)
async def test_a_planted_bug_is_found(bug: str) -> None:
    kind, parts, expected = BROKEN[bug]

    async def broken_rows(clock: Clock, shelves: Sequence[Level]) -> Rows:
        return kind(clock, list(shelves), **parts)

    with silence(), simulator(broken_rows) as running:
        seed, outcome = 0, await running.run(0)
        while outcome.broken is None and seed < WITHIN:
            seed += 1
            outcome = await running.run(seed)
        assert outcome.broken is not None, f"not found within {WITHIN} schedules"
        shortest = await running.shrunk(outcome)
    print(f"{bug}: seed {seed}, {len(shortest.steps)} steps, {shortest.broken}")
    assert shortest.kind in expected, shortest.told()
    assert shortest.kind == outcome.kind
    assert len(shortest.steps) < len(outcome.steps)
