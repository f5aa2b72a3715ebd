"""A process that cannot do its work says why in one line and ends: it shows no traceback, and never waits for ever."""

import asyncio
import gc
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import aio_pika
import pytest

from chassis.rabbitmq import RabbitBus
from chassis.settings import REFUSED
from chassis.testing import Databases

NOBODY = "127.0.0.1:1"
"""Where nothing listens."""


async def ends(*arguments: str, **variables: str) -> tuple[int, str]:
    """How the toy ends as a process of its own, and what it says."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent), **variables}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "toy", *arguments, env=given, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            _, said = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
    assert running.returncode is not None
    return running.returncode, said.decode()


@pytest.mark.parametrize(
    ("arguments", "variables", "missing"),
    [
        ((), {}, ["DATABASE_URL", "AMQP_URL"]),
        ((), {"TOY_ROLE": "web"}, ["DATABASE_URL"]),
        ((), {"HAAT_ENV": "production"}, ["DATABASE_URL", "AMQP_URL", "SERVICE_KEY"]),
        (("migrate",), {}, ["DATABASE_URL"]),
        (("events", "list"), {}, ["AMQP_URL"]),
        (("events", "republish", "--since", "2h"), {}, ["DATABASE_URL"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_a_command_names_what_it_was_not_given(
    arguments: tuple[str, ...], variables: Mapping[str, str], missing: list[str]
) -> None:
    status, said = await ends(*arguments, **variables)
    assert status == REFUSED
    assert said.splitlines() == [f"TOY_{name}: is not set" for name in missing]


async def test_an_address_that_is_taken_is_named(databases: Databases) -> None:
    url = await databases.create("toy_without_an_address")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        status, said = await ends(TOY_DATABASE_URL=url, TOY_ROLE="web", TOY_PORT=str(port), TOY_MANAGEMENT_PORT="0")
    assert status == 1
    assert re.search(rf"^It cannot serve: .*127\.0\.0\.1:{port} ", said, flags=re.MULTILINE)
    assert "Traceback" not in said


@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_a_database_that_lets_nobody_in_is_named(databases: Databases, wrong: str) -> None:
    url = await databases.create(f"toy_locked_out_by_{wrong}")
    changed = re.sub(r"//([^:@]+)[^@]*@", r"//nobody:wrong@", url) if wrong == "password" else f"{url}_elsewhere"
    status, said = await ends("migrate", TOY_DATABASE_URL=changed)
    assert status == 1
    assert said.splitlines()[-1].startswith("The database of toy cannot be entered: ")
    assert "Traceback" not in said


async def test_a_bus_ends_also_while_it_connects() -> None:
    """A process whose start fails must not wait for its broker before it tells why."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        for address in (NOBODY, f"127.0.0.1:{silent.getsockname()[1]}"):
            for rounds in range(1, 30):
                bus = RabbitBus(f"amqp://toy:toy@{address}/", name="toy")
                await bus.start()
                for _ in range(rounds):
                    await asyncio.sleep(0)
                async with asyncio.timeout(30):
                    await bus.stop()
            assert _unclosed(address) == [], "left to a garbage collector that may come when no loop runs any more"


def _unclosed(address: str) -> list[aio_pika.Connection]:
    found = [each for each in gc.get_objects() if isinstance(each, aio_pika.Connection)]
    return [each for each in found if address in str(each.url) and not each.is_closed]


async def test_a_process_that_waits_for_its_servers_ends_when_it_is_told_to() -> None:
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parent),
        "TOY_DATABASE_URL": f"postgresql://toy@{NOBODY}/toy",
        "TOY_AMQP_URL": f"amqp://toy:toy@{NOBODY}/",
        "TOY_PORT": "0",
        "TOY_MANAGEMENT_PORT": "0",
        "TOY_DRAIN_GRACE": "0",
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "toy", env=variables, stderr=asyncio.subprocess.PIPE
    )
    assert running.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"broker_connection_lost" not in (line := await running.stderr.readline()):
                pass
            assert json.loads(line)["service"] == "toy", "whoever reads the log of all must know who it was"
            running.send_signal(signal.SIGTERM)
            await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
    assert running.returncode == 0
