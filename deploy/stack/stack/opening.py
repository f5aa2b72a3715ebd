"""Opening the distributed shop: servers, databases, services, and the gateway once all of them are ready."""

import asyncio
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chassis.migrations import is_migrated
from chassis.settings import SettingsRefused
from embedded.block import Opening, block
from embedded.databases import POSTGRES_SETTINGS, prepare_databases
from embedded.home import Home
from embedded.simulator import Simulator
from localservers.broker import BrokerUnavailable
from localservers.postgres import PostgresServer, PostgresServerError
from localservers.rabbitmq import NoRabbitMQ
from stack.choices import Choices
from stack.facts import HOST, Premises
from stack.process import Process
from stack.replacing import REPORT, release_of
from stack.servers import Broker, Database
from stack.supervisor import EndsTooOften, Supervisor, ready
from stack.topology import GATEWAY, SERVICES, Member, Part, connections

READY_WITHIN = 120.0
STOP_WITHIN = 10.0
FILLED = ("catalog", "accounts")
"""Those whose `seed` puts the demo's goods and people in."""


class CommandFailed(Exception):
    """A service could not do what it was asked before it starts."""


@dataclass
class Stack:
    """The distributed shop on one data folder."""

    home: Home
    choices: Choices
    server: PostgresServer = field(init=False)
    broker: Broker = field(init=False)
    supervisor: Supervisor = field(init=False)
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        members = self.choices.members()
        allowed = max(
            int(POSTGRES_SETTINGS["max_connections"]), connections([m for each in members.values() for m in each])
        )
        self.server = PostgresServer(
            self.home.postgres, settings={**POSTGRES_SETTINGS, "max_connections": str(allowed)}
        )
        self.broker = Broker(self.home.path / "rabbitmq")
        self.supervisor = Supervisor(
            self.home.path / REPORT, {"gateway": self.choices.public_url, "simulator": self.choices.simulator_url}
        )
        self._members = members

    def open(self) -> None:
        """Return when a shopper could enter."""
        self.server.launch()
        self.server.wait_ready()
        asyncio.run(prepare_databases(self.home, self.server, names=[part.name for part in SERVICES]))
        self.broker.start()
        self.supervisor.adopt(Database(self.server), self.broker)
        premises = self.premises()
        self._prepare_data(premises)
        self._start([*self._processes(premises, SERVICES), self._simulator()])
        self._start(self._processes(premises, [GATEWAY]))

    def premises(self) -> Premises:
        """What every process stands on, now that the servers run."""
        return Premises(
            secrets=self.home.secrets(),
            server=self.server,
            broker=self.broker,
            processes=self._members,
            public_url=self.choices.public_url,
            simulator_url=self.choices.simulator_url,
        )

    @property
    def webhook_url(self) -> str:
        """Where the provider tells what happened."""
        return f"http://{HOST}:{self.choices.port}/api/v1/payments/webhooks/razorpay"

    def _prepare_data(self, premises: Premises) -> None:
        """Bring every database to its newest shape, and fill the shop once."""
        behind = [
            part for part in SERVICES if not asyncio.run(is_migrated(premises.database_url(part.name), part.name))
        ]
        self._run("migrate", self._any_process(premises, behind))
        filled = self.home.path / "demo-created"
        if not filled.exists():
            self._run("seed", self._any_process(premises, [part for part in SERVICES if part.name in FILLED]))
            filled.touch()

    def _any_process(self, premises: Premises, parts: Sequence[Part]) -> list[Process]:
        return [self._process(premises, self._members[part.name][0]) for part in parts]

    def _run(self, command: str, processes: Sequence[Process]) -> None:
        """Side by side. Raises CommandFailed and SettingsRefused."""
        running = [(process, process.run(command)) for process in processes]
        failed = [process for process, under_way in running if under_way.wait() != 0]
        if refused := [process.refused for process in failed if process.refused]:
            raise SettingsRefused("\n".join(refused))
        for process in failed:
            raise CommandFailed(f"`python -m {process.module} {command}` failed; {process.log} says why.")

    def _start(self, processes: Sequence[Process]) -> None:
        """Start these side by side, and return when every one of them is ready."""
        self.processes += processes
        self.supervisor.start(*processes)
        names = ", ".join(process.name for process in processes)
        self.supervisor.wait(ready(processes), within=READY_WITHIN, what=f"The start of {names}")

    def _processes(self, premises: Premises, parts: Sequence[Part]) -> list[Process]:
        return [self._process(premises, member) for part in parts for member in self._members[part.name]]

    def _process(self, premises: Premises, member: Member) -> Process:
        return Process(
            name=member.name,
            module=member.part.name,
            variables=premises.variables(member),
            health_url=f"http://{HOST}:{member.management_port}/readyz",
            log=self.home.log,
            release=release_of(self.home, member.name),
        )

    def _simulator(self) -> Process:
        simulator = Simulator(
            data=self.home.simulator,
            port=self.choices.simulator_port,
            secrets=self.home.secrets(),
            webhook_url=self.webhook_url,
            return_url=f"{self.choices.public_url}/docs",
            log=self.home.log,
        )
        url = f"{simulator.url}/readyz"
        return Process("simulator", "razorpay_simulator", simulator.variables, url, self.home.log)

    def close(self) -> None:
        """From the door inwards: whoever still talks to a service or a server gets to finish."""
        doors = [process for process in self.processes if process.module == GATEWAY.name]
        others = [process for process in self.processes if process not in doors]
        for group in (doors, others):
            deadline = time.monotonic() + STOP_WITHIN
            for process in group:
                process.ask_to_end()
            for process in group:
                process.wait_for_the_end(deadline)
        self.broker.stop()
        self.server.stop()
        (self.home.path / REPORT).unlink(missing_ok=True)


def open_stack(home: Home, choices: Choices, *, started: float, kind: type[Stack] = Stack) -> int:
    """Serve until Ctrl-C; the exit status. `kind`: tests lay the links between the parts in their own way."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)  # a shell in the background has us ignore Ctrl-C otherwise
    stack = kind(home, choices)
    try:
        stack.open()
        opening = Opening(
            gateway=choices.public_url,
            simulator=choices.simulator_url,
            data=home.path,
            log=home.log,
            seconds=time.monotonic() - started,
            afresh=f"make reset HAAT_DATA={_shown(home.path)}",
        )
        print(block(opening), flush=True)
        stack.supervisor.keep()
    except SettingsRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except (PostgresServerError, NoRabbitMQ, BrokerUnavailable, CommandFailed, EndsTooOften, TimeoutError) as failure:
        print(f"{failure}\nThe log is {home.log}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Closing…", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stack.close()
    print("Closed. The data is kept; `make stack` opens again.")
    return 130


def _leave(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _shown(path: Path) -> str:
    """As somebody in the current folder would type it."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
