"""One RabbitMQ node of our own: its own folder, its own ports, its own epmd, on loopback only."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals

from localservers.broker import BrokerUnavailable, RunningBroker
from localservers.confinement import dies_with_us, require_main_thread
from localservers.ports import free_port, is_free
from localservers.rabbitmq_programs import RabbitPrograms
from localservers.rabbitmq_readiness import answers_amqp

_READY_WITHIN = 90.0
_STOP_WITHIN = 20.0
_LAUNCHES = 3
_CTL_PORTS = 8
_USER = "haat"


class BrokerCommandFailed(Exception):
    def __init__(self, command: tuple[str, ...], printed: str) -> None:
        super().__init__(f"rabbitmqctl {' '.join(command)} failed: {printed.strip()}")


def start_node(programs: RabbitPrograms, *, data: Path | None = None, definitions: Path | None = None) -> "LocalNode":
    """A node on ports chosen now; chosen again when another program was quicker."""
    require_main_thread()
    for _ in range(_LAUNCHES - 1):
        with suppress(BrokerUnavailable):
            return _started(LocalNode(programs, data=data, definitions=definitions))
    return _started(LocalNode(programs, data=data, definitions=definitions))


def _started(node: "LocalNode") -> "LocalNode":
    try:
        node.restart()
    except BaseException:
        node.close()
        raise
    return node


class LocalNode(RunningBroker):
    """`data` outlives the node; `definitions` is a file of users, queues and bindings that it has before it listens."""

    def __init__(self, programs: RabbitPrograms, *, data: Path | None = None, definitions: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="haat-rabbitmq-"))
        self._data = _unquoted(data.absolute()) if data else self._folder / "mnesia"
        if definitions is not None:
            (self._folder / "definitions.json").symlink_to(definitions.absolute())
        self._programs = programs.reached_by(self._folder / "programs")
        self._port, self._distribution_port, self._epmd_port = free_port(), free_port(), free_port()
        self._ctl_port = _free_range(_CTL_PORTS)
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self.amqp_url = f"amqp://{_USER}:{_USER}@127.0.0.1:{self._port}/"
        self.version = programs.version
        self.source = programs.source
        self._write_configuration()

    def restart(self) -> None:
        self.stop()
        # An epmd started by the node itself would outlive it; ours must answer before the node looks for it.
        self._epmd = self._spawn([str(self._programs.epmd)], dying_by=SIGKILL)
        self._await(lambda: not is_free(self._epmd_port), what="epmd")
        self._server = self._spawn([str(self._programs.sbin / "rabbitmq-server")], dying_by=SIGTERM)
        self._await(lambda: answers_amqp(self._port), what="RabbitMQ")

    @property
    def is_running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int | None:
        with suppress(FileNotFoundError, ValueError):
            return int((self._folder / "pid").read_text())
        return None

    def stop(self) -> None:
        self._signal(SIGCONT)
        self._signal(SIGTERM)
        self._wait_for_the_end()

    def kill(self) -> None:
        self._signal(SIGKILL)
        self._wait_for_the_end()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self) -> None:
        self._signal(SIGSTOP)

    def resume(self) -> None:
        self._signal(SIGCONT)

    def ctl(self, *args: str) -> str:
        done = subprocess.run(
            [self._programs.sbin / "rabbitmqctl", *args],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BrokerCommandFailed(args, done.stdout + done.stderr)
        return done.stdout

    def _spawn(self, command: list[str], *, dying_by: Signals) -> subprocess.Popen[bytes]:
        with (self._folder / "output.log").open("ab") as log:
            return subprocess.Popen(
                [*dies_with_us(dying_by).prefix, *command],
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the tests first, which then stop the broker
            )

    def _signal(self, signal: Signals) -> None:
        """To the virtual machine itself: the shell around it would answer a stop with a shutdown."""
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal)

    def _wait_for_the_end(self) -> None:
        if self._server is not None:
            try:
                self._server.wait(timeout=_STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self._kill_session(self._server)
            self._server = None
        (self._folder / "pid").unlink(missing_ok=True)
        if self._epmd is not None:
            self._kill_session(self._epmd)
            self._epmd = None

    def _kill_session(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)
        process.wait()

    def _await(self, condition: Callable[[], bool], *, what: str) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while not condition():
            ended = self._server is not None and self._server.poll() is not None
            if ended or time.monotonic() > deadline:
                last = (self._folder / "output.log").read_text(errors="replace").strip().splitlines()[-3:]
                raise BrokerUnavailable(f"{what} from {self.source} did not start ({' / '.join(last)})")
            time.sleep(0.02)

    def _write_configuration(self) -> None:
        (self._folder / "home").mkdir(mode=0o700)
        (self._folder / "enabled_plugins").write_text("[].\n")
        definitions = self._folder / "definitions.json"
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\n"
            f"default_user = {_USER}\n"
            f"default_pass = {_USER}\n"
            "disk_free_limit.absolute = 50MB\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "log.console = true\n"
            "log.console.level = warning\n" + (f"load_definitions = {definitions}\n" if definitions.exists() else "")
        )

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            **os.environ,
            **self._programs.environment,
            "PATH": f"{self._programs.erlang_bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "haat@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(self._ctl_port),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(self._ctl_port + _CTL_PORTS - 1),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        }


def _unquoted(data: Path) -> Path:
    """The folder, or a link to it when Erlang would stumble over a quote in its name.

    Always the same one: quorum queues remember by what path they reached their files.
    """
    if not set(str(data)) & set("\"'\\"):
        return data
    link = Path(tempfile.gettempdir()) / f"haat-rabbitmq-{sha256(str(data).encode()).hexdigest()[:16]}"
    if link.is_symlink() and link.readlink() != data:
        link.unlink()
    if not link.is_symlink():
        link.symlink_to(data)
    return link


def _free_range(length: int) -> int:
    while True:
        first = free_port()
        if all(is_free(first + offset) for offset in range(length)):
            return first
