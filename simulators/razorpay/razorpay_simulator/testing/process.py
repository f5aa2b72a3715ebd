"""The simulator for other test suites: a process of its own on a free port, in a folder of its own."""

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

KEY_ID, KEY_SECRET, WEBHOOK_SECRET = (
    "rzp_test_simulator0001",
    "simulator-key-secret",
    "simulator-webhook-secret",
)
SECONDS_TO_START = 30.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class SimulatorRefused(Exception):
    """The simulator answered a control call with an error."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class SimulatorProcess:
    """`with SimulatorProcess() as simulator:` and then point the SDK at `simulator.base_url`."""

    def __init__(
        self,
        *,
        data: Path | None = None,
        webhook_url: str = "",
        webhook_events: Sequence[str] = (),
        return_url: str = "",
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="razorpay-simulator-") if data is None else None
        self.data = Path(self._temporary.name) if self._temporary else Path(str(data))
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.key_id, self.key_secret, self.webhook_secret = KEY_ID, KEY_SECRET, WEBHOOK_SECRET
        self.log = self.data / "simulator.log"
        self._webhook_url, self._webhook_events, self._return_url = webhook_url, webhook_events, return_url
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary:
            self._temporary.cleanup()

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "razorpay_simulator"],
                env={**os.environ, **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.stop(kill=True)
                raise RuntimeError(f"the simulator did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> int | None:
        """End the process and give its exit code; `kill` leaves it no chance to tidy up."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process = None

    def restart(self, *, kill: bool = False) -> None:
        """Same port, same folder. A webhook set while it ran is in the ledger and stays."""
        self.stop(kill=kill)
        self._webhook_url = ""
        self.start()

    def pay(self, order_id: str, **form: Any) -> dict[str, Any]:
        return self.call("POST", f"/simulator/orders/{order_id}/pay", {"method": "upi", **form})

    def bank_answer(self, payment_id: str, outcome: str) -> dict[str, Any]:
        return self.call("POST", f"/simulator/payments/{payment_id}/answer", {"outcome": outcome})

    def dashboard_refund(self, payment_id: str, **refund: Any) -> dict[str, Any]:
        return self.call("POST", f"/simulator/payments/{payment_id}/refund", refund)

    def settle_refund(self, refund_id: str, status: str) -> dict[str, Any]:
        return self.call("POST", f"/simulator/refunds/{refund_id}/settle", {"status": status})

    def advance(self, seconds: float) -> None:
        """Move the clock on, then wait until every webhook due by now was tried."""
        self.call("POST", "/simulator/clock/advance", {"seconds": seconds})
        self.settle_webhooks()

    def settle_webhooks(self) -> int:
        """Wait until every webhook that is due was tried; the number of those that wait for a later try."""
        return int(self.call("POST", "/simulator/webhook/settle", {})["deliveries_pending"])

    def set_webhook(self, url: str, *, secret: str | None = WEBHOOK_SECRET, **webhook: Any) -> dict[str, Any]:
        return self.call("POST", "/simulator/webhook", {"url": url, "secret": secret, **webhook})

    def variants(self, **chosen: Any) -> dict[str, Any]:
        return self.call("POST", "/simulator/variants", chosen)

    def faults(self, route: str, action: str, **details: Any) -> dict[str, Any]:
        return self.call("POST", "/simulator/faults", {"route": route, "action": action, **details})

    def fault_counters(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/simulator/faults")["faults"])

    def clear_faults(self) -> None:
        self.call("DELETE", "/simulator/faults")

    def ledger(self) -> dict[str, Any]:
        return self.call("GET", "/simulator/ledger")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A control call; anything but success is an error of the test."""
        answer = self.request(method, path, body=body)
        if answer.status >= 300:
            raise SimulatorRefused(answer.status, answer.body.decode(errors="replace"))
        document: dict[str, Any] = answer.json
        return document

    def request(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> RawAnswer:
        """One call with the right credentials, for what SDKs hide: statuses, headers, broken answers."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        token = base64.b64encode(f"{self.key_id}:{self.key_secret}".encode()).decode()
        request = Request(self.base_url + path, data=data, method=method)  # noqa: S310 - our own loopback address
        for name, value in {"Authorization": f"Basic {token}", **(headers or {})}.items():
            request.add_header(name, value)
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
                return RawAnswer(status=answer.status, body=answer.read(), headers=dict(answer.headers))
        except HTTPError as error:
            with error:
                return RawAnswer(status=error.code, body=error.read(), headers=dict(error.headers))

    def _answers(self) -> bool:
        try:
            self.call("GET", "/readyz")
        except (URLError, OSError, SimulatorRefused):
            return False
        return True

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")))),
            "SIMULATOR_HOST": "127.0.0.1",
            "SIMULATOR_PORT": str(self.port),
            "SIMULATOR_DATA": str(self.data),
            "SIMULATOR_KEY_ID": self.key_id,
            "SIMULATOR_KEY_SECRET": self.key_secret,
            "SIMULATOR_WEBHOOK_URL": self._webhook_url,
            "SIMULATOR_WEBHOOK_SECRET": self.webhook_secret,
            "SIMULATOR_WEBHOOK_EVENTS": ",".join(self._webhook_events),
            "SIMULATOR_RETURN_URL": self._return_url,
            "SIMULATOR_PUBLIC_URL": self.base_url,
        }


def free_port() -> int:
    """Below the range from which outgoing connections take theirs, so that a restart finds it free again."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
