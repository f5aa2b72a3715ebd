"""A PostgreSQL server of our own: one folder, one port on loopback, gone when we are gone."""

import fcntl
import os
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT
from types import MappingProxyType
from typing import IO
from urllib.parse import quote

from localservers import ports, stale_postmaster
from localservers.confinement import dies_with_us_unprivileged, require_main_thread
from localservers.owned_database import create_owned_database
from localservers.postgres_binaries import find_binaries

SUPERUSER = "postgres"
_READY_WITHIN = 120.0  # recovery after a crash replays the log first
_STOP_WITHIN = 10.0
_LETS_GO_WITHIN = 10.0
_LAUNCHES = 5
_SETTINGS = MappingProxyType(
    {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "shared_buffers": "128MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
)
_NOT_DURABLE = MappingProxyType({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})


class PostgresServerError(Exception):
    pass


class PostgresDidNotStart(PostgresServerError):
    def __init__(self, *, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
        super().__init__(f"PostgreSQL did not start. Its log {log} ends with: {' / '.join(lines)}")


class DataFolderInUse(PostgresServerError):
    def __init__(self, data: Path) -> None:
        super().__init__(f"Another running program uses the data folder {data}. Stop it, or name another folder.")


class DataIsOfAnotherVersion(PostgresServerError):
    def __init__(self, *, data: Path, theirs: int, ours: str) -> None:
        super().__init__(
            f"The data in {data} was written by PostgreSQL {theirs}, and PostgreSQL {ours} was found. "
            f"Install version {theirs}, or start with an empty folder."
        )


class PostgresServer:
    """Start it from the main thread: the kernel stops the server when the thread that started it ends.

    `durable=False` is for tests only: faster, and lost when the machine stops.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int = 0,
        durable: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.data = data.absolute()
        self.port = port
        self._port_is_asked_for = port != 0
        self._durable = durable
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE), **settings}
        self._cluster = self.data / "cluster"
        self._log = self.data / "server.log"
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._password = ""

    @property
    def version(self) -> str:
        return find_binaries().version

    @property
    def source(self) -> str:
        return find_binaries().source

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def admin_url(self) -> str:
        return self.url("postgres", user=SUPERUSER, password=self._password)

    def url(self, database: str, *, user: str, password: str) -> str:
        return f"postgresql://{quote(user)}:{quote(password, safe='')}@127.0.0.1:{self.port}/{quote(database)}"

    def start(self) -> None:
        """Returns when the server answers."""
        self.launch()
        self.wait_ready()

    def restart(self) -> None:
        """Again, on the same port and data. What a crash left of the old server lets go of the port first."""
        self.stop()
        deadline = time.monotonic() + _LETS_GO_WITHIN
        while not ports.is_free(self.port) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.start()

    def launch(self) -> None:
        """Begins the start, so that the caller can do something else until `wait_ready`."""
        require_main_thread()
        self.data.mkdir(parents=True, exist_ok=True)
        self._take_the_folder()
        try:
            stale_postmaster.stop(self._cluster)
            self._password = self._remembered_password()
            self._make_the_cluster()
            self._choose_port()
            self._spawn()
        except BaseException:
            self._leave_the_folder()
            raise

    def wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        launches = 1
        while not self._says_ready():
            if time.monotonic() > deadline:
                self.stop()
                raise PostgresDidNotStart(log=self._log)
            if self._process is None or self._process.poll() is not None:
                # The port was taken since we looked, or a server killed just now still holds its memory.
                if launches == _LAUNCHES:
                    self.stop()
                    raise PostgresDidNotStart(log=self._log)
                launches += 1
                self._choose_port()
                self._spawn()
            time.sleep(0.005)
        (self.data / "port").write_text(str(self.port))
        # Whoever was told where it is finds it there after a restart.
        self._port_is_asked_for = True

    def stop(self) -> None:
        """Ends open transactions and shuts down cleanly; forces it when that takes too long."""
        if self._process is not None:
            for signal in (SIGINT, SIGQUIT, SIGKILL):
                self._process.send_signal(signal)
                try:
                    self._process.wait(timeout=_STOP_WITHIN)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self._process = None
        self._leave_the_folder()

    async def create_role_and_database(
        self, database: str, *, role: str, password: str, extensions: Sequence[str] = ()
    ) -> None:
        """A database and its one role, which may log in nowhere else. Repeating it changes nothing."""
        await create_owned_database(
            self.admin_url, database=database, role=role, password=password, extensions=extensions
        )

    def _take_the_folder(self) -> None:
        self._lock = (self.data / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._leave_the_folder()
            raise DataFolderInUse(self.data) from None

    def _leave_the_folder(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _remembered_password(self) -> str:
        path = self.data / "password"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        return path.read_text()

    def _make_the_cluster(self) -> None:
        """Made aside and renamed, so that a killed first start leaves nothing half-made in its place."""
        binaries = find_binaries()
        if (made_by := self._cluster / "PG_VERSION").exists():
            theirs = int(made_by.read_text())
            if theirs != binaries.major:
                raise DataIsOfAnotherVersion(data=self.data, theirs=theirs, ours=binaries.version)
            return
        unfinished = self.data / f"unfinished-{secrets.token_hex(4)}"
        unfinished.mkdir(mode=0o700)
        confinement = dies_with_us_unprivileged(SIGKILL)
        confinement.hand_over(self.data)
        locale = ["--locale-provider=builtin"] if binaries.major >= 17 else []
        result = subprocess.run(
            [
                *confinement.prefix,
                binaries.folder / "initdb",
                *("-D", unfinished, "-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8"),
                *(f"--pwfile={self.data / 'password'}", *locale, "--locale=C.UTF-8"),
                *([] if self._durable else ["--no-sync"]),
            ],
            cwd=self.data,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            self._log.write_text(result.stderr)
            raise PostgresDidNotStart(log=self._log)
        unfinished.rename(self._cluster)

    def _choose_port(self) -> None:
        if self._port_is_asked_for:
            if not ports.is_free(self.port):
                raise ports.PortIsTaken(self.port)
            return
        remembered = self.data / "port"
        if self.port == 0 and remembered.exists():
            self.port = int(remembered.read_text())
            if ports.is_free(self.port):
                return
        self.port = ports.free_port()

    def _spawn(self) -> None:
        confinement = dies_with_us_unprivileged(SIGINT)
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *confinement.prefix,
                    find_binaries().folder / "postgres",
                    "-D",
                    self._cluster,
                    "-p",
                    str(self.port),
                    *options,
                ],
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach us first, so that requests can be drained
            )

    def _says_ready(self) -> bool:
        written = stale_postmaster.read(self._cluster)
        return (
            self._process is not None
            and written is not None
            and written.pid == self._process.pid
            and written.status == "ready"
        )
