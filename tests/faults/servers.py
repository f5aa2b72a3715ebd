"""RabbitMQ and PostgreSQL die, stop moving, or lose what they had stored."""

import asyncio
import random
import shutil
import signal
from functools import partial

from tests.faults.fault import Fault
from tests.faults.stage import Stage

FROZEN = 15.0
"""Seconds: longer than every time-out that should notice, and than a heartbeat of the broker."""


async def killed(stage: Stage, _dice: random.Random, *, name: str) -> str:
    """Evidence: the supervisor has seen its end."""
    return await stage.kill(name)


async def frozen(stage: Stage, _dice: random.Random, *, name: str) -> str:
    """Evidence: the same process, still there, and not running in between."""
    stage.signal(name, signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN / 2)
        state = stage.state(name)
        await asyncio.sleep(FROZEN / 2)
    finally:
        stage.signal(name, signal.SIGCONT)
    assert state == "stopped", state
    return f"{state} for {FROZEN:.0f} s"


async def broker_wiped(stage: Stage, _dice: random.Random) -> str:
    """It comes back with its queues and users and without a message; then operators do what the manual says."""
    stored = stage.process.data / "rabbitmq" / "data"
    stage.process.send_signal(signal.SIGSTOP)  # or the supervisor would be quicker than a lost disk is
    try:
        before = sum(1 for path in stored.rglob("*") if path.is_file())
        ends = stage.part("rabbitmq")["ends"]
        stage.signal("rabbitmq", signal.SIGKILL)
        shutil.rmtree(stored)
    finally:
        stage.process.send_signal(signal.SIGCONT)
    await stage.ended("rabbitmq", ends)
    await stage.all_ready(within=90)
    again = await stage.republish(since="30m")
    return f"{before} files gone, {again} published again"


def server_faults() -> list[Fault]:
    """Those of both servers."""
    return [
        Fault("RabbitMQ is killed", partial(killed, name="rabbitmq")),
        Fault("PostgreSQL is killed", partial(killed, name="postgres")),
        Fault("RabbitMQ stands still", partial(frozen, name="rabbitmq")),
        Fault("PostgreSQL stands still", partial(frozen, name="postgres")),
        Fault("RabbitMQ loses its data", broker_wiped),
    ]
