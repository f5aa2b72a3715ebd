"""Public reads answered without asking their service: what of the policy concerns the cache.

find         the answer, if there is a fresh one
on_miss      Serve an older one while it is confirmed | Join whoever asks the same | Forward
on_joined    the same again, once that one has its answer
on_response  whether the answer will be kept, and so has to be read whole
on_failure   an older answer in place of none
on_answer    keep it, and make of it what this client gets
on_over      nobody waits any longer, however it ended

Every answer says in Cache-Status (RFC 9211) where it came from. Requests with a staff token never come here: staff
see what the public does not.
"""

from collections.abc import Collection
from dataclasses import replace

from chassis.auth import Principal
from chassis.caching import is_known
from gateway.cache import Cache, Stored, named_in
from gateway.cache_control import Lifetime, announced, forbids_keeping, lifetime_of, wants_fresh
from gateway.headers import AnswerHead, Headers
from gateway.origins import SAFE
from gateway.routes import Route
from gateway.steps import Context, Forward, Join, Keep, Plan, Read, Serve

MAX_JOINS = 3
"""Times a request waits for an answer to another one before it asks by itself."""
ASKED_WITH = frozenset({b"authorization", b"tracestate", b"traceparent", b"x-client-address", b"x-request-id"})
"""What a service is told of whoever asks for everybody: nothing that could change the answer, as the key is the target
alone. The token stays, for what is not public gets its 403 and not a 401; whoever may see more is staff."""
ANY_TIME = float("-inf")
OVER = Lifetime(0, 0, 0)
NOT_IN_304 = frozenset({b"content-length", b"content-type"})


