"""`make events`: what operators do about events, with the variables that the running service was given."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

import msgspec
import psutil

from embedded.home import Home
from stack.replacing import REPORT
from stack.topology import PARTS

ALL = "all"
PUBLISHERS = tuple(part.name for part in PARTS if part.publishes)
CONSUMERS = tuple(part.name for part in PARTS if part.listens_to)


def operate(home: Home, service: str, command: Sequence[str]) -> int:
    """Run `python -m <service> events <command>`, `all` standing for every service it can concern. The exit status."""
    everyone = PUBLISHERS if "republish" in command else CONSUMERS
    names = everyone if service == ALL else (service,)
    statuses = []
    for name in names:
        variables = _variables(home, name)
        if variables is None:
            sys.stderr.write(f"No process of {name} runs in {home.path}; open it with `make stack`.\n")
            return 1
        if service == ALL:
            print(f"{name}:", flush=True)
        told = subprocess.run([sys.executable, "-m", name, "events", *command], env=variables, check=False)
        statuses.append(told.returncode)
    return max(statuses)


def _variables(home: Home, service: str) -> Mapping[str, str] | None:
    """The environment of one of its processes; the broker's passwords live nowhere else."""
    report = home.path / REPORT
    parts = msgspec.json.decode(report.read_bytes())["parts"] if report.exists() else []
    for part in parts:
        if part["pid"] and part["name"].partition("-")[0] == service:
            try:
                return psutil.Process(part["pid"]).environ()
            except psutil.Error:
                continue
    return None
