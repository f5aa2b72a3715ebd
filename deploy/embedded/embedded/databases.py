"""One database server for the shop on one machine, and in it a database and a role for each service."""

from collections.abc import Sequence

from embedded.home import Home
from localservers.postgres import PostgresServer

POSTGRES_SETTINGS = {"max_connections": "200", "shared_buffers": "128MB"}
EXTENSIONS = {"catalog": ("pg_trgm", "unaccent")}


async def prepare_databases(home: Home, server: PostgresServer, *, names: Sequence[str]) -> None:
    """Databases whose roles cannot enter each other's; once per data folder."""
    done = home.path / "databases-created"
    if done.exists():
        return
    passwords = home.secrets().database_passwords
    for name in names:
        await server.create_role_and_database(
            name, role=name, password=passwords[name], extensions=EXTENSIONS.get(name, ())
        )
    done.touch()