class CachedReads:
    """What is answered from the cache, and what goes into it."""

    def __init__(self, cache: Cache, routes: Collection[Route]) -> None:
        self.cache = cache
        self._services = frozenset(route.service for route in routes if route.cacheable)

    def begin(
        self,
        route: Route,
        method: str,
        known: dict[bytes, bytes],
        principal: Principal | None,
        *,
        key: bytes,
        now: float,
    ) -> Read | None:
        """The request as a read that may be answered from the cache; None when it may not."""
        if not route.cacheable or method not in SAFE or not self.cache.capacity:
            return None
        if principal is not None and principal.is_staff:
            return None
        control = known.get(b"cache-control")
        if forbids_keeping(control):
            return None
        asked_after = now if wants_fresh(control) else ANY_TIME
        return Read(key, known.get(b"if-none-match"), asked_after=asked_after, with_body=method != "HEAD")

    def find(self, read: Read, context: Context, now: float) -> Serve | None:
        """The answer, if there is a fresh one."""
        stored = self._kept_for(read)
        if stored is None:
            return None
        if now < stored.fresh_until:
            context.cache = "joined" if read.joins else "hit"
            return _served(stored, read, context, f"hit; ttl={stored.fresh_until - now:.0f}", now)
        read.stale = stored
        return None

    def _kept_for(self, read: Read) -> Stored | None:
        """What is kept, unless this client wants it fresher."""
        stored = self.cache.find(read.key)
        return stored if stored is not None and stored.asked_at > read.asked_after else None

    def on_miss(self, plan: Plan, read: Read, now: float) -> Serve | Join | Forward:
        """An older answer, somebody else's, or one's own."""
        other = self.cache.under_way(read.key)
        if read.stale is not None and now < read.stale.usable_until:
            plan.context.cache = "stale"
            step = _served(read.stale, read, plan.context, f"hit; ttl={read.stale.fresh_until - now:.0f}", now)
            if other is None:
                self._fill(plan, read, now)
                step = replace(step, refresh=plan)
            return step
        plan.context.cache = "miss"
        if other is None:
            if not self.cache.is_passed(read.key, now):
                self._fill(plan, read, now)
            return Forward(plan)
        if read.joins == MAX_JOINS:
            return Forward(plan)
        read.joins += 1
        return Join(plan, other)

    def on_joined(self, step: Join, now: float) -> Serve | Join | Forward:
        """Another request had its answer, or none, or takes too long."""
        plan, read = step.plan, step.plan.read
        if read is None or not step.fill.is_over:
            return Forward(plan)
        return self.find(read, plan.context, now) or self.on_miss(plan, read, now)

    def _fill(self, plan: Plan, read: Read, now: float) -> None:
        """This plan asks for everybody: unconditionally, or whether what is kept still holds."""
        read.fill = self.cache.begin(read.key, now)
        plan.headers = [(name, value) for name, value in plan.headers if name in ASKED_WITH]
        if read.stale is not None and read.stale.etag is not None:
            plan.headers.append((b"if-none-match", read.stale.etag))

    def on_response(self, plan: Plan, status: int, headers: Headers, now: float) -> Keep | None:
        """Whether the answer is to be read whole and kept."""
        if plan.method not in SAFE:
            if plan.route.service in self._services and status < 400:
                # RFC 9111 §4.4, and more: one write changes lists, facets and counts too.
                self.cache.forget_all()
            return None
        read = plan.read
        if read is None or read.fill is None:
            return None
        if status == 304 and read.stale is not None:
            # It answers our question: the reader may hold nothing, and gets the whole even when it is kept no longer.
            renewed = _renewed(read.stale, headers)
            return Keep(status, renewed, lifetime_of(renewed))
        lifetime = lifetime_of(headers)
        if lifetime is not None and status == 200 and announced(headers) is not None:
            return Keep(status, headers, lifetime)
        if status < 500:
            self.cache.pass_by(read.fill, now)
        else:
            self.cache.end(read.fill)
        return None

    def on_answer(self, plan: Plan, keep: Keep, headers: Headers, body: bytes, now: float) -> Serve:
        """Keep a whole answer, unless something it names changed on its way; `headers` are what clients may see."""
        read = plan.read
        if read is None or read.fill is None:
            raise ValueError("nobody is to keep this answer")
        if keep.status == 304 and read.stale is not None:
            body, names, how = read.stale.body, read.stale.names, "stale; fwd-status=304"
            plan.context.cache = "confirmed"
        else:
            names, how = named_in(body), "uri-miss" if read.stale is None else "stale"
        lifetime = keep.lifetime or OVER
        stored = Stored(
            headers=headers,
            body=body,
            etag=next((value for name, value in headers if name == b"etag"), None),
            names=names,
            asked_at=read.fill.asked_at,
            confirmed_at=now,
            fresh_until=now + lifetime.fresh,
            usable_until=now + lifetime.usable,
            spare_until=now + lifetime.spare,
        )
        if keep.lifetime is None:
            self.cache.pass_by(read.fill, now)
        is_kept = keep.lifetime is not None and self.cache.keep(read.fill, stored)
        return _served(stored, read, plan.context, f"fwd={how}{'; stored' if is_kept else ''}", now)

    def on_failure(self, plan: Plan, now: float) -> Serve | None:
        """What is kept, when the service has no answer and its last one allows that."""
        read = plan.read
        if read is None:
            return None
        # Looked for anew: what was at hand when the request came may have ended since.
        stored = self._kept_for(read)
        if stored is None or now >= stored.spare_until:
            return None
        plan.context.cache = "spare"
        how = f"hit; ttl={stored.fresh_until - now:.0f}; detail=stale-if-error"
        return _served(stored, read, plan.context, how, now)

    def on_over(self, plan: Plan) -> None:
        """The exchange has ended, with or without an answer."""
        if plan.read is not None and plan.read.fill is not None:
            self.cache.end(plan.read.fill)


def _renewed(stored: Stored, headers: Headers) -> Headers:
    """The headers of a kept answer, as far as a 304 does not say otherwise (RFC 9111 §3.2)."""
    said = [item for item in headers if item[0] not in NOT_IN_304]
    names = {name for name, _ in said}
    return [item for item in stored.headers if item[0] not in names] + said


def _served(stored: Stored, read: Read, context: Context, how: str, now: float) -> Serve:
    """An answer for this client, which may hold the same version already."""
    told = [
        (b"age", b"%d" % max(0, now - stored.confirmed_at)),
        (b"cache-status", f"haat; {how}".encode()),
        *context.headers,
    ]
    if_none_match, etag = read.if_none_match, stored.etag
    if if_none_match and etag and is_known(if_none_match.decode("latin-1"), etag.decode("latin-1")):
        return Serve(context, AnswerHead(304, [item for item in stored.headers if item[0] not in NOT_IN_304] + told))
    return Serve(context, AnswerHead(200, stored.headers + told), stored.body if read.with_body else b"")
