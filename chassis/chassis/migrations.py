"""Schema changes: Alembic inside each service's package, one runner at a time, and a start that costs one SELECT
when there is nothing to do.

Migrations are expand-contract: a release only adds, and what it no longer needs is dropped by the one after the
next, so that old and new processes run side by side.
"""

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import asyncpg
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.database import engine_url, metadata, plain_url
from chassis.settings import ServiceSettings

LOCK = 0x48414154
"""Key of the advisory lock under which a database is migrated."""


def _revisions(package: str) -> tuple[str, set[str]]:
    """The newest revision among the package's files and all of them, found without importing Alembic."""
    revisions: set[str] = set()
    replaced: set[str] = set()
    for file in files(f"{package}.migrations").joinpath("versions").iterdir():
        if file.name.endswith(".py"):
            source = file.read_text()
            found = re.search(r'^revision(?::[^=]+)? = "([^"]+)"', source, re.MULTILINE)
            before = re.search(r'^down_revision(?::[^=]+)? = "([^"]+)"', source, re.MULTILINE)
            revisions.update([found[1]] if found else [])
            replaced.update([before[1]] if before else [])
    (head,) = revisions - replaced
    return head, revisions


def head_revision(package: str) -> str:
    """The newest revision among the package's files."""
    return _revisions(package)[0]


async def is_migrated(url: str, package: str) -> bool:
    """Whether a database has all that this package needs.

    A revision that the package does not know is a newer release's, which only added to it.
    """
    head, known = _revisions(package)
    current = await current_revision(url)
    return current == head or (current is not None and current not in known)


async def current_revision(url: str) -> str | None:
    """The revision a database is at; None before the first."""
    connection = await asyncpg.connect(plain_url(url), timeout=5)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return revision
    finally:
        await connection.close()


async def migrate(settings: ServiceSettings, package: str, *, target: str = "head") -> bool:
    """Bring the service's database to `target`; whether anything had to be done.

    A schema newer than this release is left as it is: after a rollback the older release runs on it. A statement that
    waits for a lock longer than `lock_timeout` raises, since all who come after it would wait, too; migrate again.
    Not to be run for two services at the same time in one process: Alembic keeps its context in module globals.
    """
    url = settings.database_url.get_secret_value()
    if target == "head" and await is_migrated(url, package):
        return False
    await _run(settings, package, lambda command, config: command.upgrade(config, target))
    return True


async def downgrade(settings: ServiceSettings, package: str, *, target: str = "base") -> None:
    """Take the service's database back to `target`."""
    await _run(settings, package, lambda command, config: command.downgrade(config, target))


async def _run(settings: ServiceSettings, package: str, action: Callable[[Any, Any], None]) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.set_main_option("path_separator", "os")
    # A machine that vanished in the middle must not keep the lock for hours.
    keepalive = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
    url = engine_url(settings.database_url.get_secret_value())
    engine = create_async_engine(url, connect_args={"server_settings": keepalive})

    def locked(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(settings.lock_timeout * 1000)}")
        config.attributes["connection"] = connection
        action(command, config)

    try:
        async with engine.begin() as connection:
            await connection.run_sync(locked)
    finally:
        await engine.dispose()


def run_env(target: MetaData) -> None:
    """The whole of a service's `env.py`: run the migrations on the connection that holds the lock."""
    from alembic import context

    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=target,
        compare_server_default=False,
    )
    context.run_migrations()


def create_chassis_tables() -> None:
    """First migration of a service: the chassis' tables as they are today."""
    from alembic import op

    metadata().create_all(op.get_bind())


def add_job_runs() -> None:
    """Second migration of a service: how jobs ended, and events found by what they are correlated with.

    A database that begins today has both from its first migration.
    """
    from alembic import op

    metadata().create_all(op.get_bind())
    op.create_index("ix_outbox_correlation_id", "outbox", ["correlation_id"], if_not_exists=True)


def drop_job_runs() -> None:
    """The way back of `add_job_runs`."""
    from alembic import op

    op.drop_index("ix_outbox_correlation_id", "outbox")
    op.drop_table("job_runs")


def drop_chassis_tables() -> None:
    """The way back of `create_chassis_tables`."""
    from alembic import op

    metadata().drop_all(op.get_bind())
