"""One database, one role, and no other way in: services cannot read each other's tables by accident."""

from collections.abc import Sequence

import asyncpg


async def create_owned_database(
    admin_url: str, *, database: str, role: str, password: str, extensions: Sequence[str] = ()
) -> None:
    admin = await asyncpg.connect(admin_url)
    try:
        await _create_role(admin, role=role, password=password)
        await _create_database(admin, database=database, owner=role)
    finally:
        await admin.close()
    if extensions:
        await _create_extensions(admin_url, database=database, extensions=extensions)


async def _create_role(admin: asyncpg.Connection, *, role: str, password: str) -> None:
    known = await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    verb = "ALTER" if known else "CREATE"
    await admin.execute(
        f"{verb} ROLE {_name(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {_text(password)}"
    )


async def _create_database(admin: asyncpg.Connection, *, database: str, owner: str) -> None:
    if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
        await admin.execute(f"CREATE DATABASE {_name(database)} OWNER {_name(owner)}")
    # PostgreSQL lets every role connect to every database until it is told otherwise.
    for name in (database, "postgres", "template1"):
        await admin.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {_name(name)} FROM PUBLIC")


async def _create_extensions(admin_url: str, *, database: str, extensions: Sequence[str]) -> None:
    connection = await asyncpg.connect(admin_url, database=database)
    try:
        for extension in extensions:
            await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {_name(extension)}")
    finally:
        await connection.close()


def _name(identifier: str) -> str:
    """Role and database names cannot be query parameters."""
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    """A password cannot be a query parameter here either."""
    return "'" + value.replace("'", "''") + "'"
