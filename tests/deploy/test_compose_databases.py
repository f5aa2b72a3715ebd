"""The databases that a container makes at its first start: five, and five roles that cannot enter each other's."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from sqlalchemy import text

from cart.settings import CartSettings
from chassis.database import Database
from chassis.migrations import downgrade, migrate
from localservers.postgres import PostgresServer
from localservers.postgres_binaries import find_binaries
from stack.topology import SERVICES
from tests.deploy.compose_file import ROOT

SCRIPT = ROOT / "deploy" / "postgres" / "create_databases.sh"
SECOND_ROLE = ROOT / "deploy" / "postgres" / "second_role.sql"
NAMES = [part.name for part in SERVICES]


def _password(name: str) -> str:
    """One with everything that a shell or SQL could trip over."""
    return f"{name}'s \"$(own)\\"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(Path(tmp_path_factory.mktemp("postgres")) / "data", durable=False)
    server.start()
    passwords = {f"{name.upper()}_DATABASE_PASSWORD": _password(name) for name in NAMES}
    subprocess.run(["bash", str(SCRIPT)], env={**_as_administrator(server), **passwords}, check=True)
    yield server
    server.stop()


def _as_administrator(server: PostgresServer) -> dict[str, str]:
    """What programs of PostgreSQL read from their environment."""
    admin = urlsplit(server.admin_url)
    return {
        "PATH": f"{find_binaries().folder}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGPASSWORD": unquote(str(admin.password)),
        "PGUSER": str(admin.username),
        "POSTGRES_USER": str(admin.username),
    }


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


def _give_second_role(server: PostgresServer, *, password: str) -> None:
    command = [
        "psql",
        "--quiet",
        "--no-psqlrc",
        "--dbname",
        "cart",
        "--set",
        "service=cart",
        "--file",
        str(SECOND_ROLE),
    ]
    subprocess.run(command, env={**_as_administrator(server), "PASSWORD": password}, check=True)


async def _opened(url: str) -> Database:
    database = Database(CartSettings(database_url=url))  # type: ignore[arg-type]  # pydantic reads the text
    await database.start()
    return database


async def _works(database: Database) -> None:
    """It writes to a table that either role may have made, and reads on the other pool."""
    async with database.transaction() as session:
        await session.execute(text("INSERT INTO stock_copies VALUES (gen_random_uuid(), 1, 1)"))
    assert await database.reads.fetchval("SELECT count(*) FROM stock_copies") >= 1


async def test_a_password_changes_without_a_moment_in_which_the_service_is_shut_out(server: PostgresServer) -> None:
    first = server.url("cart", user="cart", password=_password("cart"))
    settings = CartSettings(database_url=first)  # type: ignore[arg-type]  # pydantic reads the text
    await migrate(settings, "cart")
    old = await _opened(first)
    await _works(old)

    _give_second_role(server, password="another")
    second = server.url("cart", user="cart_2", password="another")
    new = await _opened(second)
    await _works(new)
    await _works(old)
    as_second = CartSettings(database_url=second)  # type: ignore[arg-type]  # as above
    await downgrade(as_second, "cart")
    await migrate(as_second, "cart")
    await _works(old)

    admin = urlsplit(server.admin_url)
    administrator = await asyncpg.connect(
        server.url("cart", user=str(admin.username), password=unquote(str(admin.password)))
    )
    owners = await administrator.fetch("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename = 'carts'")
    assert [row["tableowner"] for row in owners] == ["cart"]
    await administrator.execute("ALTER ROLE cart PASSWORD 'changed'")
    await _works(old)
    await _works(new)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(first)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(server.url("orders", user="cart_2", password="another"))
    _give_second_role(server, password="a third")
    await (await asyncpg.connect(server.url("cart", user="cart_2", password="a third"))).close()
    await administrator.close()
    await old.stop()
    await new.stop()
