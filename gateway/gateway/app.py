"""Puts the gateway together: settings → policy → shell → pages → management port."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as Page

from chassis.auth import KeySet, Principal, TokenVerifier
from chassis.clients import AsgiUpstream, Upstream, UpstreamRequest, Upstreams
from chassis.events import Bus
from chassis.runner import Listener
from chassis.service import client_for
from chassis.telemetry import Metrics, get_logger, service_name, traceparent
from gateway import status_page
from gateway.access_log import AccessLog
from gateway.addresses import ClientAddresses
from gateway.asgi import AsgiShell
from gateway.cache import Cache
from gateway.cached_reads import CachedReads
from gateway.catalogue_feed import CatalogueFeed
from gateway.documents import Documents
from gateway.fast_shell import FastShell
from gateway.guards import Guard
from gateway.limits import Allowance, Limits
from gateway.origins import Origins
from gateway.pages import own_pages
from gateway.policy import Doorway, Policy
from gateway.revocations import Revocations
from gateway.routes import GATEWAY, RouteTable
from gateway.session_feed import SessionFeed
from gateway.settings import GatewaySettings
from gateway.status import Overview


class Gateway:
    """A gateway put together, not yet started. `app` is the public door, `management` the operators' one."""

    def __init__(
        self, settings: GatewaySettings, *, bus: Bus, upstreams: Upstreams, routes: RouteTable | None = None
    ) -> None:
        self.settings = settings
        self.name = GATEWAY
        self.bus = bus
        self.upstreams = upstreams
        self.metrics = Metrics(GATEWAY)
        self.routes = routes or RouteTable()
        self.keys = _key_set(settings, upstreams)
        self.revocations = Revocations()
        self.guards = _guards(settings, self.routes)
        self.cache = Cache(settings.cache_size)
        self.policy = _policy(self)
        accounts = client_for(settings, upstreams, "accounts")
        self.feed = SessionFeed(
            bus=bus, accounts=accounts, keys=self.keys, revocations=self.revocations, refresh=settings.session_refresh
        )
        self.catalogue_feed = CatalogueFeed(bus, self.cache)
        self.documents = Documents(upstreams, self.routes)
        self._draining = False
        self.overview = Overview(
            {name: client_for(settings, upstreams, name) for name in self.routes.services if name in upstreams},
            guards=self.guards,
            readiness=self.readiness,
        )
        pages = own_pages(self.documents, readiness=self.readiness, services=self.services, status=self._serve_status)
        self.app = AsgiShell(
            self.policy,
            upstreams={**upstreams, GATEWAY: AsgiUpstream(pages, host=GATEWAY)},
            access_log=AccessLog(self.metrics, self.routes.services),
            fetch_keys=self.feed.fetch_keys,
        )
        self.management = Starlette(
            routes=[
                Page("/livez", self._livez),
                Page("/readyz", self._readyz),
                Page("/metrics", self._serve_metrics),
            ]
        )
        self._watch_guards()
        self._watch_cache()

    async def start(self) -> None:
        """Learn the keys and the ended sessions; requests with tokens are refused until both are known."""
        await self.feed.start()
        await self.catalogue_feed.start()

    def retire(self) -> None:
        """Tell whoever balances that this process is about to end."""
        self._draining = True

    async def stop(self) -> None:
        """Stop learning. Bus and upstreams belong to whoever handed them in."""
        self._draining = True
        await self.app.close()
        await self.catalogue_feed.stop()
        await self.feed.stop()

    def readiness(self) -> dict[str, bool]:
        """What this process needs to serve. Services are not among it: one that is down must not close the shop."""
        return {
            "keys": self.keys.is_loaded,
            "revocations": self.revocations.is_loaded,
            "accepting": not self._draining,
        }

    def services(self) -> dict[str, str]:
        """How each service looks from here."""
        return {name: "failing" if guard.is_failing() else "answering" for name, guard in self.guards.items()}

    async def _serve_status(self, request: Request) -> Response:
        """The policy has checked the token, if there is one; here it says who is asking."""
        # A page is called in a fresh context: what it asks the services is the gateway's, and below its request.
        service_name.set(GATEWAY)
        traceparent.set(request.headers.get("traceparent", ""))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        principal = self.policy.tokens.verify(token) if scheme.lower() == "bearer" else None
        return await status_page.answer(request, principal if isinstance(principal, Principal) else None, self.overview)

    def _watch_guards(self) -> None:
        failing = self.metrics.gauge("haat_gateway_upstream_breaker_open", "1 while it is not asked.", ["upstream"])
        under_way = self.metrics.gauge("haat_gateway_upstream_requests_in_flight", "Requests under way.", ["upstream"])
        for name, guard in self.guards.items():
            failing.labels(name).set_function(guard.is_failing)
            under_way.labels(name).set_function(guard.count_in_flight)

    def _watch_cache(self) -> None:
        answers = self.metrics.gauge("haat_gateway_cache_answers", "Answers kept.")
        size = self.metrics.gauge("haat_gateway_cache_bytes", "Bytes they take.")
        answers.set_function(lambda: len(self.cache))
        size.set_function(lambda: self.cache.size)

    async def _livez(self, _request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _readyz(self, _request: Request) -> Response:
        checks = self.readiness()
        ready = all(checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    async def _serve_metrics(self, _request: Request) -> Response:
        return Response(self.metrics.exposition(), media_type="text/plain; version=0.0.4")


class Alone:
    """A gateway that has its process, and so its bus and upstreams, to itself."""

    def __init__(self, gateway: Gateway, bus: Bus, upstreams: Upstreams) -> None:
        self._gateway, self._bus, self._upstreams = gateway, bus, upstreams

    async def start(self) -> None:
        """Bus first: the gateway listens to it."""
        await self._bus.start()
        await self._gateway.start()
        get_logger().info("started")

    def retire(self) -> None:
        """Not ready any more."""
        self._gateway.retire()

    async def stop(self) -> None:
        """The other way round."""
        await self._gateway.stop()
        await self._bus.stop()
        for upstream in self._upstreams.values():
            await upstream.close()


def build(settings: GatewaySettings, bus: Bus, upstreams: Upstreams) -> Gateway:
    """The gateway in front of these services."""
    return Gateway(settings, bus=bus, upstreams=upstreams)


def listeners(gateway: Gateway) -> list[Listener]:
    """The public port, behind the fast shell, and the management port."""
    settings = gateway.settings
    return [
        Listener(
            gateway.app,
            settings.host,
            settings.port,
            drain=settings.drain_timeout,
            http=FastShell.before(gateway.app, head=settings.head_timeout, write=settings.write_timeout),
            keep_alive=int(settings.idle_timeout),
        ),
        Listener(gateway.management, settings.host, settings.management_port, drain=1, is_management=True),
    ]


def _key_set(settings: GatewaySettings, upstreams: Mapping[str, Upstream]) -> KeySet:
    if settings.jwks is not None:
        return KeySet(document=settings.jwks)

    async def fetch() -> bytes:
        response = await upstreams["accounts"].send(UpstreamRequest("GET", b"/.well-known/jwks.json"))
        body = await response.read()
        if response.status != 200:
            raise OSError(f"accounts answered {response.status} for its keys")
        return body

    return KeySet(fetch=fetch)


def _guards(settings: GatewaySettings, routes: RouteTable) -> dict[str, Guard]:
    return {
        name: Guard(
            max_in_flight=settings.max_in_flight,
            failures_to_open=settings.breaker_failures,
            pause=settings.breaker_pause,
        )
        for name in routes.services
    }


def _policy(gateway: Gateway) -> Policy:
    settings = gateway.settings
    public = urlsplit(settings.public_url)
    doorway = Doorway(
        hosts=frozenset({*settings.hosts, (public.hostname or "").lower()}),
        origins=Origins(settings.cors_origins),
        addresses=ClientAddresses(settings.trusted_proxies),
        is_https=public.scheme == "https",
    )
    tokens = TokenVerifier(gateway.keys, issuer=settings.token_issuer, audience=settings.token_audience)
    return Policy(
        doorway=doorway,
        routes=gateway.routes,
        tokens=tokens,
        revocations=gateway.revocations,
        limits=Limits(settings.allowances(), bad_tokens=Allowance.parse(settings.limit_bad_tokens)),
        guards=gateway.guards,
        reads=CachedReads(gateway.cache, gateway.routes.routes),
    )
