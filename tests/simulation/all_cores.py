"""Schedules on every core: a module of its own, since a process that is spawned cannot find what `__main__` has."""

import asyncio
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.running import silence, simulator

MOST_TOLD = 3
"""Broken schedules after which a process has said enough."""


def run_many(first: int, seconds: float, processes: int) -> int:
    """Every process takes every n-th seed, until the time is over; 1 when something is broken."""
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        working = [pool.submit(_work, first + number, processes, seconds) for number in range(processes)]
        counted = [work.result() for work in working]
    count = sum(number for number, _ in counted)
    broken = [told for _, found in counted for told in found]
    for told in broken:
        print(told, end="\n\n")
    rate = f"{count / seconds * 60:,.0f} a minute"
    print(f"{count} schedules from seed {first} in {seconds:g} s: {rate}; {len(broken)} broken")
    return 1 if broken else 0


def _work(first: int, stride: int, seconds: float) -> tuple[int, list[str]]:
    return asyncio.run(_count(first, stride, seconds))


async def _count(first: int, stride: int, seconds: float) -> tuple[int, list[str]]:
    """How many schedules there were, and the shortest trace of each that broke something."""
    broken: list[str] = []
    seed, until = first, time.monotonic() + seconds
    with silence(), simulator() as running:
        while time.monotonic() < until and len(broken) < MOST_TOLD:
            outcome = await running.run(seed)
            if outcome.broken:
                broken.append((await running.shrunk(outcome)).told())
            seed += stride
    return (seed - first) // stride, broken
