"""A running gateway on a real socket, and a policy without one."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from chassis.auth import KeySet, TokenVerifier
from chassis.clients import AsgiUpstream, HttpUpstream, Upstream
from chassis.runner import bind, serve
from chassis.testing import FakeUpstream, Keys
from gateway.addresses import ClientAddresses
from gateway.app import Gateway, listeners
from gateway.cache import Cache
from gateway.cached_reads import CachedReads
from gateway.guards import Guard
from gateway.limits import Allowance, Limits
from gateway.origins import Origins
from gateway.policy import Doorway, Policy
from gateway.revocations import Revocations
from gateway.routes import LimitClass, RouteTable
from gateway.settings import GatewaySettings
from gateway.testing import SERVICES, Front, LocalBus, RecordingService, eventually

FrontFactory = Callable[..., AbstractAsyncContextManager[Front]]


def accounts_stub(keys: Keys) -> FakeUpstream:
    """What the gateway itself asks accounts."""
    return FakeUpstream(
        {
            ("GET", "/.well-known/jwks.json"): lambda _request, _body: (200, json.loads(keys.user_jwks)),
            ("GET", "/internal/sessions/revoked"): (200, {"items": []}),
        }
    )


class Both:
    """accounts for the gateway's own questions, a recording service for what clients ask."""

    def __init__(self, own: Upstream, clients: Upstream) -> None:
        self._own, self._clients = own, clients

    async def send(self, request: Any) -> Any:
        """Internal paths and keys to the stub."""
        is_own = request.target.startswith((b"/internal/", b"/.well-known/"))
        return await (self._own if is_own else self._clients).send(request)

    async def close(self) -> None:
        """Both."""
        await self._clients.close()


@dataclasses.dataclass
class Backstage:
    """The services of one gateway, on sockets of their own but for those in its process."""

    services: dict[str, RecordingService]
    accounts: FakeUpstream
    upstreams: dict[str, Upstream]


@asynccontextmanager
async def backstage(keys: Keys, *, down: tuple[str, ...], in_process: dict[str, ASGIApp]) -> AsyncIterator[Backstage]:
    """Services that run; those that are `down` have an address and nobody there."""
    services = {name: RecordingService() for name in SERVICES}
    for service in services.values():
        await service.start()
    stub = accounts_stub(keys)
    upstreams: dict[str, Upstream] = {name: HttpUpstream(service.url) for name, service in services.items()}
    upstreams["accounts"] = Both(stub.upstream(), upstreams["accounts"])
    upstreams |= {name: AsgiUpstream(app, host=name) for name, app in in_process.items()}
    for name in down:
        await services[name].stop()
    try:
        yield Backstage(services, stub, upstreams)
    finally:
        for upstream in upstreams.values():
            await upstream.close()
        for name in set(services) - set(down):
            await services[name].stop()


@asynccontextmanager
async def door(gateway: Gateway, *, shell: str) -> AsyncIterator[int]:
    """The gateway started and listening; the port."""
    await gateway.start()
    bound = bind("127.0.0.1", 0)
    listener = dataclasses.replace(listeners(gateway)[0], bound=bound, drain=1)
    if shell == "asgi":
        listener = dataclasses.replace(listener, http="httptools")
    port: int = bound.getsockname()[1]
    stopping = asyncio.Event()
    serving = asyncio.create_task(serve([listener], stopping))
    try:
        await eventually(lambda: all(gateway.readiness().values()))
        yield port
    finally:
        stopping.set()
        await serving
        await gateway.stop()


@pytest.fixture(scope="session")
def front_factory(keys: Keys) -> FrontFactory:
    """What starts a gateway; keyword arguments are settings, `shell`, `routes`, and which services are `down`."""

    @asynccontextmanager
    async def start(
        *,
        shell: str = "fast",
        routes: RouteTable | None = None,
        down: tuple[str, ...] = (),
        in_process: dict[str, ASGIApp] | None = None,
        **values: Any,
    ) -> AsyncIterator[Front]:
        key: Any = json.dumps(keys.service_key("gateway"))
        settings, bus = GatewaySettings(service_key=key, **values), LocalBus()
        async with backstage(keys, down=down, in_process=in_process or {}) as behind:
            gateway = Gateway(settings, bus=bus, upstreams=behind.upstreams, routes=routes)
            async with door(gateway, shell=shell) as port:
                front = Front(gateway, keys, bus, port)
                front.services, front.accounts = behind.services, behind.accounts
                try:
                    yield front
                finally:
                    await front.close()

    return start


@pytest.fixture(scope="session", params=["fast", "asgi"])
def shell(request: pytest.FixtureRequest) -> str:
    """The fast shell before the ASGI shell, and the ASGI shell alone under uvicorn's own protocol: both must hold."""
    return str(request.param)


@pytest.fixture(scope="session")
async def shared_front(front_factory: FrontFactory, shell: str) -> AsyncIterator[Front]:
    """A gateway with its default settings, started once."""
    async with front_factory(shell=shell) as started:
        yield started


@pytest.fixture
def front(shared_front: Front) -> Front:
    """The shared gateway, its services well-behaved and with nothing seen."""
    for service in shared_front.services.values():
        service.forget()
    return shared_front


PolicyFactory = Callable[..., Policy]
PLENTY = Allowance(100_000, 60)


@pytest.fixture
def policy_factory(keys: Keys) -> PolicyFactory:
    """A policy without any socket near it."""

    def make(
        *,
        origins: tuple[str, ...] = (),
        proxies: tuple[str, ...] = (),
        allowances: dict[LimitClass, Allowance] | None = None,
        bad_tokens: Allowance = PLENTY,
        guard: Guard | None = None,
        key_set: KeySet | None = None,
        is_https: bool = False,
        cache_size: int = 0,
    ) -> Policy:
        routes = RouteTable()
        revocations = Revocations()
        revocations.is_loaded = True
        key_set = key_set or KeySet(document=keys.user_jwks)
        return Policy(
            doorway=Doorway(
                hosts=frozenset({"localhost", "shop.example:8443"}),
                origins=Origins(origins),
                addresses=ClientAddresses(proxies),
                is_https=is_https,
            ),
            routes=routes,
            tokens=TokenVerifier(key_set, issuer="haat", audience="haat"),
            revocations=revocations,
            limits=Limits(allowances or {}, bad_tokens=bad_tokens),
            guards={name: guard or Guard() for name in routes.services},
            reads=CachedReads(Cache(cache_size), routes.routes),
        )

    return make


def corpus() -> list[dict[str, Any]]:
    """The raw requests, as data."""
    loaded: list[dict[str, Any]] = json.loads((Path(__file__).parent / "corpus.json").read_text())
    return loaded


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per raw request."""
    if "case" in metafunc.fixturenames:
        cases = corpus()
        metafunc.parametrize("case", cases, ids=[case["name"] for case in cases])
