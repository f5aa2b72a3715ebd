"""The migrations make exactly the tables that the models describe, and can be taken back."""

from accounts.models import Base
from accounts.settings import AccountsSettings
from chassis.migrations import downgrade, migrate
from chassis.testing import Databases
from chassis.testing_migrations import Schema


async def test_migrations_make_the_tables_of_the_models(databases: Databases) -> None:
    settings = AccountsSettings.model_validate({"database_url": await databases.create("accounts_models")})
    await migrate(settings, "accounts")

    assert await _look(settings) == ([], ["addresses", "attempt_counters", "refresh_tokens", "sessions", "users"])


async def test_migrations_go_down_and_up_again(databases: Databases) -> None:
    settings = AccountsSettings.model_validate({"database_url": await databases.create("accounts_down")})
    await migrate(settings, "accounts")
    await downgrade(settings, "accounts")
    assert (await _look(settings))[1] == []

    assert await migrate(settings, "accounts") is True
    assert await migrate(settings, "accounts") is False
    assert (await _look(settings))[0] == []


async def _look(settings: AccountsSettings) -> tuple[list[object], list[object]]:
    """How the database differs from the models, and its tables beside the chassis' own."""
    schema = Schema(settings, Base.metadata)
    chassis = {"alembic_version", "outbox", "inbox", "idempotency_keys", "job_runs"}
    return await schema.differences(), sorted(set(await schema.tables()) - chassis, key=str)
