"""What `make run` keeps between two runs: the folder, and secrets made once on this machine.

Nothing here is a default that could end up in production: every secret is random, and carries the mark by which
services refuse it there.
"""

import fcntl
import json
import os
import secrets
import shutil
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

SERVICES = ("accounts", "catalog", "cart", "orders", "payments")
"""Those with a database of their own."""

MARKER = "this-folder-belongs-to-haat"
"""Written into a data folder, so that `reset` deletes nothing else."""


class NotOurFolder(Exception):
    """The folder holds something that `make run` did not put there, or can hold nothing of it."""


class ShopIsOpen(Exception):
    """Another process works on this folder."""


@dataclass(frozen=True, slots=True)
class Home:
    """The data folder."""

    path: Path

    @classmethod
    def from_environment(cls, *, default: str = ".haat") -> Self:
        """`HAAT_DATA`, or the default folder in the current one."""
        return cls(Path(os.environ.get("HAAT_DATA") or default).expanduser().absolute())

    @property
    def postgres(self) -> Path:
        """The database server's files."""
        return self.path / "postgres"

    @property
    def simulator(self) -> Path:
        """The Razorpay simulator's ledger."""
        return self.path / "simulator"

    @property
    def log(self) -> Path:
        """Everything the shop has to say, one JSON object per line."""
        return self.path / "logs" / "haat.log"

    def prepare(self) -> None:
        """Make the folders. Raises NotOurFolder for one that holds other things, or cannot be made."""
        try:
            self._prepare()
        except OSError as error:
            raise NotOurFolder(
                f"{self.path} cannot hold the shop's data ({error.strerror}). Choose another folder with HAAT_DATA."
            ) from error

    def _prepare(self) -> None:
        if self.path.exists() and any(self.path.iterdir()) and not (self.path / MARKER).exists():
            raise NotOurFolder(f"{self.path} holds something else. Choose an empty folder with HAAT_DATA.")
        for folder in (self.path, self.simulator, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        (self.path / MARKER).touch()
        if self.log.exists() and self.log.stat().st_size > 20_000_000:
            self.log.replace(self.log.with_suffix(".1.log"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes away from the folder; the kernel lets go when this one ends, however it ends.

        Raises ShopIsOpen.
        """
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ShopIsOpen(
                    f"The shop is open on {self.path}. Stop it first (Ctrl-C), or choose another folder with HAAT_DATA."
                ) from None
            yield

    def wipe(self) -> bool:
        """Delete the folder; whether there was one. Raises NotOurFolder or ShopIsOpen."""
        if not self.path.exists():
            return False
        if not (self.path / MARKER).exists():
            raise NotOurFolder(f"{self.path} was not made by `make run`; delete it yourself if you mean it.")
        with self.alone():
            shutil.rmtree(self.path)
        return True

    def secrets(self) -> "Secrets":
        """The secrets of this folder, made at the first run."""
        place = self.path / "secrets.json"
        if not place.exists():
            written = place.with_suffix(".new")
            written.touch(mode=0o600)
            written.write_text(json.dumps(_new_secrets(), indent=1))
            written.replace(place)
        return Secrets(**json.loads(place.read_text()))


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys and passwords of one data folder."""

    database_passwords: dict[str, str]
    signing_keys: list[dict[str, Any]]
    service_keys: dict[str, dict[str, Any]]
    refresh_key: str
    razorpay_key_id: str
    razorpay_key_secret: str
    webhook_secret: str


def _new_secrets() -> dict[str, Any]:
    from chassis.auth import generate_key
    from chassis.settings import DEMO_SECRET

    letters = string.ascii_letters + string.digits

    def password(length: int = 24) -> str:
        return DEMO_SECRET + secrets.token_urlsafe(length)

    def key(owner: str) -> dict[str, Any]:
        return generate_key(f"{owner}.{DEMO_SECRET}{secrets.token_hex(4)}")

    return {
        "database_passwords": {name: password() for name in (*SERVICES, "bus")},
        "signing_keys": [key("user")],
        "service_keys": {name: key(name) for name in (*SERVICES, "gateway")},
        "refresh_key": password(48),
        "razorpay_key_id": "rzp_test_" + "".join(secrets.choice(letters) for _ in range(14)),
        "razorpay_key_secret": password(),
        "webhook_secret": password(),
    }
