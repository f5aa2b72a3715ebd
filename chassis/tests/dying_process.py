"""A process of a service that dies at the worst moment: `dying_process.py <part> <bus url> <database url>`.

`relay` dies after the bus confirmed an event and before the outbox says so; `consumer` after the handler's commit and
before the acknowledgement; `both` relays to itself and dies like the consumer.
"""

import asyncio
import os
import signal
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database
from chassis.events import Bus, Message, Reader, Subscription
from chassis.inbox import Inbox
from chassis.inprocess import InProcessBus
from chassis.locks import LockConnection
from chassis.outbox import Relay
from chassis.rabbitmq import RabbitBus
from chassis.settings import ServiceSettings
from chassis.testing import IdleBus

TYPE = "lamp.lit.v1"


class ShopSettings(ServiceSettings):
    service = "shop"


class Lamp(Reader):
    lamp_id: str


class DeadlyBus(IdleBus):
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, message: Message) -> None:
        await self._bus.publish(message)
        die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def open_bus(url: str) -> Bus:
    return RabbitBus(url, name="shop", pause=0.05) if url.startswith("amqp") else InProcessBus(url, pause=0.05)


def queue_of(database_url: str) -> str:
    """A queue of its own for each test's database."""
    return database_url.rsplit("/", 1)[-1]


def open_inbox(database: Database) -> Inbox:
    return Inbox(database, [Subscription(TYPE, Lamp, note)], consumer="shop")


async def note(session: AsyncSession, lamp: Lamp) -> None:
    await session.execute(text("INSERT INTO notes VALUES (:lamp)"), {"lamp": lamp.lamp_id})


async def until_ready(bus: Bus) -> None:
    while not bus.is_ready():  # noqa: ASYNC110 - the port tells it only when asked
        await asyncio.sleep(0.01)


async def relay(bus: Bus, database_url: str) -> None:
    await until_ready(bus)
    await Relay(LockConnection(database_url), DeadlyBus(bus)).publish_batch()


async def consumer(bus: Bus, database_url: str) -> None:
    database = Database(ShopSettings(database_url=database_url))  # type: ignore[arg-type]  # pydantic reads the text as a secret
    await database.start()
    inbox = open_inbox(database)

    async def handle(body: bytes, attempt: int) -> None:
        await inbox.handle(body, attempt)
        die()

    await bus.subscribe(queue_of(database_url), [TYPE], handle)


async def both(bus: Bus, database_url: str) -> None:
    await consumer(bus, database_url)
    await until_ready(bus)
    await Relay(LockConnection(database_url), bus).publish_batch()


async def main(part: str, bus_url: str, database_url: str) -> None:
    bus = open_bus(bus_url)
    await bus.start()
    await {"relay": relay, "consumer": consumer, "both": both}[part](bus, database_url)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
