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
from tests.discretion import leaks, secrets_of
from tests.shop_process import ShopProcess
from tests.shopper import DEMO_PASSWORD, PASSWORD

CLOSES_WITHIN = 30.0


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
    """The command's exit status."""
    with tempfile.TemporaryDirectory(prefix="haat ") as folder:
        process, points = stack_in(Path(folder)), Path(folder, "crash points")
        points.mkdir()
        try:
            process.open(HAAT_CRASH_POINTS=str(points))
            places = {
                "HAAT_URL": process.gateway,
                "HAAT_SIMULATOR_URL": process.simulator,
                "HAAT_STACK": str(process.data),
                "HAAT_CRASH_POINTS": str(points),
            }
            status = subprocess.run(command, env={**os.environ, **places}, check=False).returncode
            process.close()
            # Whom the command brought is not known here, but what such things look like is.
            if told := leaks(process.logs(), secrets=[*secrets_of(process.secrets()), DEMO_PASSWORD, PASSWORD]):
                print("\n".join(["The logs of the stack tell too much:", *told]))
                status = status or 1
        finally:
            process.kill()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
