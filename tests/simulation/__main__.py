"""`python -m tests.simulation`: schedules for as long as told on every core, or one seed again with its whole trace."""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from multiprocessing.queues import Queue

from tests.simulation.running import silence, simulator
from tests.simulation.schedule import STEPS


def main() -> int:
    """1 when something is broken."""
    parser = argparse.ArgumentParser(description="Simulate shops in virtual time.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--first", type=int, default=int(time.time()) * 1000, help="the seed to begin with")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="tell this one again")
    parser.add_argument("--without", default="", help="steps to leave out, such as 3,7,8")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return asyncio.run(_tell(arguments.seed, [int(step) for step in arguments.without.split(",") if step]))
    return _run_many(arguments.first, arguments.seconds, arguments.processes)


async def _tell(seed: int, without: list[int]) -> int:
    """One schedule, as it is."""
    with silence(), simulator() as running:
        outcome = await running.run(seed, [step for step in range(STEPS) if step not in without])
    print(outcome.told())
    return 1 if outcome.broken else 0


def _run_many(first: int, seconds: float, processes: int) -> int:
    """Every process takes every n-th seed, until the time is over."""
    context = multiprocessing.get_context("spawn")
    results: Queue[tuple[int, list[str]]] = context.Queue()
    workers = [
        context.Process(target=_work, args=(first + number, processes, seconds, results)) for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    counted = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    count = sum(number for number, _ in counted)
    broken = [told for _, found in counted for told in found]
    for told in broken:
        print(told, end="\n\n")
    rate = f"{count / seconds * 60:,.0f} a minute"
    print(f"{count} schedules from seed {first} in {seconds:g} s: {rate}; {len(broken)} broken")
    return 1 if broken else 0


def _work(first: int, stride: int, seconds: float, results: "Queue[tuple[int, list[str]]]") -> None:
    results.put(asyncio.run(_count(first, stride, seconds)))


async def _count(first: int, stride: int, seconds: float) -> tuple[int, list[str]]:
    """How many schedules there were, and the shortest trace of each that broke something, up to three."""
    broken: list[str] = []
    seed, until = first, time.monotonic() + seconds
    with silence(), simulator() as running:
        while time.monotonic() < until and len(broken) < 3:
            outcome = await running.run(seed)
            if outcome.broken:
                broken.append((await running.shrunk(outcome)).told())
            seed += stride
    return (seed - first) // stride, broken


if __name__ == "__main__":
    sys.exit(main())
