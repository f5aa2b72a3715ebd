"""`make test-faults`: one fault after the other is brought to a busy stack, and after each the books must be right.

    python -m tests.faults                         every fault, on a stack of its own
    python -m tests.faults --short                 the few that `make test` has, on the stack of `tests.with_stack`
    python -m tests.faults --only "killed" --seed 7

After each fault: every part is ready and somebody can buy within 60 s, the shop gets quiet, every invariant holds, and
nothing is parked that was not injected. A fault that was not seen to happen fails the run.
"""

import argparse
import asyncio
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from localservers.ports import free_port
from tests.faults.exhaustion import exhaustion_faults
from tests.faults.fault import Fault
from tests.faults.killing import crash_faults, kill_faults
from tests.faults.links import laid
from tests.faults.messages import message_faults
from tests.faults.partitions import partition_faults
from tests.faults.routed_stack import door_to_broker, port_behind
from tests.faults.run import Run
from tests.faults.seeds import KNOWN
from tests.faults.servers import server_faults
from tests.faults.stage import HASTE, Stage
from tests.shop import Shop
from tests.shop_process import ShopProcess
from tests.with_stack import CLOSES_WITHIN, port_with_room

ROOT = Path(__file__).parents[2]
SHORT = (
    "orders dies at publish.after",
    "catalog dies at ack.before",
    "cart dies at commit.before",
    "RabbitMQ is killed",
    "PostgreSQL is killed",
    "everything is published again",
)


def all_faults() -> list[Fault]:
    """In the order of the run."""
    return [
        *server_faults(),
        *message_faults(),
        *crash_faults(),
        *kill_faults(),
        *partition_faults(),
        *exhaustion_faults(),
    ]


def main() -> int:
    """0 when the shop withstood everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few faults, on the stack of `tests.with_stack`")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--list", action="store_true", help="only tell the names")
    parser.add_argument("--hold", type=float, default=0.0, help="seconds to leave the shop alone after a failure")
    arguments = parser.parse_args()
    faults = [fault for fault in all_faults() if arguments.only in fault.name]
    if arguments.short:
        faults = [fault for name in SHORT for fault in faults if fault.name == name]
    if arguments.list:
        print("\n".join(fault.name for fault in faults))
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # whoever ends us finds no stack left behind
    seed = secrets.randbelow(10_000) if arguments.seed is None else arguments.seed
    return asyncio.run(_main(faults, seed=seed, is_short=arguments.short, hold=arguments.hold))


async def _main(faults: Sequence[Fault], *, seed: int, is_short: bool, hold: float) -> int:
    async with _borrowed() if is_short else _own() as stage:
        run = Run(stage, seed=seed, hold=hold)
        return await run.all(faults, known=() if is_short else KNOWN)


@asynccontextmanager
async def _own() -> AsyncIterator[Stage]:
    """A stack over wires, opened for this run."""
    with tempfile.TemporaryDirectory(prefix="haat-faults-") as place:
        folder, points, plan = Path(place), Path(place, "points"), Path(place, "wires.json")
        points.mkdir()
        process = ShopProcess(
            folder,
            port=port_with_room(),
            simulator_port=free_port(),
            form="tests.faults.routed_stack",
            closes_within=CLOSES_WITHIN,
        )
        environment = {
            **HASTE,
            "HAAT_CRASH_POINTS": str(points),
            "HAAT_WIRES": str(plan),
            "HAAT_OPERATOR_PASSWORD": secrets.token_urlsafe(24),
            "PYTHONPATH": str(ROOT),
        }
        async with laid(lambda target: port_behind(process.data, target), plan) as wires, _http() as http:
            try:
                await asyncio.to_thread(process.open, **environment)
                shop = Shop(process.gateway, process.simulator, http, process)
                yield Stage(process, shop, points, wires, door_to_broker(process.data))
                await asyncio.to_thread(process.close, signal.SIGTERM)
            finally:
                await asyncio.to_thread(process.kill)


@asynccontextmanager
async def _borrowed() -> AsyncIterator[Stage]:
    """The stack that `tests.with_stack` has opened for us and others."""
    data = Path(os.environ["HAAT_STACK"])
    ports = [int(os.environ[name].rsplit(":", 1)[1]) for name in ("HAAT_URL", "HAAT_SIMULATOR_URL")]
    process = ShopProcess(data.parent, data=data, port=ports[0], simulator_port=ports[1], form="stack")
    async with _http() as http:
        shop = Shop(process.gateway, process.simulator, http, process)
        yield Stage(process, shop, Path(os.environ["HAAT_CRASH_POINTS"]))


@asynccontextmanager
async def _http() -> AsyncIterator[httpx.AsyncClient]:
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(timeout=10, cookies=no_cookies) as http:
        yield http


if __name__ == "__main__":
    sys.exit(main())
