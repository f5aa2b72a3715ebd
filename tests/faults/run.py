"""One run: the shoppers come in, and each fault is brought, healed and judged in turn, one line each."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.faults.fault import Fault
from tests.faults.load import UNLUCKY, Load
from tests.faults.stage import HEALED_WITHIN, Stage
from tests.invariants import settled_violations
from tests.patience import NeverHappened, eventually
from tests.replay import Replay, opened_replay

QUIET_WITHIN = 60.0


@dataclass
class Run:
    """The faults of one run, on one stage."""

    stage: Stage
    seed: int
    hold: float = 0.0
    """Seconds that the shop is left alone after a failure, for people who want to look."""
    load: Load = field(init=False)
    _replay: Replay = field(init=False)
    _judged_at: datetime = field(default_factory=lambda: datetime.now(UTC), init=False)
    _told: set[str] = field(default_factory=set, init=False)
    """What was complained about already, and need not be blamed on the next fault too."""

    async def all(self, faults: Sequence[Fault], *, known: Sequence[tuple[str, int]]) -> int:
        """0 when the shop withstood them, the seeds of earlier failures first."""
        by_name = {fault.name: fault for fault in faults}
        again = [(by_name[name], seed) for name, seed in known if name in by_name]
        planned = [*again, *((fault, self.seed) for fault in faults)]
        print(
            f"{len(planned)} faults, seed {self.seed}; the log is {self.stage.process.data}/logs/haat.log", flush=True
        )
        failed = 0
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            self.load = Load(self.stage.shop, self.seed)
            self._replay = await stack.enter_async_context(opened_replay(self.stage.process.admin_url()))
            await self.load.start()
            stack.push_async_callback(self.load.stop)
            for number, (fault, seed) in enumerate(planned, start=1):
                failed += not await self._one(f"{number:3}/{len(planned)}", fault, seed)
            await self.load.pause()
            failed += bool(self._complain(await self._violations(everything=True)))
        promises, minutes = self.load.promises, (time.monotonic() - began) / 60
        told = f"{promises.purchases} purchases, {len(promises.orders)} orders, {len(promises.captured)} captures"
        print(f"{told}; {failed or 'no'} failures in {minutes:.0f} min, seed {self.seed}")
        return 1 if failed else 0

    async def _one(self, number: str, fault: Fault, seed: int) -> bool:
        """Whether the shop withstood it."""
        began = time.monotonic()
        try:
            evidence = await fault.bring(self.stage, random.Random(f"{seed} {fault.name}"))
            ended = time.monotonic()
            await self.stage.all_ready()
            await self._somebody_buys(within=HEALED_WITHIN - (time.monotonic() - ended))
            healed = time.monotonic()
            await self.load.pause()
            broken = await self._violations(parks=fault)
            quiet = time.monotonic()
            await self.load.resume()
        except Exception as failure:  # noqa: BLE001 - the run goes on; whatever it was is a failure of this fault
            print(f"{number}  {fault.name}: FAILED after {time.monotonic() - began:.0f} s: {failure!r}", flush=True)
            await asyncio.sleep(self.hold)
            with suppress(*UNLUCKY):
                await self.load.resume()
            return False
        times = f"fault {ended - began:.1f} s, healed {healed - ended:.1f} s, quiet {quiet - healed:.1f} s"
        print(f"{number}  {fault.name} ({evidence}): {times}", flush=True)
        return not self._complain(broken)

    def _complain(self, broken: Sequence[str]) -> list[str]:
        """The violations that are new, told."""
        new = [sentence for sentence in broken if sentence not in self._told]
        self._told.update(new)
        for sentence in new[:20]:
            print(f"         {sentence}", flush=True)
        return new

    async def _somebody_buys(self, *, within: float) -> None:
        async def look() -> bool:
            with suppress(*UNLUCKY):
                shopper = await self.stage.shop.customer()
                await shopper.add_to_cart(self.load.plenty[0])
                order = await shopper.try_to_order()
                if order.status_code != 201:
                    return False
                self.load.promises.orders[order.json()["id"]] = shopper.user_id
                await shopper.pay(await shopper.start_payment(order.json()), outcome="success")
                return True
            return False

        await eventually(look, what="A purchase", within=max(5.0, within))

    async def _violations(self, *, parks: Fault | None = None, everything: bool = False) -> list[str]:
        """What is wrong once the shop is quiet."""
        stage, promises = self.stage, self.load.promises
        if parks is not None and parks.parks:
            await self._drop(parks)
        began = datetime.now(UTC)
        since = None if everything else self._judged_at - timedelta(seconds=5)
        anew = partial(self._replay.differences, shuffles=3 if everything else 1, seed=self.seed, since=since)
        broken = await settled_violations(
            stage.process.database_urls(),
            waiting=self._waiting,
            ledger=stage.shop.ledger,
            within=QUIET_WITHIN,
            promised=promises.orders,
            replay=anew,
        )
        self._judged_at = began
        broken += promises.strangers
        broken += [f"parked: {count} messages of {name}" for name, count in (await stage.queues().parked()).items()]
        return broken

    async def _waiting(self) -> int:
        """Messages on the bus; meanwhile the provider is made to repeat what it could not deliver."""
        await self.stage.hasten_webhooks()
        return await self.stage.queues().waiting()

    async def _drop(self, fault: Fault) -> None:
        """What the fault has injected is parked in the end, and given up by the operators' command; nothing else is."""

        async def look() -> bool:
            dropped = await self.stage.drop_parked(fault.parks)
            found.update(dropped)
            return found >= fault.parks

        found: set[object] = set()
        try:
            await eventually(look, what="The parking of what was injected", within=QUIET_WITHIN)
        except NeverHappened as never:
            raise AssertionError(f"{never}; parked were {found} of {fault.parks}") from None
        while await self.stage.drop_parked(fault.parks):
            continue
