"""What whoever starts the stack may choose: where its doors are, and how many processes each service has."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from embedded.doors import ports_from_environment
from localservers.ports import is_free
from stack.topology import GATEWAY, MOST_REPLICAS, PARTS, Member, members

SPLIT = "split"
"""The role of a service whose worker is a process of its own."""


class ChoiceRefused(Exception):
    """A variable does not say what it should."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Read from the environment."""

    port: int
    simulator_port: int
    replicas: Mapping[str, int]
    is_split: Mapping[str, bool]

    @classmethod
    def from_environment(cls) -> Self:
        """PORT, SIMULATOR_PORT, for each part <PART>_REPLICAS, and for each service <SERVICE>_ROLE.

        Raises ChoiceRefused and PortRefused.
        """
        ports = ports_from_environment(command="make stack")
        choices = cls(
            port=ports["PORT"],
            simulator_port=ports["SIMULATOR_PORT"],
            replicas={part.name: _replicas(part.prefix) for part in PARTS},
            is_split={part.name: part.has_worker and _is_split(part.prefix) for part in PARTS},
        )
        choices.refuse_taken_ports()
        return choices

    @property
    def public_url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"

    def members(self) -> dict[str, list[Member]]:
        """The processes of each part. All ports move with PORT, so that a second shop fits beside the first."""
        shift = self.port - GATEWAY.port
        return {
            part.name: members(part, replicas=self.replicas[part.name], is_split=self.is_split[part.name], shift=shift)
            for part in PARTS
        }

    def refuse_taken_ports(self) -> None:
        """Before anything is started. Raises ChoiceRefused."""
        for processes in self.members().values():
            for process in processes:
                for port in (process.port, process.management_port):
                    if not is_free(port):
                        raise ChoiceRefused(
                            f"Port {port}, of {process.name}, is in use. Stop what runs there, or move all of them: "
                            f"make stack PORT={self.port + 1000}"
                        )


def _replicas(prefix: str) -> int:
    text = os.environ.get(f"{prefix}REPLICAS") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MOST_REPLICAS:
        raise ChoiceRefused(f"{prefix}REPLICAS is {text!r}; set it to a number from 1 to {MOST_REPLICAS}.")
    return int(text)


def _is_split(prefix: str) -> bool:
    text = os.environ.get(f"{prefix}ROLE") or "all"
    if text not in ("all", SPLIT):
        raise ChoiceRefused(
            f"{prefix}ROLE is {text!r}; set it to `all` for processes that do everything, or to `{SPLIT}` for those "
            "that answer requests and one worker."
        )
    return text == SPLIT
