"""The migrations make exactly the tables that the models describe, and can be taken back."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.database import engine_url
from chassis.migrations import downgrade, migrate
from chassis.testing import Databases
from payments.models import Base
from payments.settings import PaymentsSettings

DETAILS = """
SELECT conname AS name, pg_get_constraintdef(oid) AS rule FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT table_name || '.' || column_name,
    concat_ws(' ', data_type, is_nullable, column_default, is_identity)
    FROM information_schema.columns WHERE table_schema = 'public'
"""


async def test_models_equal_migrations(databases: Databases) -> None:
    settings = await _fresh(databases, "payments_models")
    await migrate(settings, "payments")
    assert await _inspect(settings, _differences) == []


async def test_checks_indexes_and_defaults_equal_those_of_the_models(databases: Databases) -> None:
    """What Alembic does not compare: made by the models in one database and by the migrations in another."""
    migrated, modelled = await _fresh(databases, "payments_migrated"), await _fresh(databases, "payments_modelled")
    await migrate(migrated, "payments")
    await _inspect(modelled, _create_all)
    made, described = set(await _inspect(migrated, _details)), set(await _inspect(modelled, _details))
    assert {detail for detail in made - described if "alembic_version" not in str(detail)} == set()
    assert described - made == set()


async def test_migrations_go_down_and_up_again(databases: Databases) -> None:
    settings = await _fresh(databases, "payments_down")
    await migrate(settings, "payments")
    await downgrade(settings, "payments")
    assert await _inspect(settings, _tables) == ["alembic_version"]
    assert await migrate(settings, "payments") is True
    assert await migrate(settings, "payments") is False
    assert await _inspect(settings, _differences) == []


async def _fresh(databases: Databases, name: str) -> PaymentsSettings:
    return PaymentsSettings.model_validate({"database_url": await databases.create(name)})


async def _inspect(settings: PaymentsSettings, look: object) -> list[object]:
    engine = create_async_engine(engine_url(settings.database_url.get_secret_value()))
    try:
        async with engine.begin() as connection:
            found: list[object] = await connection.run_sync(look)  # type: ignore[arg-type]  # one of those below
            return found
    finally:
        await engine.dispose()


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def _create_all(connection: Connection) -> list[object]:
    Base.metadata.create_all(connection)
    return []


def _details(connection: Connection) -> list[object]:
    return [tuple(row) for row in connection.execute(text(DETAILS))]


def _tables(connection: Connection) -> list[object]:
    return list(inspect(connection).get_table_names())
