"""One owner for signals: starts a component, serves its listeners, and on SIGTERM or SIGINT drains in order.

uvicorn's own signal handling is switched off. It raises the signal again after `serve()` and would skip whatever
comes after it, such as handing unacknowledged messages back and closing connections.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from chassis.telemetry import get_logger
from chassis.tracing import stop_tracing


class Component(Protocol):
    """Something with a beginning and an end."""

    async def start(self) -> None:
        """Become ready to work."""
        ...

    async def stop(self) -> None:
        """Finish what is under way and let go."""
        ...


@dataclass(frozen=True, slots=True)
class Listener:
    """An application on an address."""

    app: ASGIApp
    host: str
    port: int
    drain: float = 20.0
    """Seconds that requests under way get."""
    http: Any = "httptools"
    """uvicorn's protocol name, or a subclass of its httptools protocol."""
    keep_alive: int = 15
    bound: socket.socket | None = None
    """A socket that is already bound, when the caller wanted to know early that it can be."""


class Server(uvicorn.Server):
    """uvicorn without hands on signals, which says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The runner owns signals."""
        yield


def server_for(listener: Listener) -> Server:
    """A uvicorn server for a listener: quiet, with a bounded drain."""
    return Server(
        uvicorn.Config(
            listener.app,
            host=listener.host,
            port=listener.port,
            http=listener.http,
            loop="uvloop",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=listener.keep_alive,
            timeout_graceful_shutdown=max(1, int(listener.drain)),
            backlog=2048,
        )
    )


async def run(
    component: Component, listeners: Sequence[Listener], *, on_ready: Callable[[], None] | None = None
) -> None:
    """Start, serve until told to stop, drain the listeners, then stop the component.

    Raises OSError when an address is taken, and what `start` raises.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await component.start()
        await serve(listeners, stopping, on_ready=on_ready)
    finally:
        await component.stop()
        stop_tracing()


async def serve(
    listeners: Sequence[Listener], stopping: asyncio.Event, *, on_ready: Callable[[], None] | None = None
) -> None:
    """Serve until `stopping` is set or a listener ends by itself, then drain."""
    servers = [server_for(listener) for listener in listeners]
    tasks = [asyncio.create_task(_serve(server, listener)) for server, listener in zip(servers, listeners, strict=True)]
    waiting = asyncio.create_task(stopping.wait())
    listening = asyncio.gather(*(server.listening.wait() for server in servers))
    first: list[asyncio.Future[Any]] = [*tasks, waiting, listening]
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if listening.done() and on_ready is not None:
            on_ready()
        await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        get_logger().info("draining")
        for server in servers:
            server.should_exit = True
        waiting.cancel()
        listening.cancel()
        # All of them drain, also when one has failed.
        await asyncio.wait(tasks)
    for task in tasks:
        task.result()


async def _serve(server: Server, listener: Listener) -> None:
    bound = listener.bound or bind(listener.host, listener.port)
    try:
        await server.serve(sockets=[bound])
    finally:
        bound.close()


def bind(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound
