"""`python -m bench.processes`: what each process of an open `make stack` needs, idle and under load.

From here come the memory and CPU that deploy/k8s asks for. The stack is opened with workers of their own and with wide
allowances, as deploy/README.md tells; the load is that of `make bench`: readers, carts, and purchases to the end.

    python -m bench.processes --scale 0.2      a quick look
"""

import argparse
import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import psutil

from bench.load import Task, measure
from embedded.home import Home
from stack.opening import REPORT

IDLE = 10.0
"""Seconds of watching a shop without visitors."""
MIB = 1024 * 1024
LOAD = ("reading", "adding", "checkout", "checkout with sign-in")


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    resident: float
    """MiB; in a container of its own nothing of it is shared."""
    cpu: float
    """Seconds so far."""


def sample(pids: dict[str, int]) -> dict[str, Sample]:
    """Every process now; servers with their children."""
    return {name: _sample(psutil.Process(pid)) for name, pid in pids.items()}


def _sample(process: psutil.Process) -> Sample:
    times = process.cpu_times()
    return Sample(resident=process.memory_info().rss / MIB, cpu=times.user + times.system)


def peak(pid: int) -> float:
    """MiB that the process had at its most."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - a line at a time
        (line,) = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


async def run(document: dict[str, Any], *, scale: float) -> str:
    """The table, in Markdown."""
    pids = {part["name"]: part["pid"] for part in document["parts"] if "health_url" in part}
    before = sample(pids)
    await asyncio.sleep(IDLE)
    idle = sample(pids)
    began, answered = time.perf_counter(), sample(pids)
    for what in LOAD:
        task = Task(
            what=what, base_url=document["gateway"], simulator=document["simulator"], pid=os.getpid(), scale=scale
        )
        await measure(task)
    seconds, loaded = time.perf_counter() - began, sample(pids)
    lines = [
        f"Load of {seconds:.0f} s.",
        "",
        "| process | idle MiB | loaded MiB | peak MiB | idle, ms CPU per s | loaded, ms CPU per s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, pid in pids.items():
        resting = (idle[name].cpu - before[name].cpu) / IDLE * 1000
        working = (loaded[name].cpu - answered[name].cpu) / seconds * 1000
        lines.append(
            f"| {name} | {idle[name].resident:.0f} | {loaded[name].resident:.0f} | {peak(pid):.0f} "
            f"| {resting:.0f} | {working:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure the stack that is open on HAAT_DATA."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of requests")
    chosen = parser.parse_args()
    report = Home.from_environment(default=".haat-stack").path / REPORT
    if not report.exists():
        raise SystemExit("No stack is open there: make stack first.")
    print(asyncio.run(run(msgspec.json.decode(report.read_bytes()), scale=chosen.scale)))


if __name__ == "__main__":
    main()
