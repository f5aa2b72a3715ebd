"""Catalog as a process of its own, as in production: what a page costs there, without gateway and neighbours.

`python -m bench.catalog_alone <port> <management port>` serves; CATALOG_DATABASE_URL says from where.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from catalog.app import build
from catalog.settings import CatalogSettings
from chassis.command_line import Alone, listeners
from chassis.inprocess import InProcessBus
from chassis.runner import run
from chassis.settings import Role
from chassis.telemetry import configure_logging
from localservers.ports import free_port
from tests.patience import soon


def serve(port: int, management_port: int) -> None:
    """Answer requests until told to stop; events and jobs are another process's work."""
    configure_logging()
    settings = CatalogSettings(port=port, management_port=management_port, role=Role.WEB)
    bus = InProcessBus("nobody listens to it, so it is never opened")
    service = build(settings, bus, {})
    uvloop.run(run(Alone(service, bus, {}), listeners(service)))


@contextmanager
def catalog_alone(database_url: str) -> Iterator[tuple[str, int]]:
    """A running catalog on a database that is there: its address and process id."""
    port, management_port = free_port(), free_port()
    environment = {**os.environ, "CATALOG_DATABASE_URL": database_url, "CATALOG_JWKS": '{"keys": []}'}
    command = [sys.executable, "-m", "bench.catalog_alone", str(port), str(management_port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        soon(lambda: _listens(port), what="The start of catalog", within=30)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    async def connect() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    try:
        asyncio.run(connect())
    except OSError:
        return False
    return True


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
