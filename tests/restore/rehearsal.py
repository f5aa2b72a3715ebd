"""One shop, and the rehearsals that it goes through."""

import asyncio
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from uuid import uuid4

import asyncpg
import httpx
import psutil

from tests.faults.load import Load
from tests.faults.stage import HASTE
from tests.invariants import settled_violations
from tests.patience import NeverHappened, eventually
from tests.replay import opened_replay
from tests.restore.backups import Backup, restore
from tests.restore.regretting import Regretting
from tests.restore.returning import Returning
from tests.shop import Shop
from tests.shop_process import ShopProcess

PURCHASES = 12
"""How many are made before a backup, and again after it."""
BETWEEN_DUMPS = 2
SOLD_WITHIN = 120.0
AGREES_WITHIN = 60.0
LONGEST_WAIT = timedelta(hours=1)
"""A message that failed may have waited so long for its next turn when the backup began."""
QUIET_WITHIN = 90.0

UNPUBLISHED = re.compile(r"I13: orders applied the (stock|payment|refund)\.\S+ \S+ that nobody has published")
"""Orders, dumped after catalog and payments, has heard what they said after their own dumps. Nothing else may be so."""
LOST_MONEY = re.compile(r"^  (pay_\w+)  order (\S+) is not known to orders ", re.MULTILINE)


