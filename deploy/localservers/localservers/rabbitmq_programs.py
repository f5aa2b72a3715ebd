"""Where RabbitMQ's programs come from when no Docker engine answers: the system, or its packages unpacked."""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localservers.broker import BrokerUnavailable

# What rabbitmq-server needs of Erlang, named one by one: following dependencies would bring a desktop.
_PACKAGES = (
    "rabbitmq-server",
    "erlang-base",
    "erlang-asn1",
    "erlang-crypto",
    "erlang-eldap",
    "erlang-inets",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tools",
    "erlang-xmerl",
)


@dataclass(frozen=True)
class RabbitPrograms:
    """The server's own scripts, which a Debian wrapper would only run for the user rabbitmq."""

    sbin: Path
    erlang_bin: Path
    source: str
    environment: dict[str, str] = field(default_factory=dict)
    root: Path | None = None

    @property
    def version(self) -> str:
        return self.sbin.parent.name.removeprefix("rabbitmq_server-")

    @property
    def epmd(self) -> Path:
        beside = self.erlang_bin / "epmd"
        if beside.exists():
            return beside
        return next(self.erlang_bin.parent.glob("erts-*/bin/epmd"), beside)

    def reached_by(self, link: Path) -> "RabbitPrograms":
        """The same programs by another path: RabbitMQ's scripts fail below a folder with spaces."""
        if self.root is None:
            return self
        link.symlink_to(self.root)
        return _programs_below(link)


def installed_programs() -> RabbitPrograms:
    found = shutil.which("rabbitmq-server", path=_search_path())
    erl = shutil.which("erl", path=_search_path())
    if found is None or erl is None:
        raise BrokerUnavailable("no rabbitmq-server is installed")
    own = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
    return RabbitPrograms(
        sbin=own[-1] if own else Path(found).resolve().parent,
        erlang_bin=Path(erl).resolve().parent,
        source="the system's rabbitmq-server",
    )


def _search_path() -> str:
    """Debian keeps the server in a folder that is not on an ordinary user's PATH."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


def unpacked_programs(cache: Path) -> RabbitPrograms:
    """Debian's packages, downloaded and unpacked once without being installed; no root needed."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise BrokerUnavailable(f"its packages cannot be unpacked without {tool}")
    cache = cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / "root"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _unpack(cache, into=root)
    return _programs_below(root)


def _programs_below(root: Path) -> RabbitPrograms:
    erlang = root / "usr/lib/erlang"
    return RabbitPrograms(
        sbin=next(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin")),
        erlang_bin=erlang / "bin",
        source="Debian's packages, unpacked",
        environment={"HAAT_ERLANG": str(erlang)},
        root=root,
    )


def _unpack(cache: Path, *, into: Path) -> None:
    """Renamed into place at the end, so that a killed download is repeated."""
    work = cache / "unfinished"
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (work / folder).mkdir(parents=True)
    apt = (
        "apt-get",
        *("-q", "-o", f"Dir::State={work}", "-o", f"Dir::State::lists={work}/lists"),
        *("-o", f"Dir::Cache={work}/cache", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="),
    )
    _run([*apt, "update"], within=work)
    _run([*apt, "download", *_PACKAGES], within=work / "debs")
    for package in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(work / "root")], within=work)
    _make_relocatable(work / "root/usr/lib/erlang")
    (work / "root").rename(into)
    shutil.rmtree(work)


def _make_relocatable(erlang: Path) -> None:
    """Debian's scripts name the folder they are installed in, and nothing overrides it."""
    for script in (*erlang.glob("bin/*"), *erlang.glob("erts-*/bin/*")):
        if script.name not in {"erl", "start"}:
            continue
        moved = re.sub(r"ROOTDIR=/.*", 'ROOTDIR="$HAAT_ERLANG"', script.read_text())
        script.write_text(moved)


def _run(command: Sequence[str], *, within: Path) -> None:
    done = subprocess.run(command, cwd=within, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BrokerUnavailable(f"its packages could not be unpacked ({command[0]}: {last})")
