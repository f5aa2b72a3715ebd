"""Three PostgreSQL databases in virtual time, shared by the tests of this folder."""

from collections.abc import AsyncIterator

import pytest

from chassis.testing import Databases
from tests.simulation.clock import Clock
from tests.simulation.desk import Desk
from tests.simulation.goods import levels
from tests.simulation.postgres_rows import Servers
from tests.simulation.rows import MemoryRows, Rows


@pytest.fixture(scope="session")
async def servers(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Opened once."""
    servers = Servers(tmp_path_factory.mktemp("virtual time"))
    await servers.open(databases)
    yield servers
    await servers.close()


@pytest.fixture(params=["memory", "postgres"])
async def desk(request: pytest.FixtureRequest, servers: Servers) -> Desk:
    """Fresh rows of either kind."""
    clock = Clock()
    rows: Rows = MemoryRows(clock, levels()) if request.param == "memory" else await servers.rows(clock, levels())
    await rows.show_time(clock)
    return Desk(rows, clock)
