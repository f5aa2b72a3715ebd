"""The test kit: a real PostgreSQL, a service on a fresh copy of its migrated database, tokens, and honest stand-ins.

A pytest plugin (`pytest_plugins = ["chassis.testing"]`). Nothing here patches anything: a test talks to the service
as a client, another service or the bus would, and looks at its database.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from chassis.auth import ServiceIdentity, TokenSigner, generate_key, jwks
from chassis.clients import AsgiUpstream, Upstreams
from chassis.events import Bus, Consuming, Envelope, Handler, Message, NotParked, OnBound, Parked, PublishFailed
from chassis.ids import new_id
from chassis.migrations import migrate
from chassis.service import Build, Service
from chassis.settings import ServiceSettings
from chassis.telemetry import configure_logging
from localservers.postgres import PostgresServer

ISSUER = "haat"
AUDIENCE = "haat"


class Keys:
    """Signing keys for tests: one for people's tokens, one for each service."""

    def __init__(self) -> None:
        self.user_key = generate_key("test-1")
        self.signer = TokenSigner(self.user_key, issuer=ISSUER)
        self._service_keys: dict[str, dict[str, Any]] = {}

    @property
    def user_jwks(self) -> str:
        """What services verify people's tokens with."""
        return jwks([self.user_key]).decode()

    @property
    def service_jwks(self) -> bytes:
        """What services verify each other's tokens with; grows with every service that a test speaks for."""
        return jwks(self._service_keys.values())

    def service_key(self, name: str) -> dict[str, Any]:
        """The private key of a service."""
        return self._service_keys.setdefault(name, generate_key(f"{name}.test"))

    def access_token(
        self, *, role: str = "customer", user_id: UUID | None = None, session_id: UUID | None = None
    ) -> str:
        """A good token for some user."""
        return self.signer.access_token(
            audience=AUDIENCE, user_id=user_id or new_id(), session_id=session_id or new_id(), role=role
        )

    def service_token(self, caller: str, *, target: str) -> str:
        """A good token of one service for another."""
        return ServiceIdentity(caller, self.service_key(caller), issuer=ISSUER).token_for(target)


class IdleBus:
    """A bus for tests of one service: what is recorded stays in the outbox, messages come by `Harness.deliver`."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to close."""

    def is_ready(self) -> bool:
        """Always."""
        return True

    async def publish(self, message: Message) -> None:
        """Nothing is relayed; tests read the outbox."""
        raise PublishFailed(str(message.id))

    async def subscribe(self, consumer: str, types: Iterable[str], handler: Handler) -> Consuming:  # noqa: ARG002 - the port's signature
        """Nothing arrives by itself."""
        return self

    async def listen(self, name: str, types: Iterable[str], handler: Handler, *, on_bound: OnBound) -> Consuming:  # noqa: ARG002 - the port's signature
        """Bound at once, and then silent."""
        await on_bound()
        return self

    async def waiting(self, consumer: str) -> int:  # noqa: ARG002 - the port's signature
        """Nothing is ever queued."""
        return 0

    def parked(self, consumer: str) -> Parked:
        """Nothing was ever given up."""
        raise NotParked(consumer)


class FakeUpstream:
    """A service that answers as it is told: `{("GET", r"/internal/things/.*"): (200, {...}) or a function}`.

    A function gets the request and its decoded body and returns (status, json) or raises to break the connection.
    Calls are kept in `calls` as (method, path, body).
    """

    def __init__(self, routes: dict[tuple[str, str], Any] | None = None) -> None:
        self.routes = dict(routes or {})
        self.calls: list[tuple[str, str, Any]] = []
        self.is_down = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        request = Request(scope, receive)
        body = await request.body()
        decoded = json.loads(body) if body else None
        self.calls.append((request.method, request.url.path, decoded))
        if self.is_down:
            raise ConnectionResetError("told to be down")
        response = await self._answer(request, decoded)
        await response(scope, receive, send)

    async def _answer(self, request: Request, decoded: Any) -> Response:
        for (method, pattern), answer in self.routes.items():
            if method == request.method and re.fullmatch(pattern, request.url.path):
                result = answer(request, decoded) if callable(answer) else answer
                if asyncio.iscoroutine(result):
                    result = await result
                if isinstance(result, Response):
                    return result
                status, document = result
                return Response(status_code=status) if document is None else JSONResponse(document, status)
        return JSONResponse({"code": "not_found"}, 404)

    def upstream(self) -> AsgiUpstream:
        """This fake behind the port that services call through."""
        return AsgiUpstream(self, host="fake")


