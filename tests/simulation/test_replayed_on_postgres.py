"""What makes the simulation in memory honest: on PostgreSQL and the product's own statements the same seeds take the
same way, line by line, and end in the same rows.

`SIMULATION_SEEDS=500` replays more of them.
"""

import os

import pytest

from tests.simulation.end_state import differences, end_state
from tests.simulation.postgres_rows import Servers
from tests.simulation.running import Simulator, silence

FIRST = 9_000_000
COUNT = int(os.environ.get("SIMULATION_SEEDS", "20"))


@pytest.mark.slow
async def test_the_same_seeds_go_the_same_way_on_postgres(servers: Servers) -> None:
    in_memory, on_postgres = Simulator(), Simulator(servers.rows)
    try:
        with silence():
            for seed in range(FIRST, FIRST + COUNT):
                expected, found = await in_memory.run(seed), await on_postgres.run(seed)
                assert found.broken is None, found.told()
                assert found.trace == expected.trace, f"seed {seed} goes another way"
                assert not (differ := differences(end_state(expected.books), end_state(found.books))), (seed, differ)
    finally:
        in_memory.close()
        on_postgres.close()
