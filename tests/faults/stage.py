"""The distributed shop as the fault tests handle it: its processes, its wires, its broker, its operators' commands."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil

from tests.faults.links import Wire
from tests.patience import eventually
from tests.queues import CONSUMERS, Queues
from tests.rabbitmqctl import rabbitmqctl
from tests.shop import Shop
from tests.shop_process import ShopProcess

HEALED_WITHIN = 60.0
FIRED_WITHIN = 45.0

HASTE = {
    "CATALOG_ORPHAN_HOLD_AFTER": "3",
    "PAYMENTS_CREATE_LEASE": "5",
    "PAYMENTS_PROVIDER_TIMEOUT": "2",
    "PAYMENTS_ATTEMPT_PATIENCE": "20",
    "ORDERS_PAY_WINDOW": "60",
    "ORDERS_PAY_GRACE": "20",
}
"""What a crash cut off is cleared up after seconds, and who does not pay is not waited for; people have minutes."""


@dataclass
class Stage:
    """Handed to every fault."""

    process: ShopProcess
    shop: Shop
    points: Path
    """HAAT_CRASH_POINTS of the processes."""
    wires: Mapping[tuple[str, str], Wire] = field(default_factory=dict)
    operator_url: str | None = None
    """The broker, as somebody who may everything; only where the harness started the stack itself."""

    def part(self, name: str) -> dict[str, Any]:
        """What the supervisor reports of a process."""
        return self.process.parts()[name]

    def pid(self, name: str) -> int:
        return int(self.part(name)["pid"])

    def signal(self, name: str, number: signal.Signals) -> None:
        """To the process and all it started: PostgreSQL is many."""
        whole = psutil.Process(self.pid(name))
        for process in (whole, *whole.children(recursive=True)):
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def state(self, name: str) -> str:
        """What the kernel says of a process."""
        return psutil.Process(self.pid(name)).status()

    def address(self, name: str) -> str:
        """Where a service answers, without a wire."""
        environment = psutil.Process(self.pid(name)).environ()
        return f"http://127.0.0.1:{environment[f'{name.upper()}_PORT']}"

    async def kill(self, name: str) -> str:
        """SIGKILL to one process; returns when the supervisor has seen it."""
        ends = self.part(name)["ends"]
        os.kill(self.pid(name), signal.SIGKILL)
        await self.ended(name, ends)
        return f"{name} killed"

    async def ended(self, name: str, ends: int) -> None:
        async def look() -> bool:
            return bool(self.part(name)["ends"] > ends)

        await eventually(look, what=f"The end of {name}", within=FIRED_WITHIN)

    async def answers(self, name: str) -> None:
        """Wait until the process says anything of its health."""

        async def look() -> bool:
            try:
                await self.shop.http.get(self.part(name)["health_url"], timeout=2)
            except httpx.HTTPError:
                return False
            return True

        await eventually(look, what=f"An answer of {name}", within=HEALED_WITHIN)

    def condemn(self, name: str, point: str, passing: int = 1) -> Path:
        """Have the process die at this point; the file that tells that it did."""
        place = self.points / str(self.pid(name))
        unfinished = place.with_suffix(".new")
        unfinished.write_text(f"{point} {passing}")
        unfinished.rename(place)
        return place.with_suffix(".fired")

    def pardon(self) -> None:
        """Nobody dies any more."""
        for place in self.points.iterdir():
            place.unlink(missing_ok=True)

    async def all_ready(self, *, within: float = HEALED_WITHIN) -> None:
        """Wait until every process says that it can do its work."""

        async def look() -> list[str] | bool:
            sick = [name for name, part in self.process.parts().items() if not await self._is_well(part)]
            waiting[:] = sick
            return not sick

        waiting: list[str] = []
        try:
            await eventually(look, what="Readiness of every part", within=within)
        except AssertionError as never:
            raise AssertionError(f"{never}: {waiting}") from None

    async def _is_well(self, part: dict[str, Any]) -> bool:
        if not part["pid"] or not psutil.pid_exists(part["pid"]):
            return False
        if "health_url" not in part:
            return True
        try:
            return (await self.shop.http.get(part["health_url"], timeout=2)).status_code == 200
        except httpx.HTTPError:
            return False

    async def hasten_webhooks(self) -> None:
        """The provider waits longer and longer before it tells again; its virtual clock is moved on."""
        await self.shop.provider_is_told("clock/advance", {"seconds": 15})

    def queues(self) -> Queues:
        """The broker's, entered without a wire where that is possible."""
        if self.operator_url is None:
            return self.process.queues()
        return Queues(dict.fromkeys(CONSUMERS, self.operator_url))

    async def events(self, service: str, *arguments: str) -> str:
        """What `make events` prints."""
        environment = {**os.environ, "HAAT_DATA": str(self.process.data)}
        command = [sys.executable, "-m", "stack", "events", service, *arguments]
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0, f"`{' '.join(command[1:])}` failed: {printed.decode()}"
        return printed.decode()

    async def rabbitmqctl(self, *arguments: str) -> str:
        """What the broker's own command prints."""
        return await rabbitmqctl(self.pid("rabbitmq"), *arguments)

    def broker_told(self, sentence: str) -> int:
        """How often it stands in the broker's log."""
        logs = Path(psutil.Process(self.pid("rabbitmq")).environ()["RABBITMQ_LOG_BASE"])
        return (logs.parent / "output.log").read_text(errors="replace").count(sentence)

    async def republish(self, *, since: str) -> str:
        """Every service publishes again what it published since then."""
        told = await self.events("all", "republish", "--since", since)
        return f"{sum(int(line.split()[0]) for line in told.splitlines() if line[0].isdigit())} events"

    async def drop_parked(self, ids: frozenset[UUID]) -> set[UUID]:
        """Give up those of these messages that are parked, with the operators' commands; which they were."""
        dropped = set()
        for consumer in await self.queues().parked():
            for line in (await self.events(consumer, "list")).splitlines():
                if (id_ := UUID(line.split()[0])) in ids:
                    await self.events(consumer, "drop", str(id_))
                    dropped.add(id_)
        return dropped
