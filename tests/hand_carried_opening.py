"""Opening a shop whose post is carried by hand: each service on a database of its own, and one door for all of them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import httpx
from starlette.types import Receive, Scope, Send

from accounts.settings import AccountsSettings
from chassis.testing import Databases, Harness, Keys, ServiceFactory
from embedded.shop import PARTS
from razorpay_simulator.testing import SimulatorProcess, WebhookReceiver
from tests.hand_carried import AT_WORK, HandCarriedShop, Neighbour

FRONT_DOORS = {
    "/api/v1/categories": "catalog",
    "/api/v1/products": "catalog",
    "/api/v1/inventory": "catalog",
    "/api/v1/cart": "cart",
    "/api/v1/orders": "orders",
    "/api/v1/admin/orders": "orders",
    "/api/v1/payments": "payments",
}


class FrontDoor:
    """What the gateway does for these tests: the path decides whose request it is."""

    def __init__(self, services: Mapping[str, Harness]) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        name = next(name for prefix, name in FRONT_DOORS.items() if scope["path"].startswith(prefix))
        await self._services[name].service.app(scope, receive, send)


@asynccontextmanager
async def opened_shop(
    service_factory: ServiceFactory,
    databases: Databases,
    keys: Keys,
    *,
    provider: SimulatorProcess,
    receiver: WebhookReceiver,
) -> AsyncIterator[HandCarriedShop]:
    """An empty shop with one category, and a provider without a past."""
    for name in PARTS:
        keys.service_key(name)
    async with AsyncExitStack() as stack:
        upstreams = {name: Neighbour(name) for name in PARTS}
        services: dict[str, Harness] = {}
        for name in AT_WORK:
            settings_class, build = PARTS[name]
            own = _payments_settings(provider) if name == "payments" else {}
            harness = await stack.enter_async_context(
                service_factory(
                    settings_class,
                    build,
                    upstreams=upstreams,
                    service_keys=keys.service_jwks.decode(),
                    **own,
                )
            )
            upstreams[name].connect(harness.service)
            services[name] = harness
        urls = {"accounts": await databases.for_service(AccountsSettings)}
        urls |= {name: harness.database.url for name, harness in services.items()}
        front = httpx.ASGITransport(FrontDoor(services), raise_app_exceptions=False)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30, mounts={"http://shop": front}))
        outboxes = {}
        for name in AT_WORK:
            outboxes[name] = await asyncpg.connect(urls[name])
            stack.push_async_callback(outboxes[name].close)
        shop = HandCarriedShop(
            "http://shop",
            provider.base_url,
            http,
            services=services,
            neighbours=upstreams,
            provider=provider,
            receiver=receiver,
            keys=keys,
            databases=urls,
            outboxes=outboxes,
        )
        await (await shop.staff()).post("/categories", {"name": "Lamps"})
        yield shop


def _payments_settings(provider: SimulatorProcess) -> dict[str, Any]:
    return {
        "razorpay_base_url": provider.base_url,
        "razorpay_key_id": provider.key_id,
        "razorpay_key_secret": provider.key_secret,
        "razorpay_webhook_secret": provider.webhook_secret,
    }
