"""Wires that carry nothing, or only one way, between any two parts that talk to each other."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from tests.faults import provoking
from tests.faults.fault import Fault, NeverFired
from tests.faults.links import BOTH, RABBITMQ, Way, Wire, wires
from tests.faults.stage import Stage
from tests.patience import BETWEEN_LOOKS

FELT_WITHIN = 40.0
HELD = 4.5
"""Seconds from the first byte that does not come through: longer than a call between services waits."""
HELD_FROM_BROKER = 11.0
"""Longer than a heartbeat."""


async def _starts_anew(stage: Stage, *, name: str) -> None:
    """It fetches keys, which it otherwise does every few minutes; killed again before it has come up, it would not."""
    with suppress(ProcessLookupError):  # it is being started already
        await stage.kill(name)
    await stage.answers(name)


def provocation(source: str, target: str) -> Callable[[Stage], Awaitable[None]] | None:
    """What makes the source use a wire that the shoppers alone do not use all the time."""
    if target == "accounts":
        return provoking.registration if source == "gateway" else partial(_starts_anew, name=source)
    return {
        ("accounts", "postgres"): provoking.registration,
        ("accounts", "rabbitmq"): provoking.registration,
        ("gateway", "catalog"): provoking.reloaded_list,
        ("cart", "catalog"): provoking.unknown_variant,
        ("catalog", "orders"): provoking.orphaned_hold,
        ("orders", "payments"): provoking.order_trace,
        ("payments", "catalog"): provoking.overview_of_jobs,
        ("payments", "cart"): provoking.overview_of_jobs,
        ("payments", "orders"): provoking.unknown_order,
    }.get((source, target))


async def interrupted(stage: Stage, dice: random.Random, *, source: str, target: str) -> str:
    """Nothing comes through, then only one way. Evidence: something was held back each time."""
    wire = stage.wires[source, target]
    provoke = provocation(source, target)
    first = await _held(stage, wire, *BOTH, provoke=provoke, is_broken=dice.random() < 0.5)
    way = dice.choice(BOTH)
    second = await _held(stage, wire, way, provoke=provoke, is_broken=dice.random() < 0.5)
    return f"{first} held back, {second} {'on the way' if way is Way.THERE else 'on the way back'}"


async def _held(
    stage: Stage, wire: Wire, *ways: Way, provoke: Callable[[Stage], Awaitable[None]] | None, is_broken: bool
) -> int:
    """How many chunks and connections the wire held back."""
    before = wire.held
    provoking_it: asyncio.Task[None] | None = None
    wire.hold(*ways)
    try:
        async with asyncio.timeout(FELT_WITHIN):
            while wire.held == before:
                if provoke is not None and (provoking_it is None or provoking_it.done()):
                    provoking_it = asyncio.ensure_future(provoke(stage))
                await asyncio.sleep(BETWEEN_LOOKS)
        await asyncio.sleep(HELD_FROM_BROKER if wire.target == RABBITMQ else HELD)
    except TimeoutError:
        raise NeverFired(f"Nothing went over the wire {wire.name}") from None
    finally:
        wire.let_go(is_broken=is_broken)
    if provoking_it is not None:
        await provoking_it
    return wire.held - before


def partition_faults() -> list[Fault]:
    """Every wire."""
    return [
        Fault(f"{source} is cut off from {target}", partial(interrupted, source=source, target=target))
        for source, target in wires()
    ]