@dataclass
class Rehearsal:
    """Begins with an open shop, and leaves one behind."""

    process: ShopProcess
    shop: Shop
    load: Load
    complaints: list[str] = field(default_factory=list)
    _backup: str = field(default="", init=False)

    async def of(self, backup: Backup) -> None:
        """Take it, trade on, lose everything, restore, and judge what is there."""
        self._backup = backup.name
        returning, regretting = await Returning.come_in(self.shop), await Regretting.buy(self.shop)
        await self._sell(PURCHASES)

        async def meanwhile() -> None:
            await self._sell(BETWEEN_DUMPS)
            self.load.promises.orders[await returning.buy()] = returning.shopper.user_id

        since = await backup.take(self.process, meanwhile)
        await regretting.cancel()
        await self._sell(PURCHASES)
        await self._lose_everything()
        began = time.monotonic()
        await self._reopen(backup)
        await self._bring_to_rest(since)
        self._tell(f"the shop and the provider agree {time.monotonic() - began:.1f} s after the restore began")
        await self._judge()
        await self._come_back(returning, regretting)
        await self.load.resume()
        await self._sell(PURCHASES // 2)
        await self.load.pause()
        await self._judge()
        self._tell(f"and {PURCHASES // 2} more purchases were made")
        await self.load.resume()

    async def _reopen(self, backup: Backup) -> None:
        """With what was kept; what is lost is no promise any more."""
        began = time.monotonic()
        await restore(backup, self.process)
        restored = time.monotonic()
        await asyncio.to_thread(self.process.open, **HASTE)
        opened = time.monotonic()
        promised = self.load.promises.orders
        lost = await self._lost()
        self._tell(f"{len(promised)} orders were placed; {len(promised) - len(lost)} are back, {len(lost)} are lost")
        self._tell(f"restored in {restored - began:.1f} s, open again after {opened - began:.1f} s")
        for id_ in lost:
            del promised[id_]

    async def _sell(self, purchases: int) -> None:
        """Until so many more are through."""
        wanted = self.load.promises.purchases + purchases

        async def look() -> bool:
            return self.load.promises.purchases >= wanted

        await eventually(look, what=f"{purchases} purchases", within=SOLD_WITHIN)

    async def _lose_everything(self) -> None:
        """In the middle of the trade: every process, and the files of PostgreSQL and RabbitMQ."""
        await asyncio.to_thread(self.process.kill)
        for name in ("postgres", "rabbitmq"):
            shutil.rmtree(self.process.data / name)
        await self.load.pause()

    async def _come_back(self, returning: Returning, regretting: Regretting) -> None:
        is_known = returning.order is not None and returning.order["id"] in self.load.promises.orders
        complaints = (await returning.buy_again(is_known=is_known), await regretting.complaint())
        self.complaints += [f"{self._backup}: {complaint}" for complaint in complaints if complaint]

    async def _lost(self) -> list[str]:
        """Orders that were promised and that nobody knows any more."""
        connection = await asyncpg.connect(self.process.database_url("orders"))
        try:
            known = {str(row["id"]) for row in await connection.fetch("SELECT id FROM orders")}
        finally:
            await connection.close()
        return [id_ for id_ in self.load.promises.orders if id_ not in known]

    async def _bring_to_rest(self, since: datetime) -> None:
        """The operator's commands, in the order of deploy/README.md."""
        _, printed = await self._reconcile()
        self._tell(next(line for line in printed.splitlines() if "looked at" in line))
        told = await self._events("republish", "--since", (since - LONGEST_WAIT).isoformat())
        again = sum(int(line.split()[0]) for line in told.splitlines() if line[0].isdigit())
        self._tell(f"{again} events published again")
        refunded = await self._give_back(LOST_MONEY.findall(printed))
        self._tell(f"{len(refunded)} payments of lost orders named and given back by staff")
        try:
            await eventually(self._agrees, what="Agreement with the provider", within=AGREES_WITHIN)
        except NeverHappened:
            _, printed = await self._reconcile()
            self.complaints += [f"{self._backup}: reconcile prints {line}" for line in printed.splitlines()]

    async def _agrees(self) -> bool:
        """Whether the command finds nobody who differs."""
        status, _ = await self._reconcile()
        await self._hasten_webhooks()
        return status == 0

    async def _give_back(self, found: list[tuple[str, str]]) -> list[str]:
        """As staff: the payment of the order, and all that is left of it."""
        staff = await self.shop.staff()
        for _, order_id in found:
            (payment,) = (await staff.get("/payments", order_id=order_id))["items"]
            body = {"reason": "the order was lost"}
            await staff.post(f"/payments/{payment['id']}/refunds", body, status=202, key=uuid4().hex)
        return [provider_payment_id for provider_payment_id, _ in found]

    async def _judge(self) -> None:
        """When all is quiet: every invariant that a loss leaves standing, and nothing parked."""
        async with opened_replay(self.process.admin_url()) as replay:
            broken = await settled_violations(
                self.process.database_urls(),
                waiting=self._waiting,
                ledger=self.shop.ledger,
                within=QUIET_WITHIN,
                promised=self.load.promises.orders,
                replay=replay.differences,
                is_expected=UNPUBLISHED.match,
            )
        broken += self.load.promises.strangers
        broken += [
            f"parked: {count} messages of {name}" for name, count in (await self.process.queues().parked()).items()
        ]
        self.complaints += [f"{self._backup}: {sentence}" for sentence in broken]

    async def _waiting(self) -> int:
        await self._hasten_webhooks()
        return await self.process.queues().waiting()

    async def _hasten_webhooks(self) -> None:
        """The provider's clock moves on, so that it soon repeats what it could not deliver."""
        await self.shop.provider_is_told("clock/advance", {"seconds": 15})

    async def _events(self, *words: str) -> str:
        status, printed = await self._run(os.environ, "stack", "events", "all", *words)
        assert status == 0, printed
        return printed

    async def _reconcile(self) -> tuple[int, str]:
        pids = {name.partition("-")[0]: part["pid"] for name, part in self.process.parts().items()}
        return await self._run(psutil.Process(pids["payments"]).environ(), "payments", "reconcile")

    async def _run(self, environment: Mapping[str, str], module: str, *words: str) -> tuple[int, str]:
        """Exit status and what was printed."""
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *words,
            cwd=self.process.folder,
            env={**environment, "HAAT_DATA": str(self.process.data)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await running.communicate()
        return running.returncode or 0, printed.decode().strip()

    def _tell(self, what: str) -> None:
        print(f"{self._backup}: {what}", flush=True)


@asynccontextmanager
async def begun(process: ShopProcess, seed: int) -> AsyncIterator[Rehearsal]:
    """The shoppers are in."""
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(timeout=10, cookies=no_cookies) as http:
        shop = Shop(process.gateway, process.simulator, http, process)
        load = Load(shop, seed)
        await load.start()
        try:
            yield Rehearsal(process, shop, load)
        finally:
            await load.stop()
