"""The migrations make exactly the tables that the models describe, and can be taken back."""

from cart.models import Base
from cart.settings import CartSettings
from chassis.migrations import downgrade, migrate
from chassis.testing import Databases
from chassis.testing_migrations import Schema


async def test_models_equal_migrations(databases: Databases) -> None:
    settings = await _fresh(databases, "cart_models")
    await migrate(settings, "cart")
    assert await Schema(settings, Base.metadata).differences() == []


async def test_migrations_go_down_and_up_again(databases: Databases) -> None:
    settings = await _fresh(databases, "cart_down")
    await migrate(settings, "cart")
    await downgrade(settings, "cart")
    assert await Schema(settings, Base.metadata).tables() == ["alembic_version"]
    assert await migrate(settings, "cart") is True
    assert await migrate(settings, "cart") is False
    assert await Schema(settings, Base.metadata).differences() == []


async def _fresh(databases: Databases, name: str) -> CartSettings:
    return CartSettings.model_validate({"database_url": await databases.create(name)})