@dataclass
class Harness:
    """A started service and everything a test needs to talk to it."""

    service: Service
    keys: Keys
    client: httpx.AsyncClient

    @property
    def database(self) -> Any:
        """The service's database."""
        return self.service.database

    def token(self, role: str = "customer", user_id: UUID | None = None, session_id: UUID | None = None) -> str:
        """An access token."""
        return self.keys.access_token(role=role, user_id=user_id, session_id=session_id)

    def as_user(self, role: str = "customer", user_id: UUID | None = None) -> dict[str, str]:
        """Headers of a signed-in user."""
        return {"authorization": f"Bearer {self.token(role, user_id)}"}

    def as_service(self, caller: str) -> dict[str, str]:
        """Headers of another service, whose key this one learns with them."""
        token = self.keys.service_token(caller, target=self.service.name)
        self.service.service_tokens.keys.replace(self.keys.service_jwks)
        return {"authorization": f"Bearer {token}"}

    async def deliver(
        self,
        event_type: str,
        data: dict[str, Any],
        *,
        subject: UUID | str = "",
        sequence: int = 1,
        event_id: UUID | str | None = None,
        correlation_id: str = "",
    ) -> None:
        """Hand one event to the service through its inbox, as a bus would; returns after the commit."""
        envelope = Envelope(
            id=UUID(str(event_id or new_id())),
            source="/tests",
            type=event_type,
            subject=str(subject),
            time=datetime.now(UTC),
            sequence=sequence,
            data=data,
            correlationid=correlation_id or str(subject),
        )
        await self.service.inbox.handle(envelope.encode(), 1)

    async def events(self, event_type: str | None = None) -> list[Envelope]:
        """What the service has recorded in its outbox, in order."""
        rows = await self.database.primary_reads.fetch("SELECT body FROM outbox ORDER BY position")
        found = [Envelope.decode(row["body"]) for row in rows]
        return [envelope for envelope in found if event_type in (None, envelope.type)]

    def counted(self, name: str, **labels: str) -> float:
        """What a metric shows; 0 when it has no such series."""
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0

    async def run_job(self, name: str) -> Any:
        """Run one job now, under its lock."""
        return await self.service.jobs.run_once(name)

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """Rows of the service's database."""
        rows: list[Any] = await self.database.primary_reads.fetch(sql, *args)
        return rows

    async def execute(self, sql: str, *args: Any) -> None:
        """Change the service's database behind its back, e.g. to let a deadline pass."""
        connection = await asyncpg.connect(self.database.url)
        try:
            await connection.execute(sql, *args)
        finally:
            await connection.close()


def pytest_configure() -> None:
    """Log lines go where pytest captures them, as JSON."""
    configure_logging(stream=sys.__stderr__)


ServiceFactory = Callable[..., AbstractAsyncContextManager[Harness]]


@pytest.fixture(scope="session")
def keys() -> Keys:
    """Signing keys for this run."""
    return Keys()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL of this test process, without fsync."""
    server = PostgresServer(
        Path(tmp_path_factory.mktemp("postgres")), durable=False, settings={"max_connections": "300"}
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Databases:
    """Fresh databases: a migrated template per service, and a copy of it that is emptied between tests."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._ready: dict[str, str] = {}

    async def create(self, name: str, *, template: str | None = None) -> str:
        """A new database; its URL. Extensions that migrations may rely on are there."""
        connection = await asyncpg.connect(self._server.admin_url)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        finally:
            await connection.close()
        url = self._server.admin_url.rsplit("/", 1)[0] + f"/{name}"
        if template is None:
            connection = await asyncpg.connect(url)
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm; CREATE EXTENSION IF NOT EXISTS unaccent")
            await connection.close()
        return url

    async def for_service(self, settings_class: type[ServiceSettings]) -> str:
        """The URL of an empty, migrated database of this service."""
        name = settings_class.service
        if name not in self._ready:
            url = await self.create(f"{name}_test")
            await migrate(settings_class(database_url=url), name)  # type: ignore[arg-type]  # pydantic reads the text as a secret
            self._ready[name] = url
        else:
            await empty(self._ready[name])
        return self._ready[name]


async def empty(url: str) -> None:
    """Empty every table but the migrations' own."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT format('%I', tablename) AS name FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
        await connection.execute(f"TRUNCATE {', '.join(row['name'] for row in rows)} RESTART IDENTITY CASCADE")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer) -> Databases:
    """Databases on the test server."""
    return Databases(postgres)


@pytest.fixture(scope="session")
def service_factory(databases: Databases, keys: Keys) -> ServiceFactory:
    """Starts services on fresh databases; `async with` the result gives a Harness, keyword arguments are settings."""

    @asynccontextmanager
    async def start(
        settings_class: type[ServiceSettings],
        build: Build,
        *,
        upstreams: Upstreams | None = None,
        bus: Bus | None = None,
        **settings: Any,
    ) -> AsyncIterator[Harness]:
        name = settings_class.service
        values = {
            "database_url": await databases.for_service(settings_class),
            "jwks": keys.user_jwks,
            "service_key": json.dumps(keys.service_key(name)),
            # Without a bus nothing is relayed or consumed by itself: a test reads the outbox and delivers.
            "role": "all" if bus else "web",
            **settings,
        }
        service = build(settings_class(**values), bus or IdleBus(), upstreams or {})
        await service.start()
        transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
        try:
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{name}") as client:
                yield Harness(service, keys, client)
        finally:
            await service.stop()

    return start
