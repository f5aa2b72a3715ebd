"""`python -m bench.processes`: what each process of an open `make stack` needs, idle and under load.

From here come the memory and CPU that deploy/k8s asks for. The stack is opened with workers of their own and with wide
allowances, as deploy/README.md tells; the load is that of `make bench`: readers, carts, and purchases to the end.

    python -m bench.processes --scale 0.2      a quick look
"""

import argparse
import asyncio
import os
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.load import Task, measure
from embedded.home import Home
from stack.replacing import REPORT

IDLE = 10.0
"""Seconds of watching a shop without visitors."""
MIB = 1024 * 1024
PHASES = {
    "reading": ("gateway", "haat_http_requests_total"),
    "adding": ("gateway", "haat_http_requests_total"),
    "checkout": ("orders", "haat_orders_placed_total"),
}
"""Each load, and the process and counter that tell how much was done."""


@dataclass(frozen=True, slots=True)
class Running:
    """One process of the stack."""

    name: str
    pid: int
    health_url: str

    @property
    def resident(self) -> float:
        """MiB now; in a container of its own nothing of it is shared."""
        resident: int = psutil.Process(self.pid).memory_info().rss
        return resident / MIB

    @property
    def peak(self) -> float:
        """MiB at its most."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:  # noqa: PTH123 - a line at a time
            (line,) = [line for line in status if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024

    @property
    def cpu(self) -> float:
        """Milliseconds so far."""
        times = psutil.Process(self.pid).cpu_times()
        spent: float = times.user + times.system
        return spent * 1000

    def counted(self, counter: str) -> float:
        """What one of its counters says, over all labels."""
        with urlopen(self.health_url.replace("/readyz", "/metrics"), timeout=10) as answer:  # noqa: S310 - our own address
            families = text_string_to_metric_families(answer.read().decode())
            samples = [sample for family in families for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == counter)


async def run(document: dict[str, Any], *, scale: float) -> str:
    """Two tables, in Markdown."""
    parts = [part for part in document["parts"] if part["name"] != "simulator"]
    running = [Running(part["name"], part["pid"], part["health_url"]) for part in parts if "health_url" in part]
    before = {each.name: each.cpu for each in running}
    await asyncio.sleep(IDLE)
    resting = {each.name: (each.cpu - before[each.name]) / IDLE for each in running}
    idle = {each.name: each.resident for each in running}
    costs = {what: await _cost(what, running, document, scale=scale) for what in PHASES}
    memory = [
        f"| {each.name} | {idle[each.name]:.0f} | {each.resident:.0f} | {each.peak:.0f} | {resting[each.name]:.0f} |"
        for each in running
    ]
    cpu = [f"| {each.name} | {' | '.join(f'{costs[what][each.name]:.2f}' for what in PHASES)} |" for each in running]
    return "\n".join(
        [
            "| process | idle MiB | loaded MiB | peak MiB | idle, ms CPU per s |",
            "|---|---:|---:|---:|---:|",
            *memory,
            "",
            "| process | ms CPU per catalogue request | per thing put into a cart | per order, from cart to paid |",
            "|---|---:|---:|---:|",
            *cpu,
        ]
    )


async def _cost(what: str, running: list[Running], document: dict[str, Any], *, scale: float) -> dict[str, float]:
    """Milliseconds of each process for one of what is done."""
    name, counter = PHASES[what]
    (counting,) = [each for each in running if each.name == name]
    done, before = counting.counted(counter), {each.name: each.cpu for each in running}
    task = Task(what=what, base_url=document["gateway"], simulator=document["simulator"], pid=os.getpid(), scale=scale)
    await measure(task)
    done = counting.counted(counter) - done
    return {each.name: (each.cpu - before[each.name]) / done for each in running}


def main() -> None:
    """Measure the stack that is open on HAAT_DATA."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of requests")
    chosen = parser.parse_args()
    report = Home.from_environment(default=".haat-stack").path / REPORT
    document = msgspec.json.decode(report.read_bytes()) if report.exists() else {"parts": []}
    if "gateway" not in {part["name"] for part in document["parts"]}:
        raise SystemExit("No stack is open there, or not yet: make stack first.")
    print(asyncio.run(run(document, scale=chosen.scale)))


if __name__ == "__main__":
    main()
