"""What an operator keeps of the databases, and how it comes back: PostgreSQL's own programs, as in deploy/README.md.

`Dumps` is what any machine can do: five dumps, one after the other, of five moments. `BaseBackup` is the whole server
as it was at one moment.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL
from typing import Protocol

from yarl import URL

from embedded.databases import POSTGRES_SETTINGS, prepare_databases
from embedded.home import Home
from localservers.confinement import dies_with_us_unprivileged
from localservers.postgres import PostgresServer
from localservers.postgres_binaries import find_binaries
from tests.shop_process import ShopProcess

ORDER = ("cart", "payments", "catalog", "orders", "accounts")
"""In which databases are dumped: who only hears of things before those who tell of them."""
COUNTING_ON = ("cart", "payments")
"""Those with a file for whoever restores them."""
FILES = Path(__file__).parents[2] / "deploy" / "postgres"

Meanwhile = Callable[[], Awaitable[None]]


class Backup(Protocol):
    """One way to keep the databases."""

    name: str
    folder: Path

    async def take(self, process: ShopProcess, meanwhile: Meanwhile) -> datetime:
        """Take it of an open shop; the moment before it began. `meanwhile`: the shop goes on selling."""
        ...

    def put(self, server: Path) -> None:
        """What must lie in the new server's folder before it starts."""
        ...

    async def fill(self, process: ShopProcess, server: PostgresServer) -> None:
        """What is brought into it once it runs."""
        ...


async def restore(backup: Backup, process: ShopProcess) -> None:
    """In the place of the lost server, while the shop is closed."""
    home = Home(process.data)
    backup.put(home.postgres)
    server = PostgresServer(home.postgres, settings=POSTGRES_SETTINGS)
    server.start()
    try:
        await backup.fill(process, server)
        for service in COUNTING_ON:
            file = FILES / f"restored_{service}.sql"
            await run_program("psql", "--no-psqlrc", f"--dbname={service}", f"--file={file}", url=process.admin_url())
    finally:
        server.stop()


@dataclass
class Dumps:
    """`pg_dump --format=custom` of each database."""

    folder: Path
    name: str = "five dumps of five moments"

    async def take(self, process: ShopProcess, meanwhile: Meanwhile) -> datetime:
        """Something is sold between any two of them."""
        began = datetime.now(UTC)
        for service in ORDER:
            url = process.database_url(service)
            await run_program("pg_dump", "--format=custom", f"--file={self.folder / service}.dump", url=url)
            await meanwhile()
        return began

    def put(self, server: Path) -> None:
        """Nothing: it begins empty."""

    async def fill(self, process: ShopProcess, server: PostgresServer) -> None:
        """After the roles and databases that every form of the shop begins with.

        As the administrator: what belongs to an extension is his.
        """
        home = Home(process.data)
        (home.path / "databases-created").unlink()
        await prepare_databases(home, server, names=ORDER)
        for service in ORDER:
            options = ("--exit-on-error", "--single-transaction", f"--dbname={service}")
            dump = str(self.folder / f"{service}.dump")
            await run_program("pg_restore", *options, dump, url=server.admin_url)


@dataclass
class BaseBackup:
    """`pg_basebackup` of the one server. The administrator's password is the vault's to keep."""

    folder: Path
    name: str = "one base backup of one moment"
    _password: str = field(default="", init=False)

    async def take(self, process: ShopProcess, meanwhile: Meanwhile) -> datetime:
        """Of a moment between its beginning and its end."""
        began = datetime.now(UTC)
        self._password = (process.data / "postgres" / "password").read_text()
        options = (f"--pgdata={self.folder / 'cluster'}", "--checkpoint=fast")
        await run_program("pg_basebackup", *options, url=process.admin_url())
        await meanwhile()
        return began

    def put(self, server: Path) -> None:
        """The files as they are; the server recovers from the log that came with them."""
        server.mkdir()
        (server / "password").touch(mode=0o600)
        (server / "password").write_text(self._password)
        shutil.copytree(self.folder / "cluster", server / "cluster")
        dies_with_us_unprivileged(SIGKILL).hand_over(server)

    async def fill(self, process: ShopProcess, server: PostgresServer) -> None:
        """Nothing: it is all there."""


async def run_program(program: str, *arguments: str, url: str) -> None:
    """One of PostgreSQL's. The password travels in the environment: command lines are public on a machine."""
    process = await asyncio.create_subprocess_exec(
        find_binaries().folder / program,
        *arguments,
        env={**os.environ, **_connection(URL(url))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, f"{program} failed: {printed.decode()}"


def _connection(url: URL) -> Mapping[str, str]:
    return {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port),
        "PGUSER": url.user or "",
        "PGPASSWORD": url.password or "",
        "PGDATABASE": url.path[1:],
    }
