"""Connections to RabbitMQ that are opened again whenever they are lost, and the one that publishes.

aio-pika's plain connections, not its robust ones: every reconnect declares the whole topology anew, so a broker that
came back empty is made whole, and there is one loop to read when something does not come back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, PublishError
from pamqp.exceptions import PAMQPException
from yarl import URL

from chassis.cancellation import is_stray
from chassis.events import PublishFailed, Unroutable
from chassis.telemetry import get_logger

EVENTS = "haat.events"
DEAD = "haat.dead"
HEARTBEAT = 10
PUBLISH_TIMEOUT = 5.0
FAREWELL = 3.0
"""Seconds that a connection gets to close: a frozen broker does not answer a farewell."""
PREPARED_WITHIN = 30.0
"""Seconds to declare and bind everything, a listener's `on_bound` included."""

LOST = (AMQPError, PAMQPException, OSError, RuntimeError, TimeoutError)
"""What aio-pika raises when a connection or channel is gone."""


@asynccontextmanager
async def connected(url: URL, *, name: str) -> AsyncIterator[AbstractConnection]:
    """A connection that is closed at the end, also when it never opened: one that is dropped closes itself sometime."""
    connection = aio_pika.Connection(url, client_properties={"connection_name": name})
    try:
        await connection.connect(timeout=5)
        yield connection
    finally:
        try:
            async with asyncio.timeout(FAREWELL):
                await connection.close()
        finally:
            # It holds nothing any more, whatever came of its farewell; this says so.
            await connection.close()


class Session:
    """A connection that is opened again whenever it is lost."""

    def __init__(self, url: str, name: str) -> None:
        self._url = URL(url).update_query(heartbeat=str(HEARTBEAT))
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._ending = asyncio.Event()
        self.is_up = False

    def begin(self) -> None:
        """Connect, now and after every loss, in the background."""
        self._task = asyncio.create_task(self._keep(), name=self._name)

    @property
    def has_ended(self) -> bool:
        """Whether it was closed for good."""
        return self._task is not None and self._task.done()

    async def end(self) -> None:
        """Close for good."""
        self._ending.set()
        while self._task is not None and not self._task.done():
            # Again while it goes on: a connection that is just being opened can make an error of a cancellation.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=FAREWELL + 1)

    async def _keep(self) -> None:
        pause = 0.1
        while not self._ending.is_set():
            self._lost.clear()
            try:
                async with connected(self._url, name=self._name) as connection:
                    connection.close_callbacks.add(self._on_close)
                    async with asyncio.timeout(PREPARED_WITHIN):
                        await self._prepare(connection)
                    self.is_up, pause = True, 0.1
                    try:
                        await self._stay(connection)
                    finally:
                        self.is_up = False
            except Exception as error:  # noqa: BLE001 - whatever ended the connection, a new one is the cure
                if self._ending.is_set():
                    return
                get_logger().warning("broker_connection_lost", connection=self._name, error=repr(error))
            pause = min(pause * 2, 5.0)
            await asyncio.sleep(pause)

    async def _prepare(self, connection: AbstractConnection) -> None:
        """What to declare and open on a new connection."""
        raise NotImplementedError

    async def _stay(self, _connection: AbstractConnection) -> None:
        """Return when the connection is of no more use."""
        await self._lost.wait()

    def _on_close(self, *_: Any) -> None:
        self._lost.set()

    def _end_with(self, channel: AbstractChannel) -> AbstractChannel:
        channel.close_callbacks.add(self._on_close)
        return channel


class Publisher(Session):
    """The connection that only publishes: when the broker blocks it, acknowledgements still flow on the others."""

    connection: AbstractConnection | None = None
    _channel: AbstractChannel | None = None

    async def _prepare(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.declare_exchange(EVENTS, "topic", durable=True)
        self.connection, self._channel = connection, self._end_with(channel)

    async def send(self, message: aio_pika.Message, *, exchange: str, key: str, mandatory: bool) -> None:
        """Returns when the broker confirmed. Raises Unroutable or PublishFailed."""
        if not self.is_up or self._channel is None:
            raise PublishFailed("The broker is not connected.")
        try:
            target = await self._channel.get_exchange(exchange, ensure=False)
            await target.publish(message, key, mandatory=mandatory, timeout=PUBLISH_TIMEOUT)
        except PublishError as returned:
            raise Unroutable(f"Nobody is bound to {key}.") from returned
        except LOST as failure:
            raise PublishFailed(f"Not confirmed: {failure!r}") from failure
        except asyncio.CancelledError as cancelled:
            # A closing channel cancels what waits on it, which is not the same as our caller giving up.
            if not is_stray(cancelled):
                raise
            raise PublishFailed("The channel closed before the broker confirmed.") from cancelled


def attempt_of(message: AbstractIncomingMessage) -> int:
    attempt = message.headers.get("x-attempt", 1)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1


def id_of(message: AbstractIncomingMessage) -> UUID:
    """The event's id; for a message that none of ours published, one derived from its body."""
    try:
        return UUID(message.message_id or "")
    except ValueError:
        return uuid5(NAMESPACE_OID, message.body.hex())


def copy_of(message: AbstractIncomingMessage, headers: dict[str, Any]) -> aio_pika.Message:
    """The same message with other headers; what the broker and we noted about earlier rounds is left behind."""
    kept = {name: value for name, value in message.headers.items() if not name.startswith("x-")}
    return aio_pika.Message(
        message.body,
        headers={**kept, **headers},
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )
