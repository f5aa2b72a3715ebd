"""The load program, a process of its own, so that its CPU is not the shop's: one measurement, printed as JSON."""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from functools import partial

import uvloop

from bench import browsing, buying
from bench.browsing import Count, Figures
from bench.cpu import usage_of_service, usage_of_shop

AT_ONCE = 8
BUYING_AT_ONCE = 4
PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to measure, where, and whose CPU to count."""

    what: str
    base_url: str
    pid: int
    postgres: int = 0
    """The database server, when it is no child of the process."""
    simulator: str = ""
    scale: float = 1.0
    """Of the number of requests."""

    @property
    def usage(self) -> Count:
        """Counts the CPU used so far."""
        if self.postgres:
            return partial(usage_of_service, self.pid, postgres=self.postgres)
        return partial(usage_of_shop, self.pid)


async def measure_here(task: Task) -> dict[str, Figures]:
    """Figures by the name of the measurement."""
    match task.what:
        case "idle":
            return {"idle": await buying.idle(usage=task.usage, seconds=10 * task.scale)}
        case "reading":
            return await _reading(task)
        case "adding":
            variants = await buying.variants_on_sale(task.base_url, count=200)
            requests = round(1000 * task.scale)
            return {
                "add to cart": await buying.add_to_carts(
                    task.base_url, variants, usage=task.usage, requests=requests, shoppers=BUYING_AT_ONCE
                )
            }
        case "checkout" | "checkout with sign-in":
            return {task.what: await _checkout(task, signing_in=task.what != "checkout")}
    raise ValueError(task.what)


async def _reading(task: Task) -> dict[str, Figures]:
    questions = await browsing.questions(task.base_url, page=PAGE, is_shop=not task.postgres)
    requests = round(2000 * task.scale)
    return await browsing.read(task.base_url, questions, usage=task.usage, requests=requests, readers=AT_ONCE)


async def _checkout(task: Task, *, signing_in: bool) -> Figures:
    return await buying.check_out(
        task.base_url,
        task.simulator,
        await buying.variants_on_sale(task.base_url, count=200),
        usage=task.usage,
        orders=round((60 if signing_in else 120) * task.scale),
        shoppers=BUYING_AT_ONCE,
        signing_in=signing_in,
    )


async def measure(task: Task) -> dict[str, Figures]:
    """Let a process of its own do it."""
    command = [sys.executable, "-m", "bench.load", json.dumps(asdict(task))]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"The measurement of {task.what} failed; what it said is above.")
    found: dict[str, Figures] = json.loads(printed)
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure_here(Task(**json.loads(sys.argv[1]))))))
