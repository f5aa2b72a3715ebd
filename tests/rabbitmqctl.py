"""The broker's own command, aimed at the broker of an open stack, as its operator would use it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import psutil

from localservers.rabbitmq_programs import installed_programs


async def rabbitmqctl(pid: int, *arguments: str) -> str:
    """What it prints; `pid` is the broker's."""
    environment = psutil.Process(pid).environ()
    process = await asyncio.create_subprocess_exec(
        _program(environment),
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaint = await process.communicate()
    assert process.returncode == 0, f"rabbitmqctl {arguments} failed: {complaint.decode()}"
    return printed.decode()


def _program(environment: Mapping[str, str]) -> Path:
    """The one beside the running broker: Erlang finds nothing below a folder with spaces but by the broker's link."""
    erlang = environment.get("HAAT_ERLANG")
    if erlang is None:
        return installed_programs().sbin / "rabbitmqctl"
    return next(Path(erlang).parents[2].glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmqctl"))
