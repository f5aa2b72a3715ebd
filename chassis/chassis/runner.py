"""One owner for signals: starts a component, serves its listeners, and on SIGTERM or SIGINT takes leave in order.

not ready → still answering, each answer ending its connection → no new connections, what is under way is finished →
the management port closes → the component stops

Whoever balances needs a moment to see that this process is not ready, and kept connections need one to end by
themselves: that is the grace. SIGINT, or a second SIGTERM, skips it, since then nobody will come or somebody waits.

uvicorn's own signal handling is switched off. It raises the signal again after `serve()` and would skip whatever
comes after it, such as handing unacknowledged messages back and closing connections.
"""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from chassis.clients import FAREWELL
from chassis.telemetry import get_logger
from chassis.tracing import stop_tracing

ALLOCATED = 10_000
"""Objects that are made and not freed before a collection looks at them; Python's own 700 are those of one request."""


@dataclass(slots=True)
class Leave:
    """That this process is to end, and whether it is in a hurry."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, number: signal.Signals) -> None:
        """A signal has come."""
        if number is signal.SIGINT or self.asked.is_set():
            self.hurried.set()
        self.asked.set()


class Component(Protocol):
    """Something with a beginning and an end."""

    async def start(self) -> None:
        """Become ready to work."""
        ...

    def retire(self) -> None:
        """Say from now on that no more work should come; what comes is still done."""
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
    is_management: bool = False
    """Answers to the end: operators watch the others close."""
    bound: socket.socket | None = None
    """A socket that is already bound, when the caller wanted to know early that it can be."""


class Server(uvicorn.Server):
    """uvicorn that leaves signals to the runner, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.listening.set()

    def say_farewell(self) -> None:
        """From now on every answer ends its connection, so that the next request finds another process."""
        self.config.encoded_headers = [*self.config.encoded_headers, FAREWELL]
        self.server_state.default_headers = [*self.server_state.default_headers, FAREWELL]
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False

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
    component: Component,
    listeners: Sequence[Listener],
    *,
    grace: float = 0.0,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Start, serve until told to stop, take leave within `grace` seconds and the drain, then stop the component.

    Raises OSError when an address is taken, and what `start` raises.
    """
    leave = Leave()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.ask, number)
    try:
        await component.start()
        # What was imported and built by now lives as long as the process: no collection need search it. With it, a full
        # one takes a fifth of a second in which nobody is answered.
        gc.freeze()
        gc.set_threshold(ALLOCATED)
        await serve(
            listeners, leave.asked, retire=component.retire, grace=grace, hurried=leave.hurried, on_ready=on_ready
        )
    finally:
        await component.stop()
        stop_tracing()


async def serve(
    listeners: Sequence[Listener],
    stopping: asyncio.Event,
    *,
    retire: Callable[[], None] | None = None,
    grace: float = 0.0,
    hurried: asyncio.Event | None = None,
    on_ready: Callable[[], None] | None = None,
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
        waiting.cancel()
        listening.cancel()
        if retire is not None:
            retire()
        public = [row for row in zip(listeners, servers, tasks, strict=True) if not row[0].is_management]
        if stopping.is_set():
            await _say_farewell([server for _, server, _ in public], grace, hurried or asyncio.Event())
        get_logger().info("draining")
        await _drain(public)
        await _drain([row for row in zip(listeners, servers, tasks, strict=True) if row[0].is_management])
    for task in tasks:
        task.result()


async def _say_farewell(servers: Sequence[Server], grace: float, hurried: asyncio.Event) -> None:
    for server in servers:
        server.say_farewell()
    if servers and grace > 0:
        get_logger().info("leaving", grace=grace)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await hurried.wait()


async def _drain(rows: Sequence[tuple[Listener, Server, asyncio.Task[None]]]) -> None:
    """Drain every server, even when one of them has failed."""
    for _, server, _ in rows:
        server.should_exit = True
    if rows:
        await asyncio.wait([task for _, _, task in rows])


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
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"{host}:{port} is not to be had ({error.strerror})") from error
    bound.set_inheritable(True)
    return bound
