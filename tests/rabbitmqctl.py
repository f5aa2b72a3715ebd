"""The broker's own command, aimed at the broker of an open stack, as its operator would use it."""

import asyncio
from pathlib import Path

import psutil

from localservers.broker import BrokerUnavailable
from localservers.rabbitmq_programs import installed_programs, unpacked_programs
from stack.servers import PROGRAMS


async def rabbitmqctl(pid: int, *arguments: str) -> str:
    """What it prints; `pid` is the broker's."""
    process = await asyncio.create_subprocess_exec(
        _program(),
        *arguments,
        env=psutil.Process(pid).environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaint = await process.communicate()
    assert process.returncode == 0, f"rabbitmqctl {arguments} failed: {complaint.decode()}"
    return printed.decode()


def _program() -> Path:
    try:
        programs = installed_programs()
    except BrokerUnavailable:
        programs = unpacked_programs(PROGRAMS)
    return programs.sbin / "rabbitmqctl"
