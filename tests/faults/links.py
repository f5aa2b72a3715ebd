"""The wires between the parts of the shop, each through a small proxy of ours that can hold what flows.

A wire holds as a network does: bytes are late, connections look open, nobody is told. When it is let go, what was
held arrives after all, or the connections that were held turn out to be gone.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from stack.topology import PARTS

HOST = "127.0.0.1"
POSTGRES, RABBITMQ, SIMULATOR, GATEWAY = "postgres", "rabbitmq", "simulator", "gateway"


class Way(StrEnum):
    """A direction on a wire, as whoever opened the connection sees it."""

    THERE = "there"
    BACK = "back"


BOTH = (Way.THERE, Way.BACK)


def wires() -> list[tuple[str, str]]:
    """Who opens connections to whom."""
    found = []
    for part in PARTS:
        servers = [RABBITMQ, *([POSTGRES] if part.has_database else [])]
        found += [(part.name, other) for other in (*part.calls, *servers)]
    return [*found, ("payments", SIMULATOR), (SIMULATOR, GATEWAY)]


@dataclass(eq=False)
class Wire:
    """One of them."""

    source: str
    target: str
    address: Callable[[], int]
    """Tells the target's port, when it is asked for: servers choose theirs at their start."""
    port: int = 0
    """Where it begins, once it is laid."""
    held: int = 0
    """Chunks and connections that were held back so far: what shows that a fault was felt."""
    _open: dict[Way, asyncio.Event] = field(default_factory=dict, init=False)
    _connections: set[asyncio.StreamWriter] = field(default_factory=set, init=False)
    _stuck: set[asyncio.StreamWriter] = field(default_factory=set, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return f"{self.source} → {self.target}"

    async def start(self) -> None:
        self._open = {way: asyncio.Event() for way in Way}
        for is_open in self._open.values():
            is_open.set()
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self, *ways: Way) -> None:
        """Nothing more comes through in these directions."""
        for way in ways:
            self._open[way].clear()

    def let_go(self, *, is_broken: bool) -> None:
        """Everything flows again. `is_broken`: connections that something was held back of are gone."""
        for writer in self._stuck if is_broken else ():
            writer.transport.abort()
        self._stuck.clear()
        for is_open in self._open.values():
            is_open.set()

    def cut(self) -> int:
        """Break every connection now; how many."""
        for writer in self._connections:
            writer.transport.abort()
        return len(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._pass(Way.THERE, writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self.address())
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._connections |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(Way.THERE, reader, far_writer))
                group.create_task(self._carry(Way.BACK, far_reader, writer))
        except* OSError:
            pass
        finally:
            self._connections -= both
            self._stuck -= both
            for end in both:
                end.transport.abort()

    async def _carry(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            await self._pass(way, writer)
            writer.write(chunk)
            await writer.drain()
        await self._pass(way, writer)
        with suppress(OSError):
            writer.write_eof()

    async def _pass(self, way: Way, writer: asyncio.StreamWriter) -> None:
        if not self._open[way].is_set():
            self.held += 1
            self._stuck.add(writer)
            await self._open[way].wait()


@asynccontextmanager
async def laid(addresses: Callable[[str], int], plan: Path) -> AsyncIterator[dict[tuple[str, str], Wire]]:
    """Every wire, written down in `plan` for the stack that is to use them. `addresses`: part → its real port."""

    def port_of(target: str) -> Callable[[], int]:
        return lambda: addresses(target)

    found = {(source, target): Wire(source, target, port_of(target)) for source, target in wires()}
    for wire in found.values():
        await wire.start()
    plan.write_text(json.dumps({f"{source} {target}": wire.port for (source, target), wire in found.items()}))
    try:
        yield found
    finally:
        for wire in found.values():
            await wire.stop()


def ports_in(plan: Path) -> dict[tuple[str, str], int]:
    """What the plan says: source and target → the port of the wire between them."""
    written: Iterable[tuple[str, int]] = json.loads(plan.read_text()).items()
    return {(source, target): port for key, port in written for source, target in [key.split()]}
