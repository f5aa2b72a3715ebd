"""The ports that people meet: the shop's, the simulator's and, if asked for, the operators'."""

import os
from dataclasses import dataclass
from typing import Self

from localservers.ports import is_free

DEFAULTS = {"PORT": 8000, "SIMULATOR_PORT": 8090}


class PortRefused(Exception):
    """The shop cannot open there."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the embedded shop is entered."""

    port: int
    simulator_port: int
    management_port: int | None
    """Where operators read metrics; nothing listens there unless MANAGEMENT_PORT asks for it."""

    @classmethod
    def from_environment(cls) -> Self:
        """PORT, SIMULATOR_PORT and MANAGEMENT_PORT. Raises PortRefused."""
        ports = ports_from_environment()
        has_management = bool(os.environ.get("MANAGEMENT_PORT"))
        management_port = _port("MANAGEMENT_PORT", 8100, "make run") if has_management else None
        if management_port in ports.values():
            raise PortRefused(f"MANAGEMENT_PORT is {management_port}, where something else opens; choose another.")
        return cls(ports["PORT"], ports["SIMULATOR_PORT"], management_port)


def ports_from_environment(*, command: str = "make run") -> dict[str, int]:
    """PORT and SIMULATOR_PORT. Raises PortRefused for what is no port, is taken, or is named twice."""
    ports = {name: _port(name, default, command) for name, default in DEFAULTS.items()}
    if len(set(ports.values())) < len(ports):
        raise PortRefused(f"{' and '.join(ports)} are both {ports['PORT']}; choose two.")
    return ports


def _port(name: str, default: int, command: str) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise PortRefused(f"{name} is {text!r}; set it to a port number from 1 to 65535.")
    port = int(text)
    if not is_free(port):
        remedy = f"Stop what runs there, or choose another: {command} {name}={port + 1000}"
        raise PortRefused(f"Port {port} is in use. {remedy}")
    return port
