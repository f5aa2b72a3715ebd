"""The topology of the embedded shop: every service behind the gateway in one process, one bus between them.

Nothing differs from the distributed form but what is written here: calls between services stay in the process, the
bus keeps its queues in a database of its own, and settings come from the data folder instead of the environment.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

import accounts.app
import accounts.settings
import cart.app
import cart.settings
import catalog.app
import catalog.settings
import gateway.app
import gateway.settings
import orders.app
import orders.settings
import payments.app
import payments.settings
from chassis.auth import jwks
from chassis.clients import AsgiUpstream, Upstream, UpstreamRequest, UpstreamResponse
from chassis.events import Bus
from chassis.service import Service
from chassis.settings import ServiceSettings, SettingsRefused, read_settings
from embedded.home import SERVICES, Secrets

PARTS: dict[str, tuple[Callable[..., ServiceSettings], Callable[..., Service]]] = {
    "accounts": (accounts.settings.AccountsSettings, accounts.app.build),
    "catalog": (catalog.settings.CatalogSettings, catalog.app.build),
    "cart": (cart.settings.CartSettings, cart.app.build),
    "orders": (orders.settings.OrdersSettings, orders.app.build),
    "payments": (payments.settings.PaymentsSettings, payments.app.build),
}
"""In the order in which they are built and started."""


READY_WITHIN = 10.0
"""Seconds that the gateway gets to learn the keys and the ended sessions before the shop opens."""


class LateUpstream:
    """An upstream whose application is built later: services call each other in a circle."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._upstream: Upstream | None = None

    def connect(self, service: Service) -> None:
        """From now on calls reach this service."""
        self._upstream = AsgiUpstream(service.app, host=self._name)

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Call the service."""
        assert self._upstream is not None, f"{self._name} is not built"  # noqa: S101 - a programming mistake
        return await self._upstream.send(request)

    async def close(self) -> None:
        """Nothing is held."""


class Shop:
    """Five services and the gateway."""

    def __init__(
        self,
        *,
        secrets: Secrets,
        database_urls: dict[str, str],
        bus: Bus,
        public_url: str,
        simulator_url: str,
    ) -> None:
        upstreams = {name: LateUpstream(name) for name in SERVICES}
        own: dict[str, dict[str, Any]] = {
            "gateway": {"public_url": public_url},
            "accounts": {
                "signing_keys": json.dumps({"keys": secrets.signing_keys}),
                "refresh_key": secrets.refresh_key,
            },
            "cart": {"public_url": public_url},
            "payments": {
                "razorpay_base_url": simulator_url,
                "razorpay_key_id": secrets.razorpay_key_id,
                "razorpay_key_secret": secrets.razorpay_key_secret,
                "razorpay_webhook_secret": secrets.webhook_secret,
                "simulator_page_url": f"{simulator_url}/simulator/checkout",
            },
        }
        for name, url in database_urls.items():
            own.setdefault(name, {})["database_url"] = url
        settings = _all_settings(secrets, own)
        self._bus = bus
        self.services: dict[str, Service] = {}
        for name, (_, build) in PARTS.items():
            service = build(settings[name], bus, upstreams)
            upstreams[name].connect(service)
            self.services[name] = service
        self.gateway = gateway.app.build(settings["gateway"], bus, upstreams)

    def management(self) -> ASGIApp:
        """What each part serves on its management port when it is alone, under the part's name: /orders/metrics."""
        apps: dict[str, ASGIApp] = {name: service.management for name, service in self.services.items()}
        apps["gateway"] = self.gateway.management
        return Starlette(routes=[Mount(f"/{name}", app) for name, app in apps.items()])

    async def start(self) -> None:
        """Bind every queue before the first event leaves; the gateway comes last and asks for keys and revocations."""
        await self._bus.start()
        for service in self.services.values():
            await service.listen()
        for service in self.services.values():
            await service.start()
        await self.gateway.start()
        # The door opens when tokens can be checked; should that take long, /readyz says what is missing.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN):
                while not all(self.gateway.readiness().values()):  # noqa: ASYNC110 - it has several conditions
                    await asyncio.sleep(0.01)

    def retire(self) -> None:
        """Not ready any more."""
        self.gateway.retire()
        for service in self.services.values():
            service.retire()

    async def stop(self) -> None:
        """The other way round."""
        await self.gateway.stop()
        for service in reversed(self.services.values()):
            await service.stop()
        await self._bus.stop()


def _all_settings(secrets: Secrets, own: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Those of every part. Raises SettingsRefused with all that cannot be used in any of them."""
    classes: dict[str, Callable[..., ServiceSettings]] = {
        name: settings_class for name, (settings_class, _) in PARTS.items()
    }
    classes["gateway"] = gateway.settings.GatewaySettings
    common, found = _common(secrets), {}
    refused: dict[str, None] = {}
    for name, settings_class in classes.items():
        given = {"service_key": json.dumps(secrets.service_keys[name]), **common, **own.get(name, {})}
        try:
            found[name] = read_settings(settings_class, **given)
        except SettingsRefused as refusal:
            refused |= dict.fromkeys(str(refusal).splitlines())
    if refused:
        raise SettingsRefused("\n".join(refused))
    return found


def _common(secrets: Secrets) -> dict[str, Any]:
    return {
        "env": "demo",
        "jwks": jwks(secrets.signing_keys).decode(),
        "service_keys": jwks(secrets.service_keys.values()).decode(),
    }
