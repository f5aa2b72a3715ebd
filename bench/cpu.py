"""CPU time of processes and everything they started, from /proc.

A shared machine makes seconds unreliable, and CPU time less so: the benchmark counts CPU.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")

_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 11, 12, 13, 14
"""Places in /proc/PID/stat, counted from the state that follows the name in parentheses."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of the shop so far, by part."""

    application: float = 0.0
    """Gateway and services: the embedded process, or a service of its own."""
    postgres: float = 0.0
    simulator: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.application + self.postgres + self.simulator

    def __add__(self, more: "Usage") -> "Usage":
        """Of both together."""
        return Usage(
            self.application + more.application, self.postgres + more.postgres, self.simulator + more.simulator
        )

    def since(self, before: "Usage") -> "Usage":
        """What was used between the two."""
        return Usage(
            self.application - before.application,
            self.postgres - before.postgres,
            self.simulator - before.simulator,
        )

    def per(self, requests: int) -> dict[str, float]:
        """Milliseconds per request, as results are written."""
        parts = {"application": self.application, "postgres": self.postgres, "simulator": self.simulator}
        return {name: round(seconds / requests * 1000, 3) for name, seconds in (*parts.items(), ("total", self.total))}


def usage_of_shop(pid: int) -> Usage:
    """The process with this id and its descendants, PostgreSQL's and the simulator's counted apart."""
    application, postgres, simulator = _own(pid), 0.0, 0.0
    for child in _children(pid):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"razorpay_simulator" in command:
            simulator += tree(child)
        elif re.search(rb"postgres", command):
            postgres += tree(child)
        else:
            application += tree(child)
    return Usage(application, postgres, simulator)


def usage_of_service(pid: int, *, postgres: int) -> Usage:
    """A service of its own and its database server, by the process ids of both."""
    return Usage(application=tree(pid), postgres=tree(postgres))


def tree(pid: int) -> float:
    """CPU seconds of a process and all its descendants, those that have ended included."""
    seconds = 0.0
    for member in (pid, *_descendants(pid)):
        try:
            fields = _fields(member)
        except (FileNotFoundError, ProcessLookupError):
            continue
        # What ended children used is in their parent's count from the moment it waited for them.
        places = (_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM)
        seconds += sum(int(fields[place]) for place in places) / TICK
    return seconds


def _own(pid: int) -> float:
    fields = _fields(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / TICK


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in listing.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
