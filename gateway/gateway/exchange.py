"""One request on its way to a service and back, chunk by chunk, within the limits of its plan."""

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.types import Receive, Send

from chassis.clients import (
    Upstream,
    UpstreamBroken,
    UpstreamFailure,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from gateway.cache_control import announced
from gateway.headers import AnswerHead, Headers
from gateway.policy import Policy
from gateway.steps import Failure, Keep, Outcome, Plan, Refuse, Retry, Serve

COLLECTED = 256 * 1024
"""Bodies up to this are complete before a service hears of the request: a slow client holds no place there."""
WATCHED_AFTER = 0.05
"""Seconds after which it is worth a task to notice that the client has gone."""

_FAILURES: dict[type[UpstreamFailure], Failure] = {
    UpstreamUnreachable: Failure.UNREACHABLE,
    UpstreamTimedOut: Failure.TIMED_OUT,
    UpstreamBroken: Failure.BROKEN,
}


class BodyRefused(Exception):
    """The client's body is too large or too slow."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class ClientGone(Exception):
    """The client closed its connection."""


class Incoming:
    """A request's body as it arrives, counted."""

    def __init__(self, receive: Receive, plan: Plan) -> None:
        self._receive = receive
        self._limit = plan.route.body_limit
        self.is_complete = plan.body_length == 0
        self.refused: Exception | None = None
        """Why the body ended early; what carries it upstream may hide the reason."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises BodyRefused and ClientGone."""
        size = 0
        while not self.is_complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.refused = ClientGone()
                raise self.refused
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                self.refused = BodyRefused(Failure.BODY_TOO_LARGE)
                raise self.refused
            self.is_complete = not message.get("more_body", False)
            if chunk:
                yield chunk

    async def collected(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def left(self) -> None:
        """Returns when the client has gone; only while nobody reads the body."""
        while (await self._receive())["type"] != "http.disconnect":
            self.is_complete = True


class Departure:
    """Cancels the exchange when the client goes away. Costs a task only for exchanges that take a while."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._exchange = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(WATCHED_AFTER, self._watch)
        self.happened = False

    def _watch(self) -> None:
        if self._incoming.is_complete:
            self._task = self._loop.create_task(self._wait())
        else:
            self._timer = self._loop.call_later(WATCHED_AFTER, self._watch)

    async def _wait(self) -> None:
        await self._incoming.left()
        self.happened = True
        if self._exchange is not None:
            self._exchange.cancel()

    def ignore(self) -> None:
        """The exchange is over."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


class Exchange:
    """Sends a plan to its service, and the answer to the client."""

    def __init__(self, plan: Plan, *, policy: Policy, upstream: Upstream, receive: Receive, send: Send) -> None:
        self._plan = plan
        self._policy = policy
        self._upstream = upstream
        self._send = send
        self._incoming = Incoming(receive, plan)
        self._has_place = False
        self.status = 0
        self.size = 0
        self.own_answer: Refuse | Serve | None = None
        """What is to be sent in place of the service's answer."""

    @property
    def has_read_body(self) -> bool:
        """Whether nothing of the request remains to be read."""
        return self._incoming.is_complete

    async def run(self) -> Outcome:
        """How it ended. An answer of our own that is still to be sent stands in `own_answer`."""
        departure = Departure(self._incoming)
        try:
            async with asyncio.timeout(self._plan.route.deadline):
                return await self._attempts()
        except BodyRefused as refused:
            return self._failed(refused.failure)
        except TimeoutError:
            return self._failed(Failure.TIMED_OUT if self._incoming.is_complete else Failure.BODY_TOO_SLOW)
        except (ClientGone, OSError):
            return Outcome.ABANDONED
        except asyncio.CancelledError:
            if not departure.happened:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            return Outcome.ABANDONED
        finally:
            departure.ignore()

    def _failed(self, failure: Failure) -> Outcome:
        if self.status:
            return Outcome.CUT_SHORT
        step = self._policy.on_failure(self._plan, failure, time.monotonic())
        self.own_answer = None if isinstance(step, Retry) else step
        return Outcome.FAILED

    async def _attempts(self) -> Outcome:
        body = await self._body()
        while True:
            self.own_answer = self._policy.on_send(self._plan, time.monotonic())
            if self.own_answer is not None:
                return Outcome.FAILED
            self._has_place = True
            try:
                return await self._attempt(body)
            except UpstreamFailure as error:
                if self._incoming.refused is not None:
                    raise self._incoming.refused from error
                if self.status:
                    return Outcome.CUT_SHORT
                step = self._policy.on_failure(self._plan, self._cause(error), time.monotonic())
            finally:
                self._give_up_place()
            if not isinstance(step, Retry):
                self.own_answer = step
                return Outcome.FAILED

    def _give_up_place(self) -> None:
        if self._has_place:
            self._has_place = False
            self._policy.on_done(self._plan)

    def _cause(self, error: UpstreamFailure) -> Failure:
        if isinstance(error, UpstreamTimedOut) and not self._incoming.is_complete:
            return Failure.BODY_TOO_SLOW
        return _FAILURES.get(type(error), Failure.BROKEN)

    async def _body(self) -> bytes | AsyncIterator[bytes]:
        if self._incoming.is_complete:
            return b""
        route = self._plan.route
        if route.body_limit <= COLLECTED:
            # The service keeps its time for an answer, or slow clients could make it look like one that fails.
            async with asyncio.timeout(route.deadline - route.timeout):
                return await self._incoming.collected()
        return self._incoming.chunks()

    async def _attempt(self, body: bytes | AsyncIterator[bytes]) -> Outcome:
        plan = self._plan
        request = UpstreamRequest(plan.method, plan.target, self._headers(body), body, plan.route.timeout)
        response = await self._upstream.send(request)
        try:
            if self._incoming.refused is not None:
                raise self._incoming.refused
            await self._answer(response)
        finally:
            await response.aclose()
        return Outcome.ANSWERED

    def _headers(self, body: bytes | AsyncIterator[bytes]) -> Headers:
        """The plan's headers, and a length where it is known; the upstream frames the rest itself."""
        length = len(body) if isinstance(body, bytes) else self._plan.body_length
        if length or self._plan.method in ("POST", "PUT", "PATCH"):
            if length is None:
                return self._plan.headers
            return [*self._plan.headers, (b"content-length", b"%d" % length)]
        return self._plan.headers

    async def _answer(self, response: UpstreamResponse) -> None:
        head = self._policy.on_response(self._plan, response.status, response.headers, time.monotonic())
        if isinstance(head, Keep):
            # Whole first and sent second, so that a client who reads slowly keeps nobody waiting who asked the same.
            head = self._policy.on_answer(self._plan, head, await response.read(), time.monotonic())
        if isinstance(head, Serve):
            self.own_answer = head
            return
        body = await self._whole(response, head)
        headers = head.headers
        if not self._incoming.is_complete:
            headers = [*headers, (b"connection", b"close")]
        self.status = head.status
        await self._send({"type": "http.response.start", "status": head.status, "headers": headers})
        if body is None:
            async for chunk in response.body:
                self.size += len(chunk)
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self.size += len(body or b"")
        await self._send({"type": "http.response.body", "body": body or b"", "more_body": False})

    async def _whole(self, response: UpstreamResponse, head: AnswerHead) -> bytes | None:
        """The body where it is small or there is none: a client who reads it slowly holds no place at the service.

        None for a large one, which is sent on as it comes.
        """
        if not self._plan.answer_body or head.status in (204, 304):
            body = b""
            await response.aclose()
        elif announced(head.headers) is None:
            return None
        else:
            body = await response.read()
        self._give_up_place()
        return body
