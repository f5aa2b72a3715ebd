"""kill -9 of each service at every crash point that it passes, and of those parts that have none."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from tests.faults import provoking
from tests.faults.crash_points import PASSED_BY
from tests.faults.fault import Fault, NeverFired
from tests.faults.load import UNLUCKY
from tests.faults.stage import FIRED_WITHIN, Stage
from tests.patience import BETWEEN_LOOKS

SELDOM = ("hand_on", "call")
"""Passed only when something is amiss; the first passing is the one to wait for."""

Provoke = Callable[[Stage], Awaitable[object]]


def provocation(service: str, point: str) -> Provoke | None:
    """What makes the service pass this point, when the shoppers alone do not."""
    kind = point.split(".", maxsplit=1)[0]
    if kind == "hand_on":
        return partial(_poison, service=service)
    if service == "accounts":
        return provoking.registration
    asked = {
        "catalog": provoking.orphaned_hold,
        "cart": provoking.unknown_variant,
        "payments": provoking.unknown_order,
    }
    return asked.get(service) if kind == "call" else None


async def _poison(stage: Stage, *, service: str) -> None:
    with suppress(*UNLUCKY, OSError):
        await provoking.poison(stage, service)


async def dies_at(stage: Stage, dice: random.Random, *, service: str, point: str) -> str:
    """Evidence: the process says so as its last act, and the supervisor has seen its end."""
    passing = 1 if point.split(".", maxsplit=1)[0] in SELDOM else dice.randint(1, 3)
    ends = stage.part(service)["ends"]
    fired = stage.condemn(service, point, passing)
    provoke = provocation(service, point)
    try:
        async with asyncio.timeout(FIRED_WITHIN):
            while not fired.exists():
                if provoke is not None:
                    await provoke(stage)
                await asyncio.sleep(BETWEEN_LOOKS * 4)
    except TimeoutError:
        raise NeverFired(f"{service} never passed {point} for the {passing}. time") from None
    finally:
        stage.pardon()
    await stage.ended(service, ends)
    return f"at passing {passing}"


def crash_faults() -> list[Fault]:
    """Every service at every point, such that no service is killed twice in a row: each gets to be steady again."""
    pairs = [(service, point) for point, services in PASSED_BY.items() for service in services]
    return [
        Fault(
            f"{service} dies at {point}",
            partial(dies_at, service=service, point=point),
            frozenset({provoking.poison_id(service, 0)}) if point.startswith("hand_on") else frozenset(),
        )
        for service, point in pairs
    ]


async def killed(stage: Stage, _dice: random.Random, *, names: tuple[str, ...]) -> str:
    """Evidence: the supervisor has seen the end of each."""
    await asyncio.gather(*(stage.kill(name) for name in names))
    return "killed"


def kill_faults() -> list[Fault]:
    """Whole processes, at no particular moment."""
    everything = ("accounts", "catalog", "cart", "orders", "payments", "gateway", "simulator")
    return [
        Fault("the gateway is killed", partial(killed, names=("gateway",))),
        Fault("the provider is killed", partial(killed, names=("simulator",))),
        Fault("every service is killed at once", partial(killed, names=everything)),
    ]
