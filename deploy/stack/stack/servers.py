"""PostgreSQL and RabbitMQ as the supervisor sees them."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from yarl import URL

from localservers.postgres import PostgresServer
from localservers.rabbitmq import provide_lasting_rabbitmq
from localservers.rabbitmq_node import LocalNode
from stack.definitions import definitions
from stack.topology import PARTS

PROGRAMS = Path(__file__).parents[3] / ".cache" / "rabbitmq"
"""Where RabbitMQ is unpacked when the system has none; shared with the tests."""


@dataclass
class Database:
    """The database server."""

    server: PostgresServer
    name: str = "postgres"

    @property
    def pid(self) -> int | None:
        return self.server.pid

    @property
    def is_running(self) -> bool:
        return self.server.is_running

    def start(self) -> None:
        """Again, on the same port and data."""
        self.server.restart()


@dataclass
class Broker:
    """RabbitMQ on data that outlives it, with a user for each part. Their passwords live as long as we do."""

    folder: Path
    name: str = "rabbitmq"
    passwords: dict[str, str] = field(default_factory=lambda: {part.name: secrets.token_urlsafe(24) for part in PARTS})
    _node: LocalNode | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        return self._node.pid if self._node else None

    @property
    def is_running(self) -> bool:
        return self._node is not None and self._node.is_running

    def start(self) -> None:
        """Return when it listens. After a loss of its data it has everything but the messages again."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        if self._node is not None:
            self._node.restart()
            return
        document = self.folder / "definitions.json"
        document.touch(mode=0o600)
        document.write_bytes(msgspec.json.encode(self.definitions()))
        self._node = provide_lasting_rabbitmq(PROGRAMS, data=data, definitions=document)

    def definitions(self) -> dict[str, Any]:
        """What it knows before it listens."""
        return definitions(PARTS, self.passwords)

    def url(self, user: str) -> str:
        """Where this part connects."""
        assert self._node is not None, "the broker is not started"  # noqa: S101 - a programming mistake
        address = URL(self._node.amqp_url)
        return str(address.with_user(user).with_password(self.passwords[user]))

    def stop(self) -> None:
        if self._node is not None:
            self._node.close()
            self._node = None
