"""A service that has its process to itself: `python -m <service>`, and its other commands."""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import asyncpg
import msgspec

from chassis import event_commands
from chassis.balancing import BalancedUpstream
from chassis.clients import HttpUpstream, Upstream, Upstreams
from chassis.events import Bus
from chassis.migrations import migrate
from chassis.rabbitmq import RabbitBus
from chassis.runner import Listener, run
from chassis.service import Build, Service
from chassis.settings import REFUSED, Role, ServiceSettings, SettingsRefused, read_settings, refuse_without
from chassis.telemetry import configure_logging, get_logger, service_name
from chassis.tracing import configure_tracing

WAIT_FOR_DATABASE = 60.0
"""Seconds that `migrate` waits for a database that does not answer yet."""

NOT_ENTERED = ("28", "3D", "57P")
"""How the SQLSTATE begins with which a database server lets somebody not in: who it is, where to, not now."""

Command = Callable[[Any], Awaitable[object]]
_Settings = TypeVar("_Settings", bound=ServiceSettings)


def main(
    settings_class: Callable[[], ServiceSettings], build: Build, commands: Mapping[str, Command] | None = None
) -> None:
    """The command line of a service: serve (default), migrate, openapi, events, and the service's own commands."""
    own = dict(commands or {})
    parser = argparse.ArgumentParser()
    parser.add_argument("command", nargs="?", default="serve", choices=["serve", "migrate", "openapi", "events", *own])
    command = parser.parse_args(sys.argv[1:2]).command
    if command != "events":
        parser.parse_args()  # no other command takes arguments
    settings = settings_or_leave(settings_class, needed=lambda read: _needed(command, read))
    bus = RabbitBus(settings.amqp_url.get_secret_value() if settings.amqp_url else "", name=settings.service)
    if command == "events":
        configure_logging(level="error")
        arguments = event_commands.parse(sys.argv[2:], service=settings.service)
        sys.exit(asyncio.run(event_commands.run(settings, bus, arguments)))
    configure_logging(level=settings.log_level)
    if command == "migrate":
        asyncio.run(_migrate(settings))
    elif command in own:
        asyncio.run(_awaited(own[command](settings)))
    elif command == "openapi":
        service = build(settings, bus, http_upstreams(settings))
        document = msgspec.json.encode(service.fastapi.openapi())
        sys.stdout.write(msgspec.json.format(document, indent=2).decode() + "\n")
    else:
        configure_tracing(settings.otlp_endpoint)
        _serve(settings, build, bus)


def settings_or_leave(
    settings_class: Callable[[], _Settings], *, needed: Callable[[_Settings], Iterable[str]]
) -> _Settings:
    """The settings of this process. With one that cannot be used, or without one it needs, it ends, saying which."""
    try:
        settings = read_settings(settings_class)
        refuse_without(settings, needed(settings))
    except SettingsRefused as refusal:
        _leave(str(refusal), REFUSED)
    service_name.set(settings.service)
    return settings


def _needed(command: str, settings: ServiceSettings) -> Sequence[str]:
    """What a command cannot do without."""
    if command == "openapi":
        return ()
    if command == "events":
        return ("database_url",) if "republish" in sys.argv[2:3] else ("amqp_url",)
    if command == "serve":
        broker = () if settings.role is Role.WEB else ("amqp_url",)
        return ("database_url", *broker, *needed_in_production(settings))
    return ("database_url",)


def needed_in_production(settings: ServiceSettings) -> Sequence[str]:
    """Who has no key of its own is answered by no other service."""
    return ("service_key",) if settings.env == "production" else ()


def _leave(why: str, status: int) -> NoReturn:
    sys.stderr.write(f"{why}\n")
    sys.exit(status)


def serve_or_leave(serving: Coroutine[Any, Any, None]) -> None:
    """Run a process to its end. When it cannot begin, because of a setting or an address, it says so in one line."""
    import uvloop

    try:
        uvloop.run(serving)
    except SettingsRefused as refusal:
        _leave(str(refusal), REFUSED)
    except OSError as failure:
        _leave(f"It cannot serve: {failure}", 1)


def _serve(settings: ServiceSettings, build: Build, bus: Bus) -> None:
    upstreams = http_upstreams(settings)
    service = build(settings, bus, upstreams)
    serve_or_leave(run(Alone(service, bus, upstreams), listeners(service), grace=settings.drain_grace))


async def _awaited(command: Awaitable[object]) -> None:
    await command


async def _migrate(settings: ServiceSettings) -> None:
    try:
        changed = await _as_soon_as_it_answers(lambda: migrate(settings, settings.service))
    except (OSError, asyncpg.PostgresError) as failure:
        if isinstance(failure, asyncpg.PostgresError) and not str(failure.sqlstate).startswith(NOT_ENTERED):
            raise
        _leave(f"The database of {settings.service} cannot be entered: {failure}", 1)
    get_logger().info("migrated" if changed else "nothing to migrate", service=settings.service)


async def _as_soon_as_it_answers(ask: Callable[[], Awaitable[bool]]) -> bool:
    """Where everything starts at once, the database may be the last."""
    waiting_until = time.monotonic() + WAIT_FOR_DATABASE
    while True:
        try:
            return await ask()
        except (OSError, asyncpg.CannotConnectNowError) as error:
            if time.monotonic() > waiting_until:
                raise
            get_logger().info("waiting for the database", error=str(error))
            await asyncio.sleep(0.5)


class Alone:
    """A service that has its process, and so its bus and upstreams, to itself."""

    def __init__(self, service: Service, bus: Bus, upstreams: Upstreams) -> None:
        self._service, self._bus, self._upstreams = service, bus, upstreams

    async def start(self) -> None:
        """Bus first: the service subscribes to it."""
        if self._service.works:
            await self._bus.start()
        await self._service.start()

    def retire(self) -> None:
        """Not ready any more."""
        self._service.retire()

    async def stop(self) -> None:
        """The other way round."""
        await self._service.stop()
        await self._bus.stop()
        for upstream in self._upstreams.values():
            await upstream.close()


def http_upstreams(settings: ServiceSettings) -> dict[str, Upstream]:
    """One upstream for each setting named `<service>_url`, which may list several processes with commas."""
    names = [name.removesuffix("_url") for name in type(settings).model_fields if name.endswith("_url")]
    places = {name: getattr(settings, f"{name}_url") for name in names}
    return {name: _http_upstream(urls.split(",")) for name, urls in places.items() if isinstance(urls, str)}


def _http_upstream(urls: Sequence[str]) -> Upstream:
    if len(urls) == 1:
        return HttpUpstream(urls[0])
    return BalancedUpstream([HttpUpstream(url.strip()) for url in urls])


def listeners(service: Service) -> list[Listener]:
    """The management port, and for processes that answer requests the public one."""
    settings = service.settings
    management = Listener(service.management, settings.host, settings.management_port, drain=1, is_management=True)
    if settings.role is Role.WORKER:
        return [management]
    return [Listener(service.app, settings.host, settings.port, drain=settings.drain_timeout), management]
