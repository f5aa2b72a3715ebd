"""One service: what its parts are, how it starts, how it tells whether it is well, and how it ends.

A service's `app.py` hands in routers, subscriptions, jobs and collaborators; everything else is here, so the same
`Service` runs alone in a process (`chassis.command_line`), several in one (the embedded shop), or inside a test.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec
from fastapi import APIRouter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.application import LastResort, make_application
from chassis.auth import SERVICE, KeySet, ServiceIdentity, TokenVerifier
from chassis.clients import InternalClient, UpstreamRequest, Upstreams
from chassis.database import Database
from chassis.event_alarms import EVENT_ALARMS
from chassis.events import Bus, Consuming, Event, Subscription
from chassis.idempotency import forget_old
from chassis.inbox import INBOX_CLEANUP, Inbox, parked_alarm
from chassis.inprocess import InProcessBus
from chassis.jobs import Job, JobOutcome, JobRunner
from chassis.locks import LockConnection
from chassis.migrations import is_migrated
from chassis.outbox import OUTBOX_CLEANUP, Relay
from chassis.problems import Problem
from chassis.request_telemetry import RequestTelemetry
from chassis.routes import caller_from_token
from chassis.settings import Role, ServiceSettings
from chassis.status import status_router
from chassis.telemetry import Metrics, get_logger, release, service_name

Figures = Callable[[Metrics], Mapping[type[Event], Callable[[Any], None]]]
"""Makes a service's business counters; what it returns is called with each event of that type that was committed."""


def no_figures(_metrics: Metrics) -> Mapping[type[Event], Callable[[Any], None]]:
    """For a service whose events mean nothing to people who look at the whole shop."""
    return {}


async def _forget_old_keys(database: Database) -> JobOutcome:
    async with database.transaction() as session:
        return JobOutcome(found=await forget_old(session))


HOUSEKEEPING = (
    Job(name="idempotency-cleanup", every=3600, run=_forget_old_keys),
    OUTBOX_CLEANUP,
    INBOX_CLEANUP,
    *EVENT_ALARMS,
)
"""Jobs that every service has."""


