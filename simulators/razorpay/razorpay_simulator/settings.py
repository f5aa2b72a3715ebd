"""Every environment variable the simulator reads."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class UnusableSettings(Exception):
    """The environment does not describe a simulator that could start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    data: Path
    key_id: str
    key_secret: str
    host: str = "127.0.0.1"
    port: int = 8090
    public_url: str = ""
    return_url: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""
    webhook_events: tuple[str, ...] = ()
    """The active events; all of them when none is named."""

    @property
    def account_id(self) -> str:
        """Webhooks name the merchant's account; one key always belongs to the same one."""
        return f"acc_{hashlib.sha256(self.key_id.encode()).hexdigest()[:14]}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        def value(name: str, default: str = "") -> str:
            return environment.get(f"SIMULATOR_{name}", "").strip() or _from_file(name, environment) or default

        host, port = value("HOST", "127.0.0.1"), value("PORT", "8090")
        key_id, key_secret = value("KEY_ID"), value("KEY_SECRET")
        if not key_id.startswith("rzp_test_"):
            raise UnusableSettings("SIMULATOR_KEY_ID must start with rzp_test_: this is never a place for live keys.")
        if not key_secret:
            raise UnusableSettings("SIMULATOR_KEY_SECRET must be set.")
        if not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise UnusableSettings("SIMULATOR_PORT must be a number from 0 to 65535.")
        if not value("DATA"):
            raise UnusableSettings("SIMULATOR_DATA must name the folder in which the ledger is kept.")
        return cls(
            data=Path(value("DATA")),
            key_id=key_id,
            key_secret=key_secret,
            host=host,
            port=int(port),
            public_url=value("PUBLIC_URL", f"http://{host}:{port}").rstrip("/"),
            return_url=value("RETURN_URL"),
            webhook_url=value("WEBHOOK_URL"),
            webhook_secret=value("WEBHOOK_SECRET"),
            webhook_events=tuple(name.strip() for name in value("WEBHOOK_EVENTS").split(",") if name.strip()),
        )


def _from_file(name: str, environment: Mapping[str, str]) -> str:
    """What no variable says may stand in a file of that name, in the folder SIMULATOR_SECRETS."""
    folder = environment.get("SIMULATOR_SECRETS", "").strip()
    file = Path(folder) / f"SIMULATOR_{name}"
    return file.read_text().strip() if folder and file.is_file() else ""
