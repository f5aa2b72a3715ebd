"""What may happen in which order: a minute of seeds that nobody has seen before, and the seeds that taught us
something. `make test-simulation` runs them on every core for as long as told.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from payments.jobs import Work
from tests.simulation.running import Outcome, silence, simulator

ROOT = Path(__file__).parents[2]
SECONDS = 55.0
ALWAYS_THE_SAME = (*range(50), 1_795_879_049_611)
"""Fifty that any two runs have in common, and those that found a bug of the product."""


@pytest.mark.slow
async def test_a_minute_of_schedules() -> None:
    first, count = int(time.time()) * 1000, 0
    broken: Outcome | None = None
    until = time.monotonic() + SECONDS
    with silence(), simulator() as running:
        for seed in ALWAYS_THE_SAME:
            outcome = await running.run(seed)
            assert outcome.broken is None, outcome.told()
        while broken is None and time.monotonic() < until:
            outcome = await running.run(first + count)
            count += 1
            if outcome.broken:
                broken = await running.shrunk(outcome)
    print(f"{count} schedules from seed {first}")
    assert count > 100, "the machine is too slow for this to prove anything"
    assert broken is None, broken.told()


async def test_a_seed_is_replayed_exactly() -> None:
    with silence(), simulator() as running:
        once = [(await running.run(seed)).trace for seed in range(20)]
        again = [(await running.run(seed)).trace for seed in range(20)]
    with silence(), simulator() as another:
        elsewhere = [(await another.run(seed)).trace for seed in range(20)]
    assert once == again == elsewhere
    assert len({tuple(trace) for trace in once}) == 20


async def test_no_job_of_payments_is_forgotten() -> None:
    with silence(), simulator() as running:
        jobs = await running.jobs()
    simulated = {run.__name__ for service, run in jobs.values() if service == "payments"}
    assert simulated == {name for name in vars(Work) if not name.startswith("_")}


def test_the_program_counts_and_tells_a_schedule_again() -> None:
    program = [sys.executable, "-m", "tests.simulation"]
    counted = subprocess.run(
        [*program, "--seconds", "1", "--processes", "2", "--first", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert counted.returncode == 0, counted.stderr
    assert re.fullmatch(r"\d+ schedules from seed 0 in 1 s: [\d,]+ a minute; 0 broken\n", counted.stdout)
    told = subprocess.run(
        [*program, "--seed", "3", "--without", "5,6"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert told.stdout.endswith("seed 3: nothing is broken\nsee it again: make test-simulation SEED=3 WITHOUT=5,6\n")


async def test_every_kind_of_move_is_made() -> None:
    """A simulation that never gets anywhere would find nothing."""
    missing = {
        *("T1", "T2", "T3", "T4", "T4b", "T5", "T6", "T7", "T8", "T10", "T11", "T12"),
        *(("held", after) for after in ("held", "released", "committed", "expired")),
        *((None, after) for after in ("held", "released")),
        ("committed", "returned"),
        *("new", "creating", "open", "closing", "closed", "settled"),
        *("requested", "submitted", "processed", "failed"),
    }
    seed = 0
    with silence(), simulator() as running:
        while missing and seed < 4000:
            books = (await running.run(seed)).books
            missing -= {line["move"] for line in books.orders.moves}
            missing -= {(before, after) for _, before, after, _, _ in books.stock.history}
            missing -= {status for _, status, _ in books.ledger.payment_history}
            missing -= {status for _, status in books.ledger.refund_history}
            seed += 1
    assert not missing
