"""`make run` migrates every service from one process, in which Alembic has one context for all of them."""

import importlib
import json

from chassis.migrations import downgrade, migrate
from chassis.settings import ServiceSettings
from chassis.testing import Databases
from chassis.testing_migrations import Schema
from embedded.shop import PARTS


async def test_each_service_gets_its_own_tables_and_gives_them_back(databases: Databases) -> None:
    settings: dict[str, ServiceSettings] = {}
    for name, (settings_class, _) in PARTS.items():
        url = await databases.create(f"together_{name}")
        settings[name] = settings_class(database_url=url, service_key=json.dumps({}))
        assert await migrate(settings[name], name) is True

    for name, its in settings.items():
        metadata = importlib.import_module(f"{name}.models").Base.metadata
        schema = Schema(its, metadata)
        assert set(await schema.tables()) == {*metadata.tables, "alembic_version"}, name
        assert await schema.differences() == [], name
        await downgrade(its, name)
        assert await schema.tables() == ["alembic_version"], name
        assert await migrate(its, name) is True
        assert await migrate(its, name) is False
        assert await schema.differences() == [], name
