"""A service that has its process to itself: `python -m <service>`, and its other commands."""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

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
from chassis.settings import REFUSED, Role, ServiceSettings, SettingsRefused, read_settings
from chassis.telemetry import configure_logging, get_logger
from chassis.tracing import configure_tracing

WAIT_FOR_DATABASE = 60.0
"""Seconds that `migrate` waits for a database that does not answer yet."""

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
    settings = settings_or_leave(settings_class)
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


def settings_or_leave(settings_class: Callable[[], _Settings]) -> _Settings:
    """The settings of this process. With one that cannot be used it ends, saying which."""
    try:
        return read_settings(settings_class)
    except SettingsRefused as refusal:
        sys.stderr.write(f"{refusal}\n")
        sys.exit(REFUSED)


def _serve(settings: ServiceSettings, build: Build, bus: Bus) -> None:
    import uvloop

    upstreams = http_upstreams(settings)
    service = build(settings, bus, upstreams)
    uvloop.run(run(Alone(service, bus, upstreams), listeners(service), grace=settings.drain_grace))


async def _awaited(command: Awaitable[object]) -> None:
    await command


async def _migrate(settings: ServiceSettings) -> None:
    changed = await _as_soon_as_it_answers(lambda: migrate(settings, settings.service))
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
