"""A broker that is hostile: every event three times, late and out of order; too much published again; poison."""

import asyncio
import random
from dataclasses import dataclass, field

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from chassis.rabbitmq_connection import EVENTS, copy_of
from chassis.rabbitmq_queues import incoming
from stack.topology import PARTS
from tests.faults import provoking
from tests.faults.fault import Fault, NeverFired
from tests.faults.stage import HEALED_WITHIN, Stage
from tests.patience import eventually
from tests.queues import CONSUMERS

COPIES = 3
LONGEST_DELAY = 4.0
HOSTILE_FOR = 15.0
FEWEST = 30
"""Events that must have been turned about for the fault to count."""


@dataclass
class HostileBroker:
    """Takes every event before its consumers do, and hands it on three times, each copy at a moment of its own."""

    channel: AbstractChannel
    dice: random.Random
    taken: int = 0
    overtaken: int = 0
    _tag: str = ""
    _newest: dict[str, int] = field(default_factory=dict)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def take_over(self) -> AbstractQueue:
        """From now on no event reaches a consumer but through us. The queue is durable: it outlives even us."""
        queue = await self.channel.declare_queue("hostile", durable=True)
        await queue.bind(EVENTS, "#")
        await self._bind_consumers(is_bound=False)
        self._tag = await queue.consume(self._take)
        return queue

    async def give_back(self, queue: AbstractQueue) -> None:
        """Consumers get their events straight again, after all that we still have."""
        await self._bind_consumers(is_bound=True)
        await queue.unbind(EVENTS, "#")

        async def is_empty() -> bool:
            found = await self.channel.declare_queue("hostile", passive=True, durable=True)
            return not found.declaration_result.message_count and not self._under_way

        await eventually(is_empty, what="The end of hostility", within=HEALED_WITHIN)
        await queue.cancel(self._tag)
        await queue.delete()

    async def _bind_consumers(self, *, is_bound: bool) -> None:
        for part in PARTS:
            if part.listens_to:
                queue = await self.channel.get_queue(incoming(part.name), ensure=False)
                for type_ in part.listens_to:
                    await (queue.bind(EVENTS, type_) if is_bound else queue.unbind(EVENTS, type_))

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self.taken += 1
        task = asyncio.ensure_future(self._hand_on(message, self.taken))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _hand_on(self, message: AbstractIncomingMessage, number: int) -> None:
        listening = [part.name for part in PARTS if (message.type or "") in part.listens_to]
        await asyncio.gather(
            *(self._deliver(message, consumer, number) for consumer in listening for _ in range(COPIES))
        )
        await message.ack()

    async def _deliver(self, message: AbstractIncomingMessage, consumer: str, number: int) -> None:
        await asyncio.sleep(self.dice.uniform(0, LONGEST_DELAY))
        await self.channel.default_exchange.publish(copy_of(message, {}), incoming(consumer), timeout=30)
        self.overtaken += number < self._newest.get(consumer, 0)
        self._newest[consumer] = max(number, self._newest.get(consumer, 0))


async def turned_about(stage: Stage, dice: random.Random) -> str:
    """Evidence: so many events came three times, and so many copies after a younger one."""
    assert stage.operator_url is not None
    async with await aio_pika.connect(stage.operator_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1000)
        broker = HostileBroker(channel, dice)
        queue = await broker.take_over()
        try:
            await asyncio.sleep(HOSTILE_FOR)
        finally:
            await broker.give_back(queue)
    if broker.taken < FEWEST or not broker.overtaken:
        raise NeverFired(f"Only {broker.taken} events came by, and {broker.overtaken} out of order")
    return f"{broker.taken} events, {broker.overtaken} copies overtaken"


async def published_again(stage: Stage, _dice: random.Random) -> str:
    """The operators' command for a broker that lost its data, given though it lost nothing."""
    counted = await stage.republish(since="5m")
    if counted.startswith("0 "):
        raise NeverFired("There was nothing to publish again")
    return counted


async def poisoned(stage: Stage, _dice: random.Random) -> str:
    """Every kind of spoiled message to every consumer. Evidence: each is parked and shows its error to operators."""
    for consumer in CONSUMERS:
        for number in range(provoking.SPOILED):
            await provoking.poison(stage, consumer, number)
    kinds = provoking.SPOILED

    async def all_parked() -> bool:
        found = await stage.queues().parked()
        return all(found.get(consumer, 0) >= kinds for consumer in CONSUMERS)

    await eventually(all_parked, what="The parking of every spoiled message", within=HEALED_WITHIN)
    id_ = str(provoking.poison_id("orders", 0))
    listed = await stage.events("orders", "list")
    shown = await stage.events("orders", "show", id_)
    if id_ not in listed or "not an event envelope" not in shown:
        raise NeverFired(f"Operators do not see what was injected: {listed} {shown}")
    await stage.events("orders", "replay", id_)
    return f"{kinds * len(CONSUMERS)} parked, one replayed"


def message_faults() -> list[Fault]:
    """What a broker may do to messages."""
    ids = (provoking.poison_id(consumer, n) for consumer in CONSUMERS for n in range(provoking.SPOILED))
    return [
        Fault("events come thrice, late and in any order", turned_about),
        Fault("everything is published again", published_again),
        Fault("poison reaches every consumer", poisoned, frozenset(ids)),
    ]
