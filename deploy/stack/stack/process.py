"""One process that is kept alive: started again when it ends, each time after a longer pause."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGKILL

from chassis.settings import REFUSED
from localservers.confinement import dies_with_us
from stack.topology import PARTS

ANSWER_WITHIN = 1.0


@dataclass
class Process:
    """A program of ours. Started from the main thread, since the kernel ends it together with the thread."""

    name: str
    module: str
    variables: Mapping[str, str]
    health_url: str
    log: Path
    release: Path | None = None
    """A file that may name another program to run in this one's place: an older or newer release of the part."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log_began: int = field(default=0, init=False)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def ended_well(self) -> bool:
        """Whether it ended as it was asked to."""
        return self._process is not None and self._process.poll() == 0

    @property
    def refused(self) -> str:
        """What it said about its settings, when it ended because of them; starting it again would change nothing."""
        if self._process is None or self._process.poll() != REFUSED:
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("{"))  # what others logged meanwhile is JSON

    def start(self) -> None:
        """Begin to start. Killed with us: there is no time to drain when nobody is left to wait for it."""
        self._process = self._spawn()

    def run(self, command: str) -> subprocess.Popen[bytes]:
        """One of its other commands, such as `migrate`."""
        self._process = self._spawn(command)
        return self._process

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self._log_began = log.tell()
            return subprocess.Popen(
                [*dies_with_us(SIGKILL).prefix, sys.executable, "-m", self._program(), *command],
                env={**environment_for(self.module), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us first, so that requests can be drained in order
            )

    def _program(self) -> str:
        """Looked up at every start."""
        if self.release is not None and self.release.exists():
            return self.release.read_text().strip()
        return self.module

    def is_ready(self) -> bool:
        """Whether it says that it can do its work."""
        return is_healthy(self.health_url)

    def ask_to_end(self) -> None:
        """In a hurry: the whole shop closes, so nobody is sent elsewhere first."""
        if self._process is not None:
            self._process.send_signal(SIGINT)

    def wait_for_the_end(self, deadline: float) -> None:
        """Killed when the deadline (monotonic) passes."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def is_healthy(url: str) -> bool:
    """Whether a management port answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def environment_for(module: str) -> dict[str, str]:
    """Ours, without what is said to another part: no process sees a neighbour's secrets."""
    others = tuple(part.prefix for part in PARTS if part.name != module)
    return {name: value for name, value in os.environ.items() if not name.startswith((*others, "SIMULATOR_"))}
