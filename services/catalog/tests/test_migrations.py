"""The migrations make exactly the tables that the models describe, and can be taken back."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from catalog.models import Base
from catalog.settings import CatalogSettings
from chassis.database import engine_url
from chassis.migrations import downgrade, migrate
from chassis.testing import Databases

TABLES = [
    "categories",
    "products",
    "reservation_history",
    "reservation_items",
    "reservations",
    "search_words",
    "stock_levels",
    "stock_movements",
    "variants",
]


async def test_migrations_make_the_tables_of_the_models(databases: Databases) -> None:
    settings = CatalogSettings.model_validate({"database_url": await databases.create("catalog_models")})
    await migrate(settings, "catalog")
    assert await _look(settings) == ([], TABLES)


async def test_migrations_go_down_and_up_again(databases: Databases) -> None:
    settings = CatalogSettings.model_validate({"database_url": await databases.create("catalog_down")})
    await migrate(settings, "catalog")
    await downgrade(settings, "catalog")
    assert (await _look(settings))[1] == []

    assert await migrate(settings, "catalog") is True
    assert await migrate(settings, "catalog") is False
    assert (await _look(settings))[0] == []


async def _look(settings: CatalogSettings) -> tuple[list[object], list[str]]:
    """How the database differs from the models, and its tables beside the chassis' own."""
    engine = create_async_engine(engine_url(settings.database_url.get_secret_value()))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_compare)
    finally:
        await engine.dispose()


def _compare(connection: Connection) -> tuple[list[object], list[str]]:
    differences = list(compare_metadata(MigrationContext.configure(connection), Base.metadata))
    chassis = {"alembic_version", "outbox", "inbox", "idempotency_keys"}
    return differences, sorted(set(inspect(connection).get_table_names()) - chassis)
