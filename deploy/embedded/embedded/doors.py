"""The two ports that people meet: the shop's and the simulator's, as the environment asks for them."""

import os

from localservers.ports import is_free

DEFAULTS = {"PORT": 8000, "SIMULATOR_PORT": 8090}


class PortRefused(Exception):
    """The shop cannot open there."""


def ports_from_environment(*, command: str = "make run") -> dict[str, int]:
    """PORT and SIMULATOR_PORT. Raises PortRefused for what is no port, or is taken."""
    return {name: _port(name, default, command) for name, default in DEFAULTS.items()}


def _port(name: str, default: int, command: str) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise PortRefused(f"{name} is {text!r}; set it to a port number from 1 to 65535.")
    port = int(text)
    if not is_free(port):
        remedy = f"Stop what runs there, or choose another: {command} {name}={port + 1000}"
        raise PortRefused(f"Port {port} is in use. {remedy}")
    return port
