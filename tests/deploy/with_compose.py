"""`python -m tests.deploy.with_compose <command>`: runs it against a demo in containers that is opened for it alone.

The command finds the shop by HAAT_URL and HAAT_SIMULATOR_URL. Containers and volumes are removed afterwards.
"""

import os
import subprocess
import sys
from pathlib import Path

from localservers.ports import free_port
from tests.shop_process import TIDY, WIDE_OPEN

ROOT = Path(__file__).parents[2]
COMPOSE = ["docker", "compose", "--profile", "demo"]


def main(command: list[str]) -> int:
    """The command's exit status, or that of what failed before it."""
    port, simulator_port = free_port(), free_port()
    environment = {
        **os.environ,
        **WIDE_OPEN,
        **TIDY,
        "COMPOSE_PROJECT_NAME": f"haat-test-{port}",
        "PORT": str(port),
        "SIMULATOR_PORT": str(simulator_port),
    }
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0:
        sys.exit("No Docker engine answers; these tests need one.")
    try:
        opened = subprocess.run([*COMPOSE, "up", "--build", "--wait"], cwd=ROOT, env=environment, check=False)
        if opened.returncode != 0:
            subprocess.run([*COMPOSE, "logs", "--tail", "20"], cwd=ROOT, env=environment, check=False)
            return opened.returncode
        shop = {"HAAT_URL": f"http://localhost:{port}", "HAAT_SIMULATOR_URL": f"http://localhost:{simulator_port}"}
        return subprocess.run(command, env={**environment, **shop}, check=False).returncode
    finally:
        subprocess.run([*COMPOSE, "down", "--volumes", "--timeout", "10"], cwd=ROOT, env=environment, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