class Service:
    """A service put together, not yet started."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        bus: Bus,
        upstreams: Upstreams,
        routers: Sequence[APIRouter] = (),
        subscriptions: Sequence[Subscription] = (),
        jobs: Sequence[Job] = (),
        events: Sequence[type[Event]] = (),
        problems: Sequence[type[Problem]] = (),
        state: Mapping[str, Any] | None = None,
        keys: KeySet | None = None,
        database: Database | None = None,
        caller_of: Callable[[Request], str | None] = caller_from_token,
        figures: Figures = no_figures,
        on_start: Sequence[Callable[[], Awaitable[None]]] = (),
        on_stop: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self.settings = settings
        self.name = settings.service
        self.bus = bus
        self.upstreams = upstreams
        self.subscriptions = tuple(subscriptions)
        self.caller_of = caller_of
        self.metrics = Metrics(self.name)
        self.database = database or Database(settings)
        self.database.show_pools(self.metrics)
        self.database.count_events = self._counting(figures(self.metrics))
        self.keys = keys or self._key_set()
        self.tokens = TokenVerifier(self.keys, issuer=settings.token_issuer, audience=settings.token_audience)
        self.service_tokens = TokenVerifier(
            KeySet(document=settings.service_keys),
            issuer=settings.token_issuer,
            audience=self.name,
            kind=SERVICE,
        )
        self.inbox = Inbox(self.database, self.subscriptions, consumer=self.name, metrics=self.metrics)
        self.locks = LockConnection(self.database.url, name=self.name)
        # A process alone with its bus wakes its relay itself; looking often is for rows of other processes.
        poll = 2.0 if isinstance(bus, InProcessBus) else 0.2
        self.relay = Relay(self.locks, bus, poll=poll, metrics=self.metrics, types=[event.type for event in events])
        alarms = (parked_alarm(bus, self.name),) if self.subscriptions else ()
        self.jobs = JobRunner(self.database, (*jobs, *alarms, *HOUSEKEEPING), locks=self.locks, metrics=self.metrics)
        self._consuming: Consuming | None = None
        self._on_start, self._on_stop = tuple(on_start), tuple(on_stop)
        self._tasks: list[asyncio.Task[None]] = []
        self._migrated = False
        self._draining = False
        self._listens = False
        routes = (*routers, status_router())
        self.fastapi = make_application(
            name=self.name, version=release(self.name), routers=routes, problems=problems, events=events
        )
        self.fastapi.state.service = self
        for name, value in (state or {}).items():
            setattr(self.fastapi.state, name, value)
        self.app = RequestTelemetry(LastResort(self.fastapi), metrics=self.metrics, service=self.name)
        self.management = self._management()

    def _management(self) -> Starlette:
        """What operators ask this process."""
        pages = {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._serve_metrics}
        return Starlette(routes=[Route(path, page) for path, page in pages.items()])

    @property
    def works(self) -> bool:
        """Whether this process relays, consumes and runs jobs."""
        return self.settings.role in (Role.WORKER, Role.ALL)

    async def listen(self) -> None:
        """Open the database and bind the queue, so that nothing published from now on misses this service."""
        service_name.set(self.name)
        await self.database.start()
        if self.works:
            self.database.wake_relay = self.relay.wake
        for action in self._on_start:
            await action()
        if self.works and self.subscriptions:
            self._consuming = await self.bus.subscribe(self.name, self.inbox.types, self.inbox.handle)
        self._listens = True

    async def start(self) -> None:
        """Listen, learn the keys, and, as a worker, begin to relay events and run jobs."""
        if not self._listens:
            await self.listen()
        # Again: since it listens, another service of this process may have set its own.
        service_name.set(self.name)
        self._tasks.append(asyncio.create_task(self._keep_keys_fresh()))
        if self.works:
            await self.relay.start()
            await self.jobs.start()
        get_logger().info("started", service=self.name, role=self.settings.role)

    def retire(self) -> None:
        """Tell whoever balances that this process is about to end."""
        self._draining = True

    async def stop(self) -> None:
        """Stop taking work, finish what is under way, close what is open."""
        self._draining = True
        if self.works:
            await self.jobs.stop()
            if self._consuming is not None:
                await self._consuming.stop()
            await self.relay.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for action in self._on_stop:
            await action()
        await self.locks.stop()
        await self.database.stop()

    def _counting(self, figures: Mapping[type[Event], Callable[[Any], None]]) -> Callable[[Sequence[Event]], None]:
        """Counts events that were recorded and committed: in general, and what each means to the shop."""
        counter = self.metrics.counter("haat_events_recorded_total", "Facts that were committed.", ("type",))

        def count(recorded: Sequence[Event]) -> None:
            for event in recorded:
                counter.labels(event.type).inc()
                if (means := figures.get(type(event))) is not None:
                    means(event)

        return count

    def _key_set(self) -> KeySet:
        if self.settings.jwks is not None:
            return KeySet(document=self.settings.jwks)
        return KeySet(fetch=self._fetch_keys)

    async def _fetch_keys(self) -> bytes:
        response = await self.upstreams["accounts"].send(UpstreamRequest("GET", b"/.well-known/jwks.json"))
        body = await response.read()
        if response.status != 200:
            raise OSError(f"accounts answered {response.status} for its keys")
        return body

    async def _keep_keys_fresh(self) -> None:
        """Fetch the key set at start, then every five minutes; every second until the first success."""
        while True:
            if self.keys.is_stale(time.monotonic()) or not self.keys.is_loaded:
                try:
                    await self.keys.refresh()
                except Exception as error:  # noqa: BLE001 - the set in use stays; the next round tries again
                    get_logger().warning("keys not refreshed", error=str(error))
            await asyncio.sleep(30 if self.keys.is_loaded else 1)

    async def is_ready(self) -> dict[str, bool]:
        """What this process needs to do its work, and whether it has it. Other services are not among it."""
        reachable = await self.database.is_reachable()
        if reachable and not self._migrated:
            with suppress(OSError, asyncpg.PostgresError):
                self._migrated = await is_migrated(self.database.url, self.name)
        checks = {"database": reachable, "migrations": self._migrated, "keys": self.keys.is_loaded}
        if self.works:
            checks["bus"] = self.bus.is_ready()
        checks["accepting"] = not self._draining
        return checks

    async def _livez(self, _request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _readyz(self, _request: Request) -> Response:
        checks = await self.is_ready()
        ready = all(checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    async def _serve_metrics(self, _request: Request) -> Response:
        return Response(self.metrics.exposition(), media_type="text/plain; version=0.0.4")

    def identity(self) -> ServiceIdentity:
        """How this service proves itself to others."""
        return service_identity(self.settings)


def service_identity(settings: ServiceSettings) -> ServiceIdentity:
    """The identity that a service's settings give it; without a key it can be built, but calls nobody."""
    key = settings.service_key
    jwk = msgspec.json.decode(key.get_secret_value()) if key else None
    return ServiceIdentity(settings.service, jwk, issuer=settings.token_issuer)


def client_for(settings: ServiceSettings, upstreams: Upstreams, target: str) -> InternalClient:
    """A client with which this service calls another one."""
    return InternalClient(upstreams[target], target=target, identity=service_identity(settings))


Build = Callable[[Any, Bus, Upstreams], Service]
