"""What a cluster's Service is to those outside: one address, and new connections for whoever says that it is ready.

Nothing more is done for clients: no retry, no look at what is sent. A connection stays with the process that got it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

LOOK_EVERY = 0.5
"""Seconds; whoever balances learns of a change with some delay."""
CHUNK = 65536


@dataclass
class Balancer:
    """`places`: port → where it says whether it is ready."""

    places: Mapping[int, str]
    port: int = field(default=0, init=False)
    _ready: list[int] = field(default_factory=list, init=False)
    _turn: int = field(default=0, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)
    _watching: asyncio.Task[None] | None = field(default=None, init=False)
    _pipes: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; somebody must be ready."""
        self._ready = list(self.places)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Hang up on everybody."""
        assert self._server is not None
        assert self._watching is not None
        self._watching.cancel()
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(self._watching, *self._pipes, return_exceptions=True)

    async def _watch(self) -> None:
        async with httpx.AsyncClient(timeout=2) as http:
            while True:
                answers = await asyncio.gather(*(self._is_ready(http, url) for url in self.places.values()))
                self._ready = [port for port, is_ready in zip(self.places, answers, strict=True) if is_ready]
                await asyncio.sleep(LOOK_EVERY)

    async def _is_ready(self, http: httpx.AsyncClient, url: str) -> bool:
        try:
            return (await http.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        ready = self._ready
        if not ready:
            writer.close()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", ready[self._turn % len(ready)])
        except OSError:
            writer.close()
            return
        for pipe in (_carry(reader, there[1]), _carry(there[0], writer)):
            task = asyncio.create_task(pipe)
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until either side ends it."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
