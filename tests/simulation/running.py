"""Running schedules: one seed after the other, and what a broken one says."""

import logging
import shutil
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import asdict

from catalog.levels import Level
from razorpay_simulator.variants import Variants
from tests.simulation.clock import Clock
from tests.simulation.fate import Fate
from tests.simulation.goods import OTHER_PRICES, levels
from tests.simulation.interleaving import Crash
from tests.simulation.provider import ProviderLedger, SimulatedProvider
from tests.simulation.rows import Books, MemoryRows, Rows
from tests.simulation.schedule import STEPS, Schedule, Violated
from tests.simulation.shop import CLOCKS, Jobs

MakeRows = Callable[[Clock, list[Level]], Awaitable[Rows]]
"""Empty rows but for the shelves."""


@dataclass(frozen=True)
class Outcome:
    """How a schedule went."""

    seed: int
    steps: Collection[int]
    trace: list[str]
    broken: str | None
    """What did not hold, or the error that a process raised."""
    books: Books

    @property
    def kind(self) -> str:
        """What is broken, in a word: the first invariant, or the class of an error."""
        lines = (self.broken or "").strip().splitlines() or [""]
        line = lines[0] if lines[0].startswith("I") else lines[-1]
        return line.split(":", maxsplit=1)[0]

    def told(self) -> str:
        """All that is needed to understand it and to see it again."""
        left_out = [number for number in range(STEPS) if number not in self.steps]
        without = f" WITHOUT={','.join(map(str, left_out))}" if left_out else ""
        again = f"see it again: make test-simulation SEED={self.seed}{without}"
        return "\n".join([*self.trace, "", f"seed {self.seed}: {self.broken or 'nothing is broken'}", again])


class Simulator:
    """Runs schedules in this process."""

    def __init__(self, make_rows: MakeRows | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="haat-simulation-"))
        self._ledger = ProviderLedger(self._folder)
        self._make_rows = make_rows or memory_rows

    async def run(self, seed: int, steps: Collection[int] = range(STEPS)) -> Outcome:
        """One schedule, from the beginning to the quiet end; with only these of its steps, if some are named."""
        clock, fate = Clock(), Fate(seed)
        variants, clocks, price = _variants(fate), fate.choose(list(CLOCKS)), fate.choose(OTHER_PRICES)
        self._ledger.begin()
        try:
            provider = SimulatedProvider(self._ledger, clock, fate, variants, CLOCKS[clocks].payments)
            rows = await self._make_rows(clock, levels(price))
            schedule = Schedule(rows, clock, fate, provider, settings=CLOCKS[clocks])
            schedule.trace.tell(f"clocks {clocks}, other price {price}, {_told(variants)}")
            broken = await _broken(schedule, steps)
            return Outcome(seed, steps, schedule.trace.lines, broken, await rows.books())
        finally:
            self._ledger.end()

    async def jobs(self) -> Jobs:
        """The jobs that schedules run, by name."""
        clock, fate = Clock(), Fate(0)
        provider = SimulatedProvider(self._ledger, clock, fate, Variants(), CLOCKS["as delivered"].payments)
        rows = await self._make_rows(clock, levels())
        return Schedule(rows, clock, fate, provider, settings=CLOCKS["as delivered"]).shop.jobs

    async def shrunk(self, found: Outcome) -> Outcome:
        """The same breach by fewer steps: halves are left out first, single steps last."""
        chunk = len(found.steps) // 2
        while chunk:
            for start in range(0, len(found.steps), chunk):
                kept = [*list(found.steps)[:start], *list(found.steps)[start + chunk :]]
                again = await self.run(found.seed, kept)
                if again.kind == found.kind:
                    found = again
                    break
            else:
                chunk //= 2
        return found

    def close(self) -> None:
        """Forget the provider."""
        self._ledger.close()
        shutil.rmtree(self._folder, ignore_errors=True)


async def _broken(schedule: Schedule, steps: Collection[int]) -> str | None:
    try:
        await schedule.run(steps)
    except Violated as violated:
        return str(violated)
    except (Exception, Crash) as error:  # noqa: BLE001 - whatever a process raised that nobody expected
        return "".join(traceback.format_exception(error))
    finally:
        await schedule.abandon()
    return None


async def memory_rows(clock: Clock, shelves: list[Level]) -> Rows:
    """A new shop in memory."""
    return MemoryRows(clock, shelves)


def _variants(fate: Fate) -> Variants:
    """Where Razorpay's documents leave it open, each schedule takes one reading."""
    readings: dict[str, tuple[Any, ...]] = {
        "smaller_capture": ("refused", "allowed"),
        "released_status": ("refunded", "failed"),
        "late_second_payment": ("released", "captured"),
        "refund_answer": ("processed", "pending", "pending"),
        "refund_outcome": ("processed", "processed", "failed"),
        "refunded_when": ("created", "processed"),
        "payment_failed_webhook": ("sent", "missing"),
        "list_order": ("newest_first", "oldest_first"),
    }
    return Variants(**{name: fate.choose(values) for name, values in readings.items()})


def _told(variants: Variants) -> str:
    usual = Variants()
    return ", ".join(f"{name} {value}" for name, value in asdict(variants).items() if value != getattr(usual, name))


@contextmanager
def silence() -> Iterator[None]:
    """Alarms are part of the play; nobody reads them thousands of times."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def simulator(make_rows: MakeRows | None = None) -> Iterator[Simulator]:
    """A simulator that is closed at the end."""
    running = Simulator(make_rows)
    try:
        yield running
    finally:
        running.close()
