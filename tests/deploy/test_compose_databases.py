"""The databases that a container makes at its first start: five, and five roles that cannot enter each other's."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from localservers.postgres import PostgresServer
from localservers.postgres_binaries import find_binaries
from stack.topology import SERVICES
from tests.deploy.compose_file import ROOT

SCRIPT = ROOT / "deploy" / "postgres" / "create_databases.sh"
NAMES = [part.name for part in SERVICES]


def _password(name: str) -> str:
    """One with everything that a shell or SQL could trip over."""
    return f"{name}'s \"$(own)\\"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(Path(tmp_path_factory.mktemp("postgres")) / "data", durable=False)
    server.start()
    admin = urlsplit(server.admin_url)
    passwords = {f"{name.upper()}_DATABASE_PASSWORD": _password(name) for name in NAMES}
    connection = {
        "PATH": f"{find_binaries().folder}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGPASSWORD": unquote(str(admin.password)),
        "POSTGRES_USER": str(admin.username),
    }
    subprocess.run(["bash", str(SCRIPT)], env={**connection, **passwords}, check=True)
    yield server
    server.stop()


@pytest.mark.parametrize("name", NAMES)
async def test_a_role_enters_its_own_database_and_no_other(server: PostgresServer, name: str) -> None:
    password = _password(name)
    own = await asyncpg.connect(server.url(name, user=name, password=password))
    await own.execute("CREATE TABLE mine (id int)")
    assert not await own.fetchval(
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = $1", name
    )
    await own.close()
    for other in {*NAMES, "postgres", "template1"} - {name}:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(server.url(other, user=name, password=password))


async def test_the_catalogue_can_search(server: PostgresServer) -> None:
    catalog = await asyncpg.connect(server.url("catalog", user="catalog", password=_password("catalog")))
    found = await catalog.fetch("SELECT extname FROM pg_extension")
    assert {"pg_trgm", "unaccent", "fuzzystrmatch"} <= {row["extname"] for row in found}
    await catalog.close()
