"""`make test-rolling`: every process of a busy shop is replaced, twice, and nobody notices.

Two of everything, requests and events in processes apart; cart and payments do both in each, so that two releases take
from one queue and relays hand over. Clients reach the gateways through a balancer that follows readiness, as a
Service of a cluster does. Each process gets SIGTERM, and the next one's turn comes when it is ready again.

In the second round cart and orders become the next release, one process at a time: its column is there before it, both
releases answer and consume side by side, and `order.placed` is told in both versions.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import asyncpg
import httpx
import psutil

from stack.topology import CART, PARTS, PAYMENTS
from tests.invariants import settled_violations
from tests.patience import soon
from tests.replay import opened_replay
from tests.rolling.balancer import Balancer
from tests.rolling.broker_rules import allow_to_publish
from tests.rolling.load import Load, Recorder
from tests.shop import Shop
from tests.shop_process import ShopProcess
from tests.with_stack import stack_in

ROOT = Path(__file__).parents[2]
OPENS_WITHIN = 300.0
QUIET_WITHIN = 120.0
SIDE_BY_SIDE = 5.0
"""Seconds of trade with both releases at work."""

WHOLE = (CART, PAYMENTS)
"""Those whose two processes both answer, consume and relay: the locks of relay and jobs go from one to the other."""
SHOP = {
    **{f"{part.prefix}REPLICAS": "2" for part in PARTS},
    **{f"{part.prefix}ROLE": "split" for part in PARTS if part.has_worker and part not in WHOLE},
    "PYTHONPATH": str(ROOT),
}
NEXT_ORDERS, NEXT_CART = "tests.rolling.next_orders", "tests.rolling.next_cart"
FIRST_ROUND: Sequence[tuple[str, str]] = [(part.name, "") for part in PARTS]
"""What is replaced by what: a part or one of its processes, and another release where it is not the same again."""


@dataclass
class Roll:
    """One run on one shop."""

    process: ShopProcess
    load: Load
    recorder: Recorder
    replaced: int = 0
    complaints: list[str] = field(default_factory=list)

    async def all(self) -> None:
        """Both rounds."""
        for name, release in FIRST_ROUND:
            await self.replace(name, release)
        for name in ("accounts", "catalog"):
            await self.replace(name)
        await self._become_the_next_release()
        for name in ("payments", "gateway"):
            await self.replace(name)

    async def _become_the_next_release(self) -> None:
        """Consumers first, then producers; the migration before all."""
        await self._run(NEXT_ORDERS, "migrate", environment=self._environment_of("orders-1"))
        await allow_to_publish(self.process, "orders", "order.placed.v2")
        began = await self._value("SELECT clock_timestamp()")
        await self.replace("cart-1", NEXT_CART)
        await self.replace("orders-1", NEXT_ORDERS)
        await asyncio.sleep(SIDE_BY_SIDE)
        placed = "SELECT count(DISTINCT placed_through) FROM orders WHERE placed_at > $1"
        releases = await self._value(placed, began)
        await self.replace("cart-2", NEXT_CART)
        await self.replace("orders-2", NEXT_ORDERS)
        await self.replace("orders-worker", NEXT_ORDERS)
        if releases != 2:
            self.complaints.append(f"orders were placed by {releases} releases while two were at work")

    async def replace(self, name: str, release: str = "") -> None:
        """As an operator does it, with what people met meanwhile."""
        made, failed = self.recorder.made.total(), len(self.recorder.failed)
        options = ["--release", release] if release else []
        printed = await self._run("stack", "restart", name, *options, environment=dict(os.environ))
        lines = printed.splitlines()
        self.replaced += len(lines)
        failures = len(self.recorder.failed) - failed
        print("\n".join(lines), flush=True)
        kind = "the next release" if release else "the same release"
        told = f"{self.recorder.made.total() - made} requests meanwhile, {failures or 'none'} failed"
        print(f"{name} is {kind} again, {told}" if not release else f"{name} is {kind}, {told}", flush=True)

    async def _run(self, module: str, *words: str, environment: dict[str, str]) -> str:
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *words,
            cwd=self.process.folder,
            env={**environment, "HAAT_DATA": str(self.process.data), "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await running.communicate()
        assert running.returncode == 0, f"`{module} {' '.join(words)}` failed: {printed.decode()}"
        return printed.decode().strip()

    def _environment_of(self, name: str) -> dict[str, str]:
        return psutil.Process(self.process.parts()[name]["pid"]).environ()

    async def _value(self, sql: str, *values: object) -> object:
        connection = await asyncpg.connect(self.process.database_url("orders"))
        try:
            return await connection.fetchval(sql, *values)
        finally:
            await connection.close()

    async def judge(self) -> None:
        """When all is quiet: every promise kept, every order once, both versions told and read, nothing parked."""
        async with opened_replay(self.process.admin_url()) as replay:
            self.complaints += await settled_violations(
                self.process.database_urls(),
                waiting=self.process.messages_waiting,
                ledger=self.load.shop.ledger,
                within=QUIET_WITHIN,
                promised=self.load.orders,
                replay=replay.differences,
            )
        orders = await self._value("SELECT array_agg(id::text) FROM orders")
        assert isinstance(orders, list)
        self.complaints += [f"order {id_} was never promised to anybody" for id_ in {*orders} - {*self.load.orders}]
        anew = await self._value("SELECT count(*) FROM outbox WHERE type = 'order.placed.v2'")
        of_old = await self._value("SELECT count(*) FROM outbox WHERE type = 'order.placed.v1'")
        if not anew or anew == of_old:
            self.complaints.append(f"order.placed was told {of_old} times as v1 and {anew} times as v2")
        if parked := await self.process.queues().parked():
            self.complaints.append(f"messages were given up: {parked}")
        self.complaints += [*self.recorder.failed, *self.load.surprises]


async def roll(process: ShopProcess, seed: int) -> int:
    """Replace everything twice under load; 0 when nobody noticed."""
    began = time.monotonic()
    gateways = {name: part for name, part in process.parts().items() if name.startswith("gateway")}
    environments = {name: psutil.Process(part["pid"]).environ() for name, part in gateways.items()}
    balancer = Balancer(
        {int(environments[name]["GATEWAY_PORT"]): part["health_url"] for name, part in gateways.items()}
    )
    async with AsyncExitStack() as stack:
        await balancer.start()
        stack.push_async_callback(balancer.stop)
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=50, keepalive_expiry=4)
        recorder = Recorder(httpx.AsyncHTTPTransport(limits=limits), port=balancer.port)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        http = await stack.enter_async_context(httpx.AsyncClient(transport=recorder, timeout=30, cookies=no_cookies))
        shop = Shop(balancer.url, process.simulator, http, process)
        hook = (await http.get(f"{process.simulator}/simulator/webhook")).json()
        await shop.provider_is_told(
            "webhook", {"url": balancer.url + httpx.URL(hook["url"]).path, "events": hook["events"]}
        )
        load = Load(shop, recorder, seed)
        await load.start()
        run = Roll(process, load, recorder)
        await run.all()
        await load.stop()
        minutes = (time.monotonic() - began) / 60
        await run.judge()
    print("\n".join(run.complaints[:50]))
    print(
        f"{run.replaced} processes replaced in {minutes:.1f} min, seed {seed}: {recorder.told()}; "
        f"{len(load.orders)} orders, {load.purchases} of them paid and seen paid, "
        f"after {load.longest_wait:.1f} s at most; "
        f"{len(run.complaints) or 'no'} complaints"
    )
    return 1 if run.complaints else 0


def main() -> int:
    """0 when nobody noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.rolling")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--folder", help="where the shop's data and log are kept; a temporary folder otherwise")
    arguments = parser.parse_args()
    kept = nullcontext(arguments.folder) if arguments.folder else tempfile.TemporaryDirectory(prefix="haat ")
    with kept as folder:
        process = stack_in(Path(folder))
        try:
            opening = process.launch(**SHOP)
            soon(
                lambda: "make reset" in process.printed or opening.poll() is not None,
                what="The opening of the shop",
                within=OPENS_WITHIN,
            )
            assert opening.poll() is None, process.complaints
            return asyncio.run(roll(process, arguments.seed))
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
