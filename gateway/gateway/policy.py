"""What happens to a request, decided without touching a socket.

on_request   Refuse | Serve | Wait for something | Join another request | Forward a plan
on_send      the moment a plan would leave: the service may be failing or full
on_response  what of the service's answer the client gets to see, or that it is to be kept first
on_failure   Retry | Refuse | Serve
on_done      frees the place in the service's bulkhead

What is answered without any service, and what joins whom, is told in cached_reads.py.

Order matters: nothing is looked at before what it rests on was checked, and nothing is counted against a caller
before it is known who that is.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from chassis.auth import Principal, TokenExpired, TokenVerifier, UnknownKey
from chassis.problems import (
    MEDIA_TYPE,
    ContentTooLarge,
    MethodNotAllowed,
    Problem,
    RouteNotFound,
    TokenInvalid,
    TokenMissing,
    TooManyRequests,
)
from gateway import errors
from gateway.addresses import ClientAddresses
from gateway.cached_reads import CachedReads
from gateway.forwarding import forwarded_headers
from gateway.guards import Guard
from gateway.headers import (
    HSTS,
    NOTHING_RUNS,
    SECURITY,
    AnswerHead,
    Headers,
    body_length,
    check_host,
    clean_answer,
    collect,
)
from gateway.limits import Limits
from gateway.origins import SAFE, Origins
from gateway.paths import split_target
from gateway.revocations import Revocations
from gateway.routes import BY_ADDRESS, GATEWAY, LimitClass, Route, RouteTable
from gateway.steps import Context, Failure, Forward, Head, Join, Keep, Need, Plan, Refuse, Retry, Serve, Step, Wait

RETRIED = frozenset({Failure.UNREACHABLE, Failure.BROKEN})
"""A time-out is not repeated: a slow service would get twice the work."""


@dataclass(frozen=True, slots=True)
class Doorway:
    """What the policy knows about the place it stands in."""

    hosts: frozenset[str]
    origins: Origins
    addresses: ClientAddresses
    is_https: bool = False


class Policy:
    """The decisions of one gateway process, with the counters they rest on."""

    def __init__(
        self,
        *,
        doorway: Doorway,
        routes: RouteTable,
        tokens: TokenVerifier,
        revocations: Revocations,
        limits: Limits,
        guards: Mapping[str, Guard],
        reads: CachedReads,
    ) -> None:
        self._doorway = doorway
        self.routes = routes
        self.tokens = tokens
        self._revocations = revocations
        self._limits = limits
        self.guards = guards
        self.reads = reads
        self.is_fetching_keys = False
        """Set by the shell while a fetch is under way, so that whoever needs the keys waits for it."""
        self._always = SECURITY + ([HSTS] if doorway.is_https else [])

    def on_request(self, head: Head, now: float, *, may_wait: bool = True) -> Step:
        """What to do with a request, which waits for keys once at most; `now` is monotonic."""
        # Random, so that it can serve as a trace id too.
        context = Context(os.urandom(16).hex(), may_wait=may_wait)
        context.headers = [(b"x-request-id", context.request_id.encode()), *self._always]
        try:
            return self._decide(head, context, now)
        except Problem as problem:
            return self._refuse(context, problem, head.target)

    def _decide(self, head: Head, context: Context, now: float) -> Serve | Forward | Wait | Join:
        known = collect(head.headers)
        check_host(known, self._doorway.hosts)
        length = body_length(known, http_version=head.http_version)
        path, query = split_target(head.target)
        route = self.routes.find(path)
        context.route = route
        context.headers += self._doorway.origins.headers(known, route)
        if route is None:
            raise RouteNotFound("See /docs for the routes that exist; none ends with a slash.")
        if head.method == "OPTIONS":
            return self._answer_options(route, known, context)
        _check_method(head.method, route, length)
        if b"expect" in known:
            raise errors.ExpectationRefused("Send the request again without Expect.")
        address = self._doorway.addresses.of(head.peer, known.get(b"x-forwarded-for"))
        household = self._doorway.addresses.household(address)
        wait = self._identify(route, known, context, method=head.method, household=household, now=now)
        if wait is not None:
            return wait
        self._count(route, head.method, context, household=household, now=now)
        if route.guards_cookie and b"cookie" in known:
            self._doorway.origins.guard_cookie(head.method, known)
        if length is not None and length > route.body_limit:
            raise too_large(route)
        target = path + query
        read = self.reads.begin(route, head.method, known, context.principal, key=target, now=now)
        if read is not None and (served := self.reads.find(read, context, now)) is not None:
            return served
        plan = Plan(
            context=context,
            route=route,
            method="GET" if head.method == "HEAD" else head.method,
            target=target,
            headers=forwarded_headers(known, route, request_id=context.request_id, address=address),
            body_length=length,
            answer_body=head.method != "HEAD",
            read=read,
        )
        return Forward(plan) if read is None else self.reads.on_miss(plan, read, now)

    def _answer_options(self, route: Route, known: dict[bytes, bytes], context: Context) -> Serve:
        headers = list(context.headers)
        if b"origin" in known and b"access-control-request-method" in known:
            headers += self._doorway.origins.preflight(known, route)
        else:
            headers.append((b"allow", ", ".join(sorted({*route.methods, "OPTIONS"})).encode()))
        return Serve(context, AnswerHead(204, headers))

    def _identify(
        self, route: Route, known: dict[bytes, bytes], context: Context, *, method: str, household: str, now: float
    ) -> Wait | None:
        """Who is calling. A token that is no good is refused even where none is needed, but not where none is used."""
        credentials = known.get(b"authorization") if route.uses_token else None
        if credentials is None:
            if not route.anonymous:
                raise TokenMissing("Sign in and send the access token as a Bearer token.")
            return None
        scheme, _, token = credentials.decode("latin-1").partition(" ")
        spent = self._limits.refusal_for_bad_tokens(household, now)
        if spent is not None and self.tokens.recall(token) is None:
            raise TooManyRequests("Too many bad access tokens; sign in again.", retry_after=spent.retry_after)
        try:
            if scheme.lower() != "bearer":
                raise TokenInvalid("Send the access token as a Bearer token.")
            if self._may_wait_for_keys(context, now) and not self.tokens.keys.is_loaded:
                return Wait(Need.KEYS)
            context.principal = self._verified(token)
        except TokenExpired:
            # Every app that was away begins with one. Whoever shares its address must not be taken for a forger.
            self._count(route, method, context, household=household, now=now)
            raise
        except TokenInvalid as problem:
            if isinstance(problem, UnknownKey) and self._may_wait_for_keys(context, now):
                return Wait(Need.KEYS)
            self._limits.charge_bad_token(household, now)
            raise
        return None

    def _verified(self, token: str) -> Principal:
        if not (self.tokens.keys.is_loaded and self._revocations.is_loaded):
            raise errors.NotReady("Access tokens cannot be checked yet; repeat in a moment.")
        principal = self.tokens.verify(token)
        if not isinstance(principal, Principal):
            raise TokenInvalid
        if principal.session_id in self._revocations:
            raise TokenExpired
        return principal

    def _may_wait_for_keys(self, context: Context, now: float) -> bool:
        return context.may_wait and (self.is_fetching_keys or self.tokens.keys.may_refetch(now))

    def _count(self, route: Route, method: str, context: Context, *, household: str, now: float) -> None:
        limit = route.limit_for(method)
        if limit is LimitClass.NONE:
            return
        by_address = context.principal is None or limit in BY_ADDRESS
        caller = household if by_address or context.principal is None else context.principal.user_id
        standing = self._limits.charge(limit, caller, now)
        if standing is None:
            return
        context.headers += standing.headers()
        if not standing.is_allowed:
            raise TooManyRequests(f"Wait {standing.retry_after} s, then repeat.", retry_after=standing.retry_after)

    def on_send(self, plan: Plan, now: float) -> Refuse | Serve | None:
        """Take a place at the service, unless it is failing or full."""
        guard = self.guards.get(plan.route.service)
        if guard is None:
            return None
        if guard.is_open(now):
            return self._without_service(plan, _unavailable(plan, retry_after=guard.seconds_left(now)), now)
        if guard.is_full():
            busy = errors.Overloaded(f"The {plan.route.service} service is busy; repeat in a moment.")
            return self._without_service(plan, busy, now)
        guard.enter(now)
        return None

    def on_response(self, plan: Plan, status: int, headers: Headers, now: float) -> AnswerHead | Keep | Serve:
        """The head that the client gets, unless the whole answer is to be kept before, or another is better."""
        guard = self.guards.get(plan.route.service)
        if guard is not None:
            guard.succeeded()
        spare = self.reads.on_failure(plan, now) if status >= 500 else None
        if spare is not None:
            return spare
        keep = self.reads.on_response(plan, status, headers, now)
        if keep is not None:
            return keep
        told = [(b"cache-status", b"haat; fwd=miss")] if plan.read is not None else []
        return AnswerHead(status, _visible(plan, headers) + told + plan.context.headers)

    def on_answer(self, plan: Plan, keep: Keep, body: bytes, now: float) -> Serve:
        """What the client gets of an answer that is kept."""
        return self.reads.on_answer(plan, keep, _visible(plan, keep.headers), body, now)

    def on_failure(self, plan: Plan, failure: Failure, now: float) -> Retry | Refuse | Serve:
        """Once more, an answer of before, or a problem that says whether repeating is safe."""
        guard = self.guards.get(plan.route.service)
        if failure is Failure.BODY_TOO_LARGE:
            return self._refuse(plan.context, too_large(plan.route), plan.target)
        if failure is Failure.BODY_TOO_SLOW:
            slow = errors.RequestTooSlow("The body did not arrive in time; send it again.")
            return self._refuse(plan.context, slow, plan.target)
        if guard is not None:
            guard.failed(now)
            if self._may_retry(plan, failure, guard):
                plan.attempt += 1
                return Retry()
        return self._without_service(plan, _problem_of(plan, failure), now)

    def _without_service(self, plan: Plan, problem: Problem, now: float) -> Refuse | Serve:
        return self.reads.on_failure(plan, now) or self._refuse(plan.context, problem, plan.target)

    def _may_retry(self, plan: Plan, failure: Failure, guard: Guard) -> bool:
        return plan.attempt == 1 and plan.method in SAFE and failure in RETRIED and guard.may_retry()

    def on_done(self, plan: Plan) -> None:
        """Give up the place taken by on_send."""
        guard = self.guards.get(plan.route.service)
        if guard is not None:
            guard.leave()

    def _refuse(self, context: Context, problem: Problem, target: bytes) -> Refuse:
        path = target.partition(b"?")[0][:256].decode("latin-1")
        document = problem.document(instance=path, request_id=context.request_id)
        body = msgspec.json.encode(document)
        headers: Headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            NOTHING_RUNS,
            *((name.encode(), value.encode()) for name, value in problem.headers.items()),
            *context.headers,
        ]
        return Refuse(context, problem, AnswerHead(problem.status, headers), body)


def _visible(plan: Plan, headers: Headers) -> Headers:
    """What of an answer's headers the client gets to see, with what none may lack."""
    visible = clean_answer(headers, sets_cookie=plan.route.sets_cookie)
    if plan.route.service != GATEWAY:
        visible = [(name, value) for name, value in visible if name != NOTHING_RUNS[0]]
    names = {name for name, _ in visible}
    if NOTHING_RUNS[0] not in names:
        visible.append(NOTHING_RUNS)
    principal = plan.context.principal
    if principal is not None and principal.is_staff:
        # What staff see of the catalogue is not what the public sees.
        visible = [(name, value) for name, value in visible if name != b"cache-control"]
        names.discard(b"cache-control")
    if b"cache-control" not in names:
        visible.append((b"cache-control", b"no-store"))
    return visible


def _check_method(method: str, route: Route, length: int | None) -> None:
    if method not in route.methods:
        allowed = ", ".join(sorted(route.methods))
        raise MethodNotAllowed("Use one of the methods in Allow.", headers={"allow": allowed})
    if method in SAFE and length != 0:
        raise errors.FramingRefused(f"{method} requests have no body.")


def too_large(route: Route) -> ContentTooLarge:
    """The refusal of a body over the route's limit."""
    return ContentTooLarge(f"Send at most {route.body_limit} bytes.", limit=route.body_limit)


def _unavailable(plan: Plan, *, retry_after: int) -> errors.UpstreamUnavailable:
    service = plan.route.service
    return errors.UpstreamUnavailable(
        f"The {service} service does not answer; repeat in a moment.", retry_after=retry_after, upstream=service
    )


def _problem_of(plan: Plan, failure: Failure) -> Problem:
    if failure is Failure.UNREACHABLE:
        return _unavailable(plan, retry_after=2)
    if failure is Failure.TIMED_OUT:
        return errors.UpstreamTimeout("Look whether it happened before you repeat it.")
    return errors.UpstreamFailed("Look whether it happened before you repeat it.")
