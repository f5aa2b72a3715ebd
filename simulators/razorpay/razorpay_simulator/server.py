"""Serving over real HTTP: uvicorn, with a hold on the connection so that answers can be cut off or reset."""

import logging
import socket
import sqlite3
import sys
import time
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from razorpay_simulator.app import Simulator
from razorpay_simulator.provider import Provider
from razorpay_simulator.settings import Settings

logger = logging.getLogger(__name__)


class CuttableProtocol(HttpToolsProtocol):
    """Shows the application its transport: nothing in ASGI can break a connection on purpose."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment] # a key of our own in a TypedDict
        scope["simulator.transport"] = self.transport


class SimulatorServer(uvicorn.Server):
    def __init__(self, settings: Settings) -> None:
        self.simulator = Simulator(Provider.open(settings))
        super().__init__(
            uvicorn.Config(
                self.simulator,
                host=settings.host,
                port=settings.port,
                http=CuttableProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.simulator.stop()
        await super().shutdown(sockets)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def serve(settings: Settings) -> bool:
    """Serve until a signal comes. False when it could not start.

    The port is taken before the ledger is opened, so that two simulators never work on one ledger.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        logger.error("cannot listen on %s:%d: %s", settings.host, settings.port, error.strerror)  # noqa: TRY400 - one clear line
        return False
    with listener:
        try:
            server = SimulatorServer(settings)
        except (OSError, sqlite3.Error) as error:
            logger.error("cannot keep a ledger in %s: %s", settings.data, error)  # noqa: TRY400 - one clear line
            return False
        logger.info("simulator at %s, its ledger in %s", settings.public_url, settings.data)
        server.run(sockets=[listener])
    return server.started
