"""What an operator tells a running broker before a service publishes a new event."""

import asyncio
import re

import psutil

from localservers.broker import BrokerUnavailable
from localservers.rabbitmq_programs import installed_programs, unpacked_programs
from stack.servers import PROGRAMS
from stack.topology import PARTS
from tests.shop_process import ShopProcess


async def allow_to_publish(process: ShopProcess, service: str, event: str) -> None:
    """Add an event to those that a service may publish."""
    part = next(part for part in PARTS if part.name == service)
    types = "|".join(re.escape(type_) for type_ in (*part.publishes, event))
    try:
        programs = installed_programs()
    except BrokerUnavailable:
        programs = unpacked_programs(PROGRAMS)
    running = await asyncio.create_subprocess_exec(
        programs.sbin / "rabbitmqctl",
        *("set_topic_permissions", service, "haat.events", f"^({types})$", ".*"),
        env=psutil.Process(process.parts()["rabbitmq"]["pid"]).environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await running.communicate()
    assert running.returncode == 0, printed.decode()
