"""A server of our own must be there when asked, stay out of other hands, and never be left behind."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import asyncpg
import pytest

from localservers.ports import PortIsTaken
from localservers.postgres import DataFolderInUse, PostgresServer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "a folder with spaces"


@pytest.fixture
def server(data: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(data, durable=False, settings={"max_connections": "40"})
    server.start()
    yield server
    server.stop()


async def test_it_honours_settings_and_keeps_its_data(data: Path, server: PostgresServer) -> None:
    await server.create_role_and_database("catalog", role="catalog", password="p w'", extensions=["pg_trgm"])
    catalog = await asyncpg.connect(server.url("catalog", user="catalog", password="p w'"))
    assert await catalog.fetchval("SHOW max_connections") == "40"
    await catalog.execute("CREATE TABLE kept AS SELECT similarity('chai', 'chair') AS how")
    await catalog.close()
    server.stop()

    again = PostgresServer(data, durable=False)
    again.start()
    try:
        await again.create_role_and_database("catalog", role="catalog", password="new")
        catalog = await asyncpg.connect(again.url("catalog", user="catalog", password="new"))
        assert await catalog.fetchval("SELECT how > 0.5 FROM kept")
        await catalog.close()
        assert again.port == server.port
    finally:
        again.stop()


async def test_a_role_may_log_in_to_its_own_database_only(server: PostgresServer) -> None:
    for name in ("orders", "payments"):
        await server.create_role_and_database(name, role=name, password=name)
    for database in ("payments", "postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(server.url(database, user="orders", password="orders"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url("orders", user="orders", password="payments"))


async def test_it_recovers_what_was_committed_before_a_crash(data: Path) -> None:
    server = PostgresServer(data)
    server.start()
    admin = await asyncpg.connect(server.admin_url)
    await admin.execute("CREATE TABLE placed AS SELECT 7 AS number")
    assert server.pid is not None
    os.kill(server.pid, SIGKILL)
    await admin.close()
    server.stop()

    server.start()
    try:
        admin = await asyncpg.connect(server.admin_url)
        assert await admin.fetchval("SELECT number FROM placed") == 7
        await admin.close()
    finally:
        server.stop()


def test_two_programs_cannot_share_a_folder(data: Path, server: PostgresServer) -> None:
    with pytest.raises(DataFolderInUse):
        PostgresServer(data).start()
    assert server.pid is not None


def test_a_port_that_was_asked_for_is_never_changed(tmp_path: Path, server: PostgresServer) -> None:
    with pytest.raises(PortIsTaken):
        PostgresServer(tmp_path / "other", port=server.port, durable=False).start()


def test_killing_the_starter_leaves_no_server(data: Path) -> None:
    starter, pid = _start_elsewhere(data)
    starter.kill()
    starter.wait()
    assert _ends_within(pid, seconds=10)


def test_a_server_left_by_a_killed_starter_is_replaced(data: Path) -> None:
    # Without setpriv, as on macOS, nothing ties the server to its starter.
    starter, left = _start_elsewhere(data, prologue="confinement.dies_with_us = lambda _: Confinement(())")
    starter.kill()
    starter.wait()

    server = PostgresServer(data, durable=False)
    server.start()
    try:
        assert _ends_within(left, seconds=10)
        assert server.pid != left
    finally:
        server.stop()


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(data: Path, server: PostgresServer) -> None:
    server.stop()
    (data / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{data / 'cluster'}\n")
    server.start()
    assert server.pid != os.getpid()


def _start_elsewhere(data: Path, *, prologue: str = "") -> tuple[subprocess.Popen[str], int]:
    program = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from localservers import confinement
        from localservers.confinement import Confinement
        {prologue}
        from localservers.postgres import PostgresServer
        server = PostgresServer(Path(sys.argv[1]), durable=False)
        server.start()
        print(server.pid, flush=True)
        threading.Event().wait()
        """
    ).format(prologue=prologue)
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(data)], stdout=subprocess.PIPE, text=True, env=_environment()
    )
    assert starter.stdout is not None
    with starter.stdout:
        return starter, int(starter.stdout.readline())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def _ends_within(pid: int, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_a_zombie(pid):
            return True
        time.sleep(0.02)
    return False


def _is_a_zombie(pid: int) -> bool:
    """Dead, and not yet collected by whoever inherited it."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return False
