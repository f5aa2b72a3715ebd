"""Ports that stay ours: below the ephemeral range, where no outgoing connection can take one first."""

import secrets
import socket

_LOWEST = 20_000
_BELOW_EPHEMERAL = 32_768
_ATTEMPTS = 200


class NoFreePort(Exception):
    def __init__(self) -> None:
        super().__init__(f"No free port was found between {_LOWEST} and {_BELOW_EPHEMERAL}.")


class PortIsTaken(Exception):
    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} on 127.0.0.1 is used by another program.")


def is_free(port: int) -> bool:
    """Whether a server could listen there now. A connection still in TIME_WAIT does not count against it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port chosen by chance, so that two launchers looking at the same moment rarely meet."""
    for _ in range(_ATTEMPTS):
        port = _LOWEST + secrets.randbelow(_BELOW_EPHEMERAL - _LOWEST)
        if is_free(port):
            return port
    raise NoFreePort
