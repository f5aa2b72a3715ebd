"""`make seed SIZE=100000`: a large catalogue, for benchmarks and for looking at slow lists that are not."""

import sys
import time

from embedded.home import Home


def seed(home: Home, size: int) -> int:
    """Fill the catalogue while the shop is closed; the exit status."""
    from localservers.postgres import PostgresServer

    if not (home.path / "databases-created").exists():
        print("There is no shop yet; open it once with `make run`, stop it, and repeat.", file=sys.stderr)
        return 1
    from embedded.databases import POSTGRES_SETTINGS

    began = time.monotonic()
    with home.alone():
        server = PostgresServer(home.postgres, settings=POSTGRES_SETTINGS)
        server.start()
        try:
            import asyncio

            url = server.url("catalog", user="catalog", password=home.secrets().database_passwords["catalog"])
            asyncio.run(_fill(url, size))
        finally:
            server.stop()
    print(f"The catalogue holds {size} more products, made in {time.monotonic() - began:.1f} s.")
    return 0


async def _fill(url: str, size: int) -> None:
    from pydantic import SecretStr

    from catalog.demo import fill_large
    from catalog.settings import CatalogSettings
    from chassis.database import Database
    from chassis.migrations import migrate

    settings = CatalogSettings(database_url=SecretStr(url), statement_timeout=600)
    await migrate(settings, "catalog")
    database = Database(settings)
    await database.start()
    try:
        await fill_large(database, size)
    finally:
        await database.stop()
