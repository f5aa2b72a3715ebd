"""Several releases, and several processes of one, meet at the same database."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from toy.app import ToySettings

from chassis.migrations import current_revision, downgrade, migrate
from chassis.testing import Databases
from localservers import ports
from localservers.postgres import PostgresServer


def settings_for(url: str) -> ToySettings:
    return ToySettings(database_url=url, lock_timeout=0.2)  # type: ignore[arg-type]  # pydantic reads the text


async def test_a_release_that_was_rolled_back_leaves_the_newer_schema_as_it_is(databases: Databases) -> None:
    url = await databases.create("toy_of_tomorrow")
    settings = settings_for(url)
    assert await migrate(settings, "toy") is True
    connection = await asyncpg.connect(url)
    await connection.execute(
        "ALTER TABLE things ADD COLUMN colour text; UPDATE alembic_version SET version_num = '9999'"
    )
    assert await migrate(settings, "toy") is False
    assert await current_revision(url) == "9999"
    await connection.close()


async def test_processes_that_start_together_migrate_once(databases: Databases) -> None:
    url = await databases.create("toy_of_four")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parent),
        "TOY_DATABASE_URL": url,
    }
    four = [
        await asyncio.create_subprocess_exec(sys.executable, "-m", "toy", "migrate", env=environment) for _ in range(4)
    ]
    async with asyncio.timeout(60):
        assert [await process.wait() for process in four] == [0, 0, 0, 0]
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT string_agg(version_num, ' ') FROM alembic_version") == "0001"
    await connection.close()


async def test_who_comes_before_the_database_waits_for_it(tmp_path: Path) -> None:
    """In Kubernetes everything starts at once, and a step that fails is held back longer each time."""
    server = PostgresServer(tmp_path / "data", port=ports.free_port(), durable=False)
    server.start()
    url = await Databases(server).create("toy_too_early")
    server.stop()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent), "TOY_DATABASE_URL": url}
    early = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "toy", "migrate", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert early.stderr is not None
    try:
        async with asyncio.timeout(60):
            assert b"waiting for the database" in await early.stderr.readline()
            server.start()
            assert await early.wait() == 0
        assert await current_revision(url) == "0001"
    finally:
        server.stop()


async def test_a_migration_does_not_make_the_shop_wait_behind_it(databases: Databases) -> None:
    """A dump holds every table while it reads; whoever waits for such a table blocks all who come later."""
    url = await databases.create("toy_being_dumped")
    settings = settings_for(url)
    await migrate(settings, "toy")
    dump = await asyncpg.connect(url)
    async with dump.transaction():
        await dump.execute("LOCK TABLE things IN ACCESS SHARE MODE")
        with pytest.raises(DBAPIError, match="lock timeout"):
            await downgrade(settings, "toy")
    assert await current_revision(url) == "0001"
    await downgrade(settings, "toy")
    assert await current_revision(url) is None
    await dump.close()
