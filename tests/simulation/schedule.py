"""One schedule: a few shoppers, a few scarce variants, and a long row of chances for something to go wrong.

A seed decides everything: who does what next, which event arrives when and how often, what the provider's bank says,
which process dies, how time passes. Then faults end, everything is delivered, and time passes until all is quiet.
"""

from collections.abc import Callable, Collection, Coroutine
from datetime import UTC, datetime
from typing import Any

from payments.models import PaymentStatus
from tests.simulation.arrivals import Arrivals
from tests.simulation.fate import APPETITES
from tests.simulation.people import People
from tests.simulation.quiet import NOT_FINAL, next_due
from tests.simulation.rows import Books

STEPS = 80
MOST_ROUNDS = 150

ACTS = (
    "_shop_around", "_let_time_pass", "_run_a_job", "_open_payment", "_cancel", "_fulfill", "_refund", "_pay",
    "_verify", "_bank_answers", "_in_the_dashboard", "_deliver_a_letter", "_deliver_a_webhook", "_drop_a_webhook",
    "_go_on", "_crash", "_count_stock",
)  # fmt: skip
"""What may happen next; each schedule has a taste of its own."""

Choice = tuple[float, Callable[[], Coroutine[Any, Any, None]]]


class Violated(Exception):
    """Something that must always hold did not."""


class Schedule(People, Arrivals):
    """The row of what happens to a shop."""

    async def run(self, steps: Collection[int] = range(STEPS)) -> None:
        """These steps, and the quiet end. Raises Violated."""
        await self.rows.show_time(self.clock)
        self._appetite = {act: self.fate.choose(APPETITES) for act in ACTS}
        for number in steps:
            self.fate.step(number)
            self.trace.step(number)
            await self._next_step()
            await self._look()
        self.fate.step(STEPS)
        self.trace.step(STEPS)
        self.fate.is_kind = True
        self.provider.be_kind()
        await self._become_quiet()
        books = await self.rows.books()
        self._violated(self.checks.once_quiet(books, self.provider, self.gates.history))

    async def _next_step(self) -> None:
        options = await self._options()
        options = [(weight * self._appetite[act.__name__], act) for weight, act in options]
        total = sum(weight for weight, _ in options)
        point = self.fate.die.random() * total
        for weight, act in options:
            point -= weight
            if point < 0:
                await act()
                return
        await options[-1][1]()

    async def _options(self) -> list[Choice]:
        options: list[Choice] = [(4 if self.placed else 12, self._shop_around)]
        if self.placed:
            options += [(2, self._let_time_pass), (5, self._run_a_job)]
            options += [(4, self._open_payment), (1.2, self._cancel), (1.5, self._fulfill), (0.8, self._refund)]
        if self.checkouts:
            options.append((5, self._pay))
        if self.provider.all_payments():
            options += [(1.5, self._verify), (1.2, self._bank_answers), (1, self._in_the_dashboard)]
        if self.gates.letters:
            options.append((min(24, 8 * len(self.gates.letters)), self._deliver_a_letter))
        if self.webhooks:
            options += [(min(8, 4 * len(self.webhooks)), self._deliver_a_webhook), (0.4, self._drop_a_webhook)]
        if self.fibers:
            options += [(10, self._go_on), (0.5, self._crash)]
        options.append((0.8, self._count_stock))
        return options

    async def _run_a_job(self) -> None:
        """Any of them, but rather one that has something to find."""
        books, names = await self.rows.books(), list(self.shop.jobs)
        if any(row.claim.held and row.confirmed_at is None for row in books.stock.reservations.values()):
            names += ["orphan-holds"] * 8
        if any(row["status"] is PaymentStatus.CLOSING for row in books.ledger.payments.values()):
            names += ["closing"] * 4
        if any(row["status"] in NOT_FINAL for row in books.ledger.refunds.values()):
            names += ["refunds"] * 6
        await self._job(self.fate.choose(names))

    async def _job(self, name: str) -> None:
        service, run = self.shop.jobs[name]
        if any(fiber.name == f"job {name}" for fiber in self.fibers):
            return  # one runner at a time

        async def work() -> None:
            outcome = await run()
            if outcome.found:
                self.trace.tell(f"job {name}: found {outcome.found}, repaired {outcome.repaired}")

        await self._begin(service, f"job {name}", work())

    async def _look(self) -> None:
        self.webhooks += self.provider.new_webhooks()
        if self.gates.has_changed and self.rows.are_read_for_nothing:
            self.gates.has_changed = False
            books = await self.rows.books()
            self._violated(self.checks.always(books))

    def _violated(self, found: list[str]) -> None:
        if found:
            raise Violated("\n".join(found))

    async def _become_quiet(self) -> None:
        self.trace.tell("faults end")
        for number in range(MOST_ROUNDS):
            await self._finish(list(self.fibers))
            await self._deliver_all()
            for refund in self.provider.all_refunds():
                if refund.status == "pending":
                    self.provider.settle_refund(refund, processed=True)
            for name in self.shop.jobs:
                await self._job(name)
                await self._finish(list(self.fibers))
            await self._look()
            if self.gates.letters or self.webhooks:
                continue
            due = self._next_due(await self.rows.books())
            if due is None and number > 0:
                return
            wait = 1.0 if due is None else max(1.0, (due - self.clock.now).total_seconds() + 0.01)
            await self._jump(wait)
        raise Violated(f"I12: not quiet after {MOST_ROUNDS} rounds; {self._next_due(await self.rows.books())}")

    def _next_due(self, books: Books) -> datetime | None:
        deadline = self.provider.store.next_deadline
        at = None if deadline is None else datetime.fromtimestamp(deadline, UTC)
        return next_due(books, self.provider, self.settings, deadline=at)
