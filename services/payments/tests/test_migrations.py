"""The migrations make exactly the tables that the models describe, and can be taken back."""

from chassis.migrations import downgrade, migrate
from chassis.testing import Databases
from chassis.testing_migrations import Schema
from payments.models import Base
from payments.settings import PaymentsSettings


async def test_models_equal_migrations(databases: Databases) -> None:
    settings = await _fresh(databases, "payments_models")
    await migrate(settings, "payments")
    assert await Schema(settings, Base.metadata).differences() == []


async def test_checks_indexes_and_defaults_equal_those_of_the_models(databases: Databases) -> None:
    """What Alembic does not compare: made by the models in one database and by the migrations in another."""
    migrated, modelled = await _fresh(databases, "payments_migrated"), await _fresh(databases, "payments_modelled")
    await migrate(migrated, "payments")
    await Schema(modelled, Base.metadata).create_all()
    made, described = await Schema(migrated, Base.metadata).details(), await Schema(modelled, Base.metadata).details()
    assert {detail for detail in made - described if "alembic_version" not in str(detail)} == set()
    assert described - made == set()


async def test_migrations_go_down_and_up_again(databases: Databases) -> None:
    settings = await _fresh(databases, "payments_down")
    schema = Schema(settings, Base.metadata)
    await migrate(settings, "payments")
    await downgrade(settings, "payments")
    assert await schema.tables() == ["alembic_version"]
    assert await migrate(settings, "payments") is True
    assert await migrate(settings, "payments") is False
    assert await schema.differences() == []


async def _fresh(databases: Databases, name: str) -> PaymentsSettings:
    return PaymentsSettings.model_validate({"database_url": await databases.create(name)})
