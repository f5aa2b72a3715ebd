"""`make stack` with every connection led over the wires of `links`, and a door to the broker for the harness.

HAAT_WIRES=<plan> python -m tests.faults.routed_stack
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yarl import URL

from embedded.home import Home
from stack.choices import Choices
from stack.definitions import VHOST
from stack.facts import Premises
from stack.opening import Stack, open_stack
from stack.servers import Broker
from stack.topology import Member
from tests.faults.links import GATEWAY, HOST, POSTGRES, RABBITMQ, SIMULATOR, ports_in

OPERATOR = "operator"
DOORS = "doors.json"
"""In the data folder: where the harness finds the broker, and every part without a wire."""


@dataclass(frozen=True, slots=True)
class RoutedPremises(Premises):
    """Facts in which every neighbour is reached over a wire."""

    wires: dict[tuple[str, str], int]

    def variables(self, process: Member) -> dict[str, str]:
        told = Premises.variables(self, process)
        for variable, fact in process.part.variables().items():
            if target := _target_of(fact):
                told[variable] = self._routed(told[variable], process.part.name, target)
        return told

    def _routed(self, url: str, source: str, target: str) -> str:
        return str(URL(url).with_host(HOST).with_port(self.wires[source, target]))


def _target_of(fact: str) -> str | None:
    if fact in ("public_url", "simulator_page_url"):
        return None
    known = {"database_url": POSTGRES, "amqp_url": RABBITMQ, "simulator_url": SIMULATOR}
    return known.get(fact, fact.removesuffix("_url") if fact.endswith("_url") else None)


@dataclass
class OperatedBroker(Broker):
    """With one more user, who may everything."""

    def definitions(self) -> dict[str, Any]:
        self.passwords.setdefault(OPERATOR, os.environ["HAAT_OPERATOR_PASSWORD"])
        document = Broker.definitions(self)
        whole = {"user": OPERATOR, "vhost": VHOST, "configure": ".*", "write": ".*", "read": ".*"}
        user = {"name": OPERATOR, "password": self.passwords[OPERATOR], "tags": ["administrator"], "limits": {}}
        document["users"].append(user)
        document["permissions"].append(whole)
        return document


class RoutedStack(Stack):
    """The stack over wires."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.broker = OperatedBroker(self.home.path / "rabbitmq")
        self.wires = ports_in(Path(os.environ["HAAT_WIRES"]))

    def premises(self) -> Premises:
        broker = URL(self.broker.url(OPERATOR))
        ports = {name: members[0].port for name, members in self.choices.members().items()}
        ports |= {POSTGRES: self.server.port, RABBITMQ: broker.port or 0, SIMULATOR: self.choices.simulator_port}
        (self.home.path / DOORS).write_text(json.dumps({"broker": str(broker), "ports": ports}))
        plain = super().premises()
        facts = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
        return RoutedPremises(**facts, wires=self.wires)

    @property
    def webhook_url(self) -> str:
        return str(URL(super().webhook_url).with_port(self.wires[SIMULATOR, GATEWAY]))


def door_to_broker(data: Path) -> str:
    """Its address, with the operator's password."""
    return str(json.loads((data / DOORS).read_text())["broker"])


def port_behind(data: Path, target: str) -> int:
    """Where a part really listens."""
    return int(json.loads((data / DOORS).read_text())["ports"][target])


def main() -> int:
    home = Home.from_environment()
    choices = Choices.from_environment()
    home.prepare()
    with home.alone():
        return open_stack(home, choices, started=time.monotonic(), kind=RoutedStack)


if __name__ == "__main__":
    sys.exit(main())
