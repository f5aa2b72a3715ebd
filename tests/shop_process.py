"""A shop on this machine as its users start it: a process of its own on a data folder, told what to do by signals."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import psutil

from embedded.doors import DEFAULTS
from localservers.ports import free_port
from tests.patience import soon
from tests.queues import CONSUMERS, Queues

OPENS_WITHIN = 120.0
"""Generous: a first start on a busy machine. What `make run` promises is measured by the benchmark."""

CLOSES_WITHIN = 20.0
"""Seconds; as a rule it takes one or two, and on a machine with three tests per core nearly five."""

TIDY = {"CATALOG_ORPHAN_HOLD_AFTER": "20"}
"""A hold whose checkout was given up on a busy machine is freed while a test still waits for it."""

WIDE_OPEN = {
    "GATEWAY_LIMIT_READ": "1000000/60",
    "GATEWAY_LIMIT_WRITE": "1000000/60",
    "GATEWAY_LIMIT_SIGN_IN": "1000000/60",
    "GATEWAY_LIMIT_PASSWORD": "1000000/60",
    "GATEWAY_LIMIT_BAD_TOKENS": "1000000/60",
    "ACCOUNTS_FREE_ATTEMPTS_PER_ADDRESS": "1000000",
}
"""All shoppers of a test come from one address, which would soon have to wait. The limits have tests of their own."""

SERVICES = ("accounts", "catalog", "cart", "orders", "payments")


@dataclass
class ShopProcess:
    """One data folder, and the process that works on it while it is open."""

    folder: Path
    """Where its output goes."""
    data: Path = field(default_factory=Path)
    """HAAT_DATA."""
    port: int = field(default_factory=free_port)
    simulator_port: int = field(default_factory=free_port)
    management_port: int = field(default_factory=free_port)
    """Where the embedded form shows its metrics; the processes of the stack have ports of their own."""
    form: str = "embedded"
    """The program that opens it; `stack` for the distributed one."""
    closes_within: float = CLOSES_WITHIN
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.data == Path():
            self.data = self.folder / "the shop's data"

    @property
    def gateway(self) -> str:
        """Where the shop is reached."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def simulator(self) -> str:
        """Where the payment provider's stand-in is."""
        return f"http://127.0.0.1:{self.simulator_port}"

    @property
    def printed(self) -> str:
        """What the terminal shows since the last start."""
        return self._output.read_text()

    @property
    def complaints(self) -> str:
        """What stands on standard error since the last start."""
        return self._errors.read_text()

    @property
    def _output(self) -> Path:
        return self.folder / "printed.txt"

    @property
    def _errors(self) -> Path:
        return self.folder / "complaints.txt"

    def launch(self, **environment: str) -> subprocess.Popen[bytes]:
        """Begin to start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.form],
                cwd=self.folder,
                env={
                    **os.environ,
                    **WIDE_OPEN,
                    **TIDY,
                    "HAAT_DATA": str(self.data),
                    "PORT": str(self.port),
                    "SIMULATOR_PORT": str(self.simulator_port),
                    "MANAGEMENT_PORT": str(self.management_port),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        return self._process

    def open(self, **environment: str) -> None:
        """Start, and return when the block is printed."""
        process = self.launch(**environment)

        def block_is_printed() -> bool:
            assert process.poll() is None, f"It ended with {process.returncode}: {self.complaints}{self.last_log()}"
            return "make reset" in self.printed

        soon(block_is_printed, what="The opening of the shop", within=OPENS_WITHIN)

    def close(self, with_signal: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end as Ctrl-C does; its exit status. Fails when it takes too long or leaves a process behind."""
        assert self._process is not None
        self._process.send_signal(with_signal)
        try:
            status = self._process.wait(timeout=self.closes_within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"The shop did not close within {self.closes_within} s of {with_signal.name}."
            ) from None
        finally:
            self._process = None
        soon(lambda: not self.processes(), what=f"The end of every process on {self.data}", within=1)
        return status

    def kill(self) -> None:
        """SIGKILL, as a crash would; returns when its database and simulator are gone too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        soon(lambda: not self.processes(), what=f"The end of every process on {self.data}", within=10)

    def send_signal(self, number: signal.Signals) -> None:
        """To the program itself, such as the supervisor of the distributed shop."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def is_open(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def processes(self) -> list[str]:
        """Every process that works on the data folder, however it came to be."""
        return [description for process in psutil.process_iter() if (description := self._works_here(process))]

    def _works_here(self, process: psutil.Process) -> str:
        place = str(self.data)
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return ""
            command = " ".join(process.cmdline())
            here = place in command or process.cwd().startswith(place) or process.environ().get("HAAT_DATA") == place
        except psutil.Error:
            return ""
        return f"{process.pid} {command}" if here else ""

    def secrets(self) -> dict[str, Any]:
        """The secrets of the data folder."""
        found: dict[str, Any] = json.loads((self.data / "secrets.json").read_text())
        return found

    def database_url(self, name: str) -> str:
        """A service's database, or the bus's, as its own role."""
        password = self.secrets()["database_passwords"][name]
        port = (self.data / "postgres" / "port").read_text()
        return f"postgresql://{name}:{password}@127.0.0.1:{port}/{name}"

    def database_urls(self) -> dict[str, str]:
        """The databases of the five services."""
        return {name: self.database_url(name) for name in SERVICES}

    def admin_url(self) -> str:
        """The database server, as its superuser."""
        password = (self.data / "postgres" / "password").read_text()
        port = (self.data / "postgres" / "port").read_text()
        return f"postgresql://postgres:{quote(password, safe='')}@127.0.0.1:{port}/postgres"

    def parts(self) -> dict[str, dict[str, Any]]:
        """The processes of the distributed shop, as its supervisor reports them."""
        report = json.loads((self.data / "stack.json").read_text())
        return {part["name"]: part for part in report["parts"]}

    def queues(self) -> Queues:
        """The distributed shop's, entered as their own consumers."""
        pids = {name.split("-")[0]: part["pid"] for name, part in self.parts().items()}
        return Queues({name: psutil.Process(pids[name]).environ()[f"{name.upper()}_AMQP_URL"] for name in CONSUMERS})

    async def messages_waiting(self) -> int:
        """How many no consumer has handled yet, whichever bus carries them."""
        if (self.data / "stack.json").exists():
            return await self.queues().waiting()
        connection = await asyncpg.connect(self.database_url("bus"))
        try:
            return int(await connection.fetchval("SELECT count(*) FROM messages WHERE parked_at IS NULL"))
        finally:
            await connection.close()

    @property
    def log(self) -> Path:
        """What the embedded form and its simulator have to say; the stack has a file per process beside it."""
        return self.data / "logs" / "haat.log"

    def logs(self) -> str:
        """Everything that every process has written."""
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.log.parent.glob("*.log")))

    def last_log(self) -> str:
        """The end of the log, for whoever reads a failed test."""
        return "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""


def opened_shop() -> ShopProcess | None:
    """The shop that somebody has opened here: in HAAT_DATA, by `make run`, or by `make stack`."""
    for folder in (os.environ.get("HAAT_DATA"), ".haat", ".haat-stack"):
        if folder is None:
            continue
        data = Path(folder).expanduser().absolute()
        form = "stack" if (data / "stack.json").exists() else "embedded"
        port, simulator_port = (int(os.environ.get(name) or default) for name, default in DEFAULTS.items())
        process = ShopProcess(data.parent, data=data, port=port, simulator_port=simulator_port, form=form)
        if process.processes():
            return process
    return None
