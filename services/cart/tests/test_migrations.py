"""The migrations make exactly the tables that the models describe, and can be taken back."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from cart.models import Base
from cart.settings import CartSettings
from chassis.database import engine_url
from chassis.migrations import downgrade, migrate
from chassis.testing import Databases


async def test_models_equal_migrations(databases: Databases) -> None:
    settings = await _fresh(databases, "cart_models")
    await migrate(settings, "cart")
    assert await _inspect(settings, _differences) == []


async def test_migrations_go_down_and_up_again(databases: Databases) -> None:
    settings = await _fresh(databases, "cart_down")
    await migrate(settings, "cart")
    await downgrade(settings, "cart")
    assert await _inspect(settings, _tables) == ["alembic_version"]
    assert await migrate(settings, "cart") is True
    assert await migrate(settings, "cart") is False
    assert await _inspect(settings, _differences) == []


async def _fresh(databases: Databases, name: str) -> CartSettings:
    return CartSettings.model_validate({"database_url": await databases.create(name)})


async def _inspect(settings: CartSettings, look: object) -> list[object]:
    engine = create_async_engine(engine_url(settings.database_url.get_secret_value()))
    try:
        async with engine.connect() as connection:
            found: list[object] = await connection.run_sync(look)  # type: ignore[arg-type]  # one of the two below
            return found
    finally:
        await engine.dispose()


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def _tables(connection: Connection) -> list[object]:
    return list(inspect(connection).get_table_names())
