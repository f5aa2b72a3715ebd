"""For tests of a service's migrations: what stands in a database, and how that differs from the models."""

from collections.abc import Callable

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.database import engine_url
from chassis.settings import ServiceSettings

_DETAILS = """
SELECT conname AS name, pg_get_constraintdef(oid) AS rule FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT table_name || '.' || column_name,
    concat_ws(' ', data_type, is_nullable, column_default, is_identity)
    FROM information_schema.columns WHERE table_schema = 'public'
"""


class Schema:
    """The tables of one database beside the models that describe them."""

    def __init__(self, settings: ServiceSettings, metadata: MetaData) -> None:
        self._url = settings.database_url.get_secret_value()
        self._metadata = metadata

    async def differences(self) -> list[object]:
        """What Alembic would still change."""
        return await self._look(
            lambda connection: list(compare_metadata(MigrationContext.configure(connection), self._metadata))
        )

    async def details(self) -> set[object]:
        """Constraints, indexes and columns with their defaults, which Alembic does not compare."""
        return set(await self._look(lambda connection: [tuple(row) for row in connection.execute(text(_DETAILS))]))

    async def tables(self) -> list[object]:
        """The names of the tables."""
        return await self._look(lambda connection: list(inspect(connection).get_table_names()))

    async def create_all(self) -> None:
        """Make the tables from the models, without migrations."""

        def create(connection: Connection) -> list[object]:
            self._metadata.create_all(connection)
            return []

        await self._look(create)

    async def _look(self, look: Callable[[Connection], list[object]]) -> list[object]:
        engine = create_async_engine(engine_url(self._url))
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(look)
        finally:
            await engine.dispose()
