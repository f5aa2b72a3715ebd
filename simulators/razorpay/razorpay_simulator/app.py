"""The simulator as one ASGI application: each call is checked, met by its fault, and answered."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

from razorpay_simulator.api import API_ROUTES, REFUND_KEY
from razorpay_simulator.authentication import authenticate
from razorpay_simulator.checkout import CHECKOUT_ROUTES
from razorpay_simulator.controls import CONTROL_ROUTES
from razorpay_simulator.courier import Courier
from razorpay_simulator.deadlines import settle_due
from razorpay_simulator.errors import ProviderRefusal, RefundKeyInUse, ServerTrouble, UnknownUrl
from razorpay_simulator.faults import Fault
from razorpay_simulator.misbehaviour import instead_of_answer, spoil
from razorpay_simulator.provider import Provider
from razorpay_simulator.routing import Route, Router
from razorpay_simulator.wire import (
    Answer,
    Receive,
    Request,
    Scope,
    Send,
    json_answer,
    read,
    refusal_answer,
    write,
)

logger = logging.getLogger(__name__)


def live(_provider: Provider, _request: Request) -> Answer:
    return json_answer({"status": "live"})


def ready(provider: Provider, _request: Request) -> Answer:
    provider.store.recall("clock_offset")
    return json_answer({"status": "ready"})


HEALTH_ROUTES = (
    Route(name="livez", method="GET", path="/livez", operation=live),
    Route(name="readyz", method="GET", path="/readyz", operation=ready),
)


class Simulator:
    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._router = Router((*API_ROUTES, *CONTROL_ROUTES, *CHECKOUT_ROUTES, *HEALTH_ROUTES))
        self._refund_keys_in_use: set[str] = set()
        self._background: list[asyncio.Task[None]] = []
        self._courier: Courier | None = None
        self._stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        started = time.perf_counter()
        answer = await self._answer(scope, receive)
        logger.info(
            "%s %s %d %.1f ms",
            scope["method"],
            scope["path"],
            answer.status,
            1000 * (time.perf_counter() - started),
        )
        await write(answer, scope=scope, send=send)

    def stop(self) -> None:
        """Let no fault that is still waiting delay the end of the process."""
        self._stopping.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._courier = Courier(self.provider)
        self._background = [
            asyncio.create_task(self._courier.run()),
            asyncio.create_task(self._watch_deadlines()),
        ]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.provider.faults.clear()
        self.provider.store.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _watch_deadlines(self) -> None:
        """Calls settle what is due before they look; this is for the time when nobody calls."""
        while True:
            await asyncio.sleep(1)
            try:
                settle_due(self.provider, until=self.provider.clock.now())
            except Exception:
                logger.exception("a deadline could not be met")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            request = await read(scope, receive)
            found = self._router.find(request.method, request.path)
            if found is None:
                raise UnknownUrl(self.provider.variants.unknown_url_status)
            route, request.params = found
            if route.is_api:
                return await self._answer_api(route, request)
            if route.after_webhooks and self._courier is not None:
                await self._courier.settle()
            return self._perform(route, request)
        except ProviderRefusal as refusal:
            return refusal_answer(refusal)
        except Exception:
            logger.exception("a call failed inside the simulator")
            return refusal_answer(ServerTrouble())

    async def _answer_api(self, route: Route, request: Request) -> Answer:
        authenticate(self.provider, request.headers.get("authorization"))
        fault = self.provider.faults.take(route.name)
        with self._refund_key_taken(route, request):
            if fault is None:
                return self._perform(route, request)
            return await self._misbehave(route, request, fault)

    async def _misbehave(self, route: Route, request: Request, fault: Fault) -> Answer:
        if fault.action == "delay":
            await self._wait(fault.seconds)
        if fault.action == "stale":
            return self._perform_in_the_past(route, request, fault)
        unanswered = instead_of_answer(fault, request)
        if unanswered is not None:
            return unanswered
        answer = self._perform_or_refuse(route, request)
        if fault.action == "delay_answer":
            await self._wait(fault.seconds)
        if fault.action == "webhook_first" and self._courier is not None:
            await self._courier.settle(seconds=10)
        return spoil(answer, fault, request)

    def _perform(self, route: Route, request: Request) -> Answer:
        settle_due(self.provider, until=self.provider.clock.now())
        if request.method == "GET":
            return route.operation(self.provider, request)
        with self.provider.store.transaction():
            return route.operation(self.provider, request)

    def _perform_or_refuse(self, route: Route, request: Request) -> Answer:
        try:
            return self._perform(route, request)
        except ProviderRefusal as refusal:
            return refusal_answer(refusal)

    def _perform_in_the_past(self, route: Route, request: Request, fault: Fault) -> Answer:
        """A replica that lags behind: reads see the ledger of the moment the fault was ordered."""
        past = self.provider.faults.past(fault, now=self.provider.clock.now())
        if past is None or request.method != "GET":
            return self._perform(route, request)
        return route.operation(replace(self.provider, store=past), request)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    @contextlib.contextmanager
    def _refund_key_taken(self, route: Route, request: Request) -> Iterator[None]:
        key = request.headers.get(REFUND_KEY) if route.name == "payments.refund" else None
        if key is None:
            yield
            return
        if key in self._refund_keys_in_use:
            raise RefundKeyInUse
        self._refund_keys_in_use.add(key)
        try:
            yield
        finally:
            self._refund_keys_in_use.discard(key)
