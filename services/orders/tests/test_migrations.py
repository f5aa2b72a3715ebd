"""The migrations make exactly the tables that the models describe, and can be taken back."""

from chassis.migrations import downgrade, migrate
from chassis.testing import Databases
from chassis.testing_migrations import Schema
from orders.models import Base
from orders.settings import OrdersSettings


async def test_models_equal_migrations(databases: Databases) -> None:
    settings = await _fresh(databases, "orders_models")
    await migrate(settings, "orders")
    assert await Schema(settings, Base.metadata).differences() == []


async def test_checks_indexes_and_defaults_equal_those_of_the_models(databases: Databases) -> None:
    """What Alembic does not compare: made by the models in one database and by the migrations in another."""
    migrated, modelled = await _fresh(databases, "orders_migrated"), await _fresh(databases, "orders_modelled")
    await migrate(migrated, "orders")
    await Schema(modelled, Base.metadata).create_all()
    made, described = await Schema(migrated, Base.metadata).details(), await Schema(modelled, Base.metadata).details()
    assert {detail for detail in made - described if "alembic_version" not in str(detail)} == set()
    assert described - made == set()


async def test_migrations_go_down_and_up_again(databases: Databases) -> None:
    settings = await _fresh(databases, "orders_down")
    schema = Schema(settings, Base.metadata)
    await migrate(settings, "orders")
    await downgrade(settings, "orders")
    assert await schema.tables() == ["alembic_version"]
    assert await migrate(settings, "orders") is True
    assert await migrate(settings, "orders") is False
    assert await schema.differences() == []


async def _fresh(databases: Databases, name: str) -> OrdersSettings:
    return OrdersSettings.model_validate({"database_url": await databases.create(name)})
