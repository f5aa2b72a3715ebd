"""The Razorpay simulator as a process of its own, as the real provider would be."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from embedded.home import Secrets

WEBHOOK_EVENTS = (
    "payment.authorized",
    "payment.captured",
    "payment.failed",
    "refund.created",
    "refund.processed",
    "refund.failed",
)
"""What a shop activates in the dashboard. `order.paid` would only repeat what `payment.captured` says."""

_PR_SET_PDEATHSIG = 1
_READY_WITHIN = 20.0


class SimulatorDidNotStart(Exception):
    """Its process ended, or does not answer."""


@dataclass
class Simulator:
    """Start it from the main thread: the kernel stops it when the thread that started it ends."""

    data: Path
    port: int
    secrets: Secrets
    webhook_url: str
    return_url: str
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where Razorpay's API and the checkout page are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What its process is told."""
        return {
            "SIMULATOR_HOST": "127.0.0.1",
            "SIMULATOR_PORT": str(self.port),
            "SIMULATOR_DATA": str(self.data),
            "SIMULATOR_KEY_ID": self.secrets.razorpay_key_id,
            "SIMULATOR_KEY_SECRET": self.secrets.razorpay_key_secret,
            "SIMULATOR_WEBHOOK_URL": self.webhook_url,
            "SIMULATOR_WEBHOOK_SECRET": self.secrets.webhook_secret,
            "SIMULATOR_WEBHOOK_EVENTS": ",".join(WEBHOOK_EVENTS),
            "SIMULATOR_PUBLIC_URL": self.url,
            "SIMULATOR_RETURN_URL": self.return_url,
        }

    def launch(self) -> None:
        """Begin the start; a session of its own keeps Ctrl-C away until the requests under way are done."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("SIMULATOR_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "razorpay_simulator"],
                env={**others, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one prctl call, and no thread exists yet
            )

    def wait_ready(self) -> None:
        """Return when it answers. Raises SimulatorDidNotStart."""
        deadline = time.monotonic() + _READY_WITHIN
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise SimulatorDidNotStart(f"The Razorpay simulator did not start; {self.log} says why.")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:  # noqa: S310 - our own loopback address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End it; what it answered is on disk."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def set_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # Killed before the kernel was told; nobody would ever end this process.
            os._exit(1)

    return set_signal
