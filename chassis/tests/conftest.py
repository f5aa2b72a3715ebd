"""A started database with nothing but the chassis's own tables, and a broker, for tests of the mechanism itself."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from chassis.database import Database, metadata
from chassis.ids import new_id
from chassis.settings import ServiceSettings
from chassis.testing import Databases, Harness, ServiceFactory
from localservers.broker import RunningBroker
from localservers.rabbitmq import provide_rabbitmq

# The toy is a service like the real ones, which are installed: its migrations are found by the name of its package.
sys.path.insert(0, str(Path(__file__).parent))

from toy.app import ToySettings, build


class ShopSettings(ServiceSettings):
    """A service that exists only here."""

    service = "shop"


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    url = await databases.create(f"shop_{new_id().hex}")
    database = Database(ShopSettings(database_url=url))  # type: ignore[arg-type]  # pydantic reads the text as a secret
    await database.start()
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata().create_all)
    yield database
    await database.stop()


@pytest.fixture(scope="session")
def broker() -> Iterator[RunningBroker]:
    """One that tests may kill."""
    broker = provide_rabbitmq(Path(__file__).parents[2] / ".cache" / "rabbitmq", private=True)
    yield broker
    broker.close()


@pytest.fixture
async def toy(service_factory: ServiceFactory) -> AsyncIterator[Harness]:
    """The toy service on an empty database, impatient about locks."""
    async with service_factory(ToySettings, build, lock_timeout=0.3) as harness:
        yield harness


@pytest.fixture
async def somebody(toy: Harness) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else on the toy's database, e.g. to hold a lock; gone at the end, however the test ends."""
    connection = await asyncpg.connect(toy.database.url)
    try:
        yield connection
    finally:
        await connection.close()
