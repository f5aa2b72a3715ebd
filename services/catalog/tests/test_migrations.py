"""The migrations make exactly the tables that the models describe, and can be taken back."""

from catalog.models import Base
from catalog.settings import CatalogSettings
from chassis.migrations import downgrade, migrate
from chassis.testing import Databases
from chassis.testing_migrations import Schema

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


async def _look(settings: CatalogSettings) -> tuple[list[object], list[object]]:
    """How the database differs from the models, and its tables beside the chassis' own."""
    schema = Schema(settings, Base.metadata)
    chassis = {"alembic_version", "outbox", "inbox", "idempotency_keys", "job_runs"}
    return await schema.differences(), sorted(set(await schema.tables()) - chassis, key=str)
