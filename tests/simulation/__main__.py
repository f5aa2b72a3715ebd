"""`python -m tests.simulation`: schedules for as long as told on every core, or one seed again with its whole trace."""

import argparse
import asyncio
import os
import sys
import time

from tests.simulation.all_cores import run_many
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
    return run_many(arguments.first, arguments.seconds, arguments.processes)


async def _tell(seed: int, without: list[int]) -> int:
    """One schedule, as it is."""
    with silence(), simulator() as running:
        outcome = await running.run(seed, [step for step in range(STEPS) if step not in without])
    print(outcome.told())
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
