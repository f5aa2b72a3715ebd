"""Opening the shop, in the order that takes the least time: servers first, imports while they come up."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from embedded.block import Opening, block
from embedded.databases import POSTGRES_SETTINGS, prepare_databases
from embedded.doors import Doors
from embedded.home import SERVICES, Home, Secrets
from embedded.simulator import Simulator, SimulatorDidNotStart
from localservers.postgres import PostgresServer, PostgresServerError

if TYPE_CHECKING:
    from embedded.shop import Shop

DRAIN = 2.0
"""Seconds that requests under way get after Ctrl-C."""
LOOK_EVERY = 1.0
"""Seconds between looks at the database server."""


def open_shop(home: Home, doors: Doors, *, started: float) -> int:
    """Serve until Ctrl-C; the exit status."""
    signal.signal(signal.SIGTERM, _leave)
    public_url = f"http://localhost:{doors.port}"
    secrets = home.secrets()
    server = PostgresServer(home.postgres, settings=POSTGRES_SETTINGS)
    simulator = Simulator(
        data=home.simulator,
        port=doors.simulator_port,
        secrets=secrets,
        webhook_url=f"http://127.0.0.1:{doors.port}/api/v1/payments/webhooks/razorpay",
        return_url=f"{public_url}/docs",
        log=home.log,
    )
    status = 0
    try:
        server.launch()
        simulator.launch()
        status = _open(home, server, simulator, secrets, public_url=public_url, doors=doors, started=started)
    except (PostgresServerError, SimulatorDidNotStart) as failure:
        print(failure, file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    except RuntimeError as error:
        # Before Python 3.12, what interrupts the making of a class among the imports comes wrapped.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        status = 130
    finally:
        simulator.stop()
        server.stop()
    sys.stdout.flush()
    # A thread that still waits for the provider must not keep the terminal waiting: what it does is repeatable.
    os._exit(status)


def _leave(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _open(
    home: Home,
    server: PostgresServer,
    simulator: Simulator,
    secrets: Secrets,
    *,
    public_url: str,
    doors: Doors,
    started: float,
) -> int:
    import uvloop

    from chassis.settings import SettingsRefused
    from chassis.telemetry import configure_logging
    from embedded.shop import Shop  # three seconds of CPU, spent while PostgreSQL and the simulator start

    with home.log.open("a", buffering=1) as log:
        configure_logging(stream=log)
        server.wait_ready()

        def print_block() -> None:
            seconds = time.monotonic() - started
            print(block(Opening(public_url, simulator.url, home.path, home.log, seconds)), flush=True)

        premises = Premises(home, server, simulator, secrets, public_url)
        try:
            uvloop.run(_serve(premises, Shop, doors=doors, on_ready=print_block))
        except SettingsRefused as refusal:
            print(refusal, file=sys.stderr)
            return 1
    print("Closed. The data is kept; `make run` opens again.")
    return 0


@dataclass(frozen=True, slots=True)
class Premises:
    """What the shop stands on."""

    home: Home
    server: PostgresServer
    simulator: Simulator
    secrets: Secrets
    public_url: str

    def database_url(self, name: str) -> str:
        """The database of a service, as its own role."""
        return self.server.url(name, user=name, password=self.secrets.database_passwords[name])


async def _serve(premises: Premises, shop_class: "type[Shop]", *, doors: Doors, on_ready: Callable[[], None]) -> None:
    from chassis.inprocess import InProcessBus
    from chassis.runner import Listener, run
    from chassis.tracing import configure_tracing
    from gateway.app import listeners as listeners_of

    await prepare_databases(premises.home, premises.server, names=(*SERVICES, "bus"))
    bus = InProcessBus(premises.database_url("bus"))
    shop = shop_class(
        secrets=premises.secrets,
        database_urls={name: premises.database_url(name) for name in SERVICES},
        bus=bus,
        public_url=premises.public_url,
        simulator_url=premises.simulator.url,
    )
    configure_tracing(shop.gateway.settings.otlp_endpoint)
    await migrate_and_fill(shop)
    await asyncio.to_thread(premises.simulator.wait_ready)
    public, _ = listeners_of(shop.gateway)
    listeners = [replace(public, host="127.0.0.1", port=doors.port, drain=DRAIN)]
    if doors.management_port is not None:
        listeners.append(Listener(shop.management(), "127.0.0.1", doors.management_port, drain=1))
    keeping = asyncio.create_task(_keep_running(premises.server))
    try:
        await run(shop, listeners, on_ready=on_ready)
    finally:
        keeping.cancel()


async def _keep_running(server: PostgresServer) -> None:
    """Start the database server again when it has ended by itself: from this thread, as it must not outlive it.

    Meanwhile nothing is served, which without a database is no loss.
    """
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if server.is_running:
            continue
        print("PostgreSQL has ended; it is started again.", file=sys.stderr, flush=True)
        try:
            server.restart()
        except PostgresServerError as failure:
            print(failure, file=sys.stderr, flush=True)


async def migrate_and_fill(shop: "Shop") -> None:
    """Bring every database to its newest shape, one after the other, and put the demo's goods and people in."""
    import accounts.registration
    import catalog.demo
    from chassis.migrations import migrate

    for name, service in shop.services.items():
        await migrate(service.settings, name)
    for name, fill in (("catalog", catalog.demo.seed_demo), ("accounts", accounts.registration.ensure_demo_users)):
        database = shop.services[name].database
        await database.start()
        try:
            await fill(database)
        finally:
            await database.stop()
