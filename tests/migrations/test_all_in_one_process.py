"""`make run` migrates every service from one process, in which Alembic has one context for all of them."""

import importlib
import json
from typing import Any

import asyncpg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.database import engine_url
from chassis.migrations import downgrade, migrate
from chassis.settings import ServiceSettings
from chassis.testing import Databases
from embedded.shop import PARTS


async def tables(url: str) -> set[str]:
    """The names of a database's tables, without Alembic's own."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return {row["tablename"] for row in rows} - {"alembic_version"}


async def differences(url: str, metadata: Any) -> list[Any]:
    """How a database differs from the models."""

    def compare(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    engine = create_async_engine(engine_url(url))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(compare)
    finally:
        await engine.dispose()


async def test_each_service_gets_its_own_tables_and_gives_them_back(databases: Databases) -> None:
    settings: dict[str, ServiceSettings] = {}
    for name, (settings_class, _) in PARTS.items():
        url = await databases.create(f"together_{name}")
        settings[name] = settings_class(database_url=url, service_key=json.dumps({}))
        assert await migrate(settings[name], name) is True

    for name, its in settings.items():
        url, metadata = its.database_url.get_secret_value(), importlib.import_module(f"{name}.models").Base.metadata
        assert await tables(url) == set(metadata.tables), name
        assert await differences(url, metadata) == [], name
        await downgrade(its, name)
        assert await tables(url) == set(), name
        assert await migrate(its, name) is True
        assert await migrate(its, name) is False
        assert await differences(url, metadata) == [], name
