"""The ASGI shell: moves bytes between an ASGI server, the policy and the services."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import Message, Receive, Scope, Send

from chassis.clients import Upstreams
from chassis.telemetry import request_id, service_name
from chassis.tracing import Span
from gateway.access_log import AccessLog
from gateway.exchange import Exchange
from gateway.forwarding import continued
from gateway.headers import AnswerHead
from gateway.policy import Policy
from gateway.routes import GATEWAY
from gateway.steps import Forward, Head, Join, Outcome, Plan, Refuse, Serve, Step, Wait

DECIDED = "gateway.decided"
"""Where in a scope stands what was decided about its request before there was a scope."""
DISCARDED = 64 * 1024
DISCARD_TIMEOUT = 1.0
"""An unwanted body of this size and within this time is read to its end, so that its connection can be kept."""
JOINED_WITHIN = 1.0
"""Seconds a request waits for the answer to another one before it asks by itself."""


class AsgiShell:
    """The gateway as an ASGI application."""

    def __init__(
        self,
        policy: Policy,
        *,
        upstreams: Upstreams,
        access_log: AccessLog,
        fetch_keys: Callable[[], Awaitable[None]],
    ) -> None:
        self._policy = policy
        self._upstreams = upstreams
        self._access_log = access_log
        self._fetch_keys = fetch_keys
        self._key_fetch: asyncio.Task[None] | None = None
        self._refreshing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Give up what no client waits for."""
        for task in self._refreshing:
            task.cancel()
        await asyncio.gather(*self._refreshing, return_exceptions=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. WebSockets are refused; lifespan is the runner's affair."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        started = time.perf_counter()
        head = _head(scope)
        step: Step = scope.get(DECIDED) or self.decide(head)
        while isinstance(step, Wait | Join):
            if isinstance(step, Join):
                await _answered(step)
                step = self._policy.reads.on_joined(step, time.monotonic())
            else:
                await self._obtain_keys()
                step = self._policy.on_request(head, time.monotonic(), may_wait=False)
        if isinstance(step, Forward):
            await self._forward(step.plan, head, receive, send, started=started)
            return
        self.refresh(step)
        await _answer(step.head, step.body, send, keep=await _discard_rest(head, receive))
        self.on_answered(step, head, started=started)

    def decide(self, head: Head) -> Step:
        """What to do with a request. Counts it against its caller, so it is called once for each."""
        return self._policy.on_request(head, time.monotonic())

    def on_answered(self, step: Serve | Refuse, head: Head, *, started: float) -> None:
        """The client has the answer, to a request that came at `started` on time.perf_counter()."""
        self._access_log.record(
            step.context,
            head,
            status=step.head.status,
            size=len(step.body),
            seconds=time.perf_counter() - started,
            code=step.problem.code if isinstance(step, Refuse) else "",
        )

    async def _forward(self, plan: Plan, head: Head, receive: Receive, send: Send, *, started: float) -> None:
        service_name.set(GATEWAY)
        request_id.set(plan.context.request_id)
        try:
            with continued(plan) as span:
                await self._exchange(plan, head, receive, send, started=started, span=span)
        finally:
            self._policy.reads.on_over(plan)

    async def _exchange(
        self, plan: Plan, head: Head, receive: Receive, send: Send, *, started: float, span: Span
    ) -> None:
        upstream = self._upstreams[plan.route.service]
        exchange = Exchange(plan, policy=self._policy, upstream=upstream, receive=receive, send=send)
        outcome = None
        try:
            outcome = await exchange.run()
            if exchange.own_answer is not None:
                own = exchange.own_answer
                await _answer(own.head, own.body, send, keep=exchange.has_read_body)
                exchange.status, exchange.size = own.head.status, len(own.body)
        finally:
            span.tell(plan.method, plan.route.prefix, exchange.status)
            self._access_log.record(
                plan.context,
                head,
                status=exchange.status,
                size=exchange.size,
                seconds=time.perf_counter() - started,
                code=exchange.own_answer.problem.code if isinstance(exchange.own_answer, Refuse) else "",
                outcome=outcome or Outcome.ABANDONED,
                attempts=plan.attempt,
            )

    def refresh(self, step: Serve | Refuse) -> None:
        """Ask the service again, behind the client's back, when the answer that was given is past its lifetime."""
        if isinstance(step, Serve) and step.refresh is not None:
            task = asyncio.create_task(self._refreshed(step.refresh))
            self._refreshing.add(task)
            task.add_done_callback(self._refreshing.discard)

    async def _refreshed(self, plan: Plan) -> None:
        """Ask for no client: the answer goes into the cache, or is dropped."""
        try:
            upstream = self._upstreams[plan.route.service]
            exchange = Exchange(
                plan, policy=self._policy, upstream=upstream, receive=_nothing_comes, send=_nobody_hears
            )
            with continued(plan):
                outcome = await exchange.run()
        finally:
            self._policy.reads.on_over(plan)
        self._access_log.count_refresh(plan.route.service, outcome, attempts=plan.attempt)

    async def _obtain_keys(self) -> None:
        """Fetch the key set, once for everybody who waits for it."""
        if self._key_fetch is None:
            self._policy.is_fetching_keys = True
            self._key_fetch = asyncio.create_task(self._fetch_keys_once())
        await asyncio.shield(self._key_fetch)

    async def _fetch_keys_once(self) -> None:
        try:
            await self._fetch_keys()
        finally:
            self._policy.is_fetching_keys = False
            self._key_fetch = None


async def _answered(step: Join) -> None:
    """Returns when the other request has its answer, or has taken too long."""
    over = asyncio.Event()
    step.fill.on_over.append(over.set)
    with suppress(TimeoutError):
        async with asyncio.timeout(JOINED_WITHIN):
            await over.wait()


async def _nothing_comes() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # which nobody ever sets


async def _nobody_hears(_message: Message) -> None:
    pass


def _head(scope: Scope) -> Head:
    query = scope["query_string"]
    raw_path = scope.get("raw_path") or scope["path"].encode()
    client = scope.get("client")
    return Head(
        method=scope["method"],
        target=raw_path + b"?" + query if query else raw_path,
        headers=scope["headers"],
        http_version=scope.get("http_version", "1.1"),
        peer=client[0] if client else "",
    )


async def _answer(head: AnswerHead, body: bytes, send: Send, *, keep: bool) -> None:
    """Send an answer of our own; without the request's whole body the connection cannot be kept."""
    headers = head.headers if keep else [*head.headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": head.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _discard_rest(request: Head, receive: Receive) -> bool:
    """Discard what remains of an unwanted body. Returns whether its end was reached."""
    names = {name for name, value in request.headers if value != b"0"}
    if not names & {b"content-length", b"transfer-encoding"}:
        return True
    if b"expect" in names:
        # Reading would send the `100 Continue` that was just refused.
        return False
    size = 0
    try:
        async with asyncio.timeout(DISCARD_TIMEOUT):
            while size <= DISCARDED:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return True
    except TimeoutError:
        pass
    return False
