"""Learns what tokens rest on: the signing keys, and the sessions that were ended."""

import asyncio
import contextlib
import time
from uuid import UUID

import msgspec

from chassis.auth import KeySet
from chassis.clients import InternalClient
from chassis.events import Bus, Consuming, Envelope, Poison
from chassis.telemetry import get_logger, service_name
from gateway.revocations import Revocations
from gateway.routes import GATEWAY

REVOKED = "session.revoked.v1"
UNLOADED_PAUSE = 0.5
"""Seconds between attempts while there is nothing to work with yet."""


class RevokedSession(msgspec.Struct):
    """What this gateway reads of an ended session, in the event and in the snapshot."""

    session_id: UUID
    expires_at: int


class Snapshot(msgspec.Struct):
    """Every ended session of which a token may still live."""

    items: list[RevokedSession]


class SessionFeed:
    """Events for speed, a snapshot at start, after each reconnect and every now and then for what was missed."""

    def __init__(
        self, *, bus: Bus, accounts: InternalClient, keys: KeySet, revocations: Revocations, refresh: float
    ) -> None:
        self._bus = bus
        self._accounts = accounts
        self._keys = keys
        self._revocations = revocations
        self._refresh = refresh
        self._tasks: list[asyncio.Task[None]] = []
        self._due = asyncio.Event()
        self._listening: Consuming | None = None

    async def start(self) -> None:
        """Listen first and read the snapshot second, so that nothing falls between."""
        self._listening = await self._bus.listen(GATEWAY, [REVOKED], self._on_event, on_bound=self._on_bound)
        self._tasks = [asyncio.create_task(self._keep_sessions()), asyncio.create_task(self._keep_keys())]

    async def stop(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            await self._listening.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _on_event(self, body: bytes, _attempt: int) -> None:
        try:
            revoked = msgspec.convert(Envelope.decode(body).data, RevokedSession)
        except msgspec.ValidationError as error:
            raise Poison(str(error)) from error
        self._revocations.add(revoked.session_id, revoked.expires_at)

    async def _on_bound(self) -> None:
        self._due.set()

    async def _keep_sessions(self) -> None:
        service_name.set(GATEWAY)
        while True:
            self._due.clear()
            await self._read_snapshot()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._refresh if self._revocations.is_loaded else UNLOADED_PAUSE):
                    await self._due.wait()

    async def _read_snapshot(self) -> None:
        try:
            reply = await self._accounts.call("GET", "/internal/sessions/revoked")
            if not reply.is_ok:
                raise ValueError(f"accounts answered {reply.status}")
            snapshot = msgspec.convert(reply.data, Snapshot)
        except Exception as error:  # noqa: BLE001 - what is known stays in force; the next round tries again
            get_logger().warning("revoked sessions not read", error=str(error))
            return
        for item in snapshot.items:
            self._revocations.add(item.session_id, item.expires_at)
        self._revocations.forget(time.time())
        self._revocations.is_loaded = True

    async def _keep_keys(self) -> None:
        while True:
            if not self._keys.is_loaded or self._keys.is_stale(time.monotonic()):
                await self.fetch_keys()
            await asyncio.sleep(UNLOADED_PAUSE if not self._keys.is_loaded else self._refresh)

    async def fetch_keys(self) -> None:
        """Read the key set, in a task of its own; the one in use stays when that fails."""
        service_name.set(GATEWAY)
        try:
            await self._keys.refresh()
        except Exception as error:  # noqa: BLE001 - as above
            get_logger().warning("keys not read", error=str(error))
