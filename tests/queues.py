"""The queues of the distributed shop, as whoever may enter each of them finds them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from yarl import URL

from chassis.events import LADDER
from chassis.rabbitmq_connection import connected
from chassis.rabbitmq_queues import incoming, step_of
from stack.topology import PARTS

CONSUMERS = tuple(part.name for part in PARTS if part.listens_to)


@dataclass(frozen=True, slots=True)
class Queues:
    """`urls`: consumer → a broker's address with a user who may look at its queues."""

    urls: Mapping[str, str]

    async def waiting(self) -> int:
        """Messages that wait to be handled, now or after a pause."""
        return sum((await self._ready(_live)).values())

    async def parked(self) -> dict[str, int]:
        """Messages given up, of those consumers that have any."""
        return {name: count for name, count in (await self._ready(lambda name: [f"{name}.parked"])).items() if count}

    async def _ready(self, queues: Callable[[str], list[str]]) -> dict[str, int]:
        counts = {}
        for consumer, url in self.urls.items():
            async with connected(URL(url), name="queues") as connection, connection.channel() as channel:
                found = [await channel.declare_queue(name, passive=True) for name in queues(consumer)]
                counts[consumer] = sum(queue.declaration_result.message_count or 0 for queue in found)
        return counts


def _live(consumer: str) -> list[str]:
    return [incoming(consumer), *(step_of(consumer, delay) for delay in LADDER)]
