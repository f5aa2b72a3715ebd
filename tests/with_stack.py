"""Runs a command with a distributed shop beside it: `python -m tests.with_stack pytest tests/e2e`.

The command finds it in HAAT_URL and HAAT_SIMULATOR_URL, as it would find one on another machine; one that looks
behind the counter finds the data folder in HAAT_STACK, and where to condemn processes to death in HAAT_CRASH_POINTS.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from localservers.ports import free_port, is_free
from stack.topology import GATEWAY, MANAGEMENT, NEXT_REPLICA, PARTS, WORKER
from tests.collector import Collector, listening_collector
from tests.discretion import leaks, secrets_of
from tests.shop_process import ShopProcess
from tests.shopper import DEMO_PASSWORD, PASSWORD

CLOSES_WITHIN = 30.0
JOURNEYS = "tests/e2e"
"""Of what shoppers do there undisturbed, at least one purchase is a whole trace."""


def stack_in(folder: Path) -> ShopProcess:
    """A distributed shop, not yet open."""
    return ShopProcess(folder, port=port_with_room(), form="stack", closes_within=CLOSES_WITHIN)


def port_with_room() -> int:
    """A port for the gateway such that those of all others, which follow from it, are free too."""
    others = [part.port - GATEWAY.port for part in PARTS]
    steps = (0, NEXT_REPLICA, MANAGEMENT, MANAGEMENT + NEXT_REPLICA, WORKER)
    while True:
        port = free_port()
        if all(is_free(port + other + step) for other in others for step in steps):
            return port


def main(command: list[str]) -> int:
    """The command's exit status, or 1 when the stack has told too much about its guests, or too little of an order."""
    with tempfile.TemporaryDirectory(prefix="haat ") as folder, listening_collector() as collector:
        process, points = stack_in(Path(folder)), Path(folder, "crash points")
        points.mkdir()
        try:
            process.open(HAAT_CRASH_POINTS=str(points), OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
            places = {
                "HAAT_URL": process.gateway,
                "HAAT_SIMULATOR_URL": process.simulator,
                "HAAT_STACK": str(process.data),
                "HAAT_CRASH_POINTS": str(points),
            }
            status = subprocess.run(command, env={**os.environ, **places}, check=False).returncode
            process.close()
            complaints = complaints_about(process, collector)
            if any(JOURNEYS in word for word in command):
                complaints += [f"No trace of an order has {gap}." for gap in collector.missing_of_a_purchase()]
        finally:
            process.kill()
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return status or int(bool(complaints))


def complaints_about(process: ShopProcess, collector: Collector) -> list[str]:
    """Whom the command brought is not known here, but what such things look like is."""
    secrets = [*secrets_of(process.secrets()), DEMO_PASSWORD, PASSWORD]
    told = b"\n".join(collector.raw).decode(errors="replace")
    return [
        *(f"A log tells too much: {line}" for line in leaks(process.logs(), secrets=secrets)),
        *(f"A span tells too much: {secret[:6]}…" for secret in secrets if secret in told),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
