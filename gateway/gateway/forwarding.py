"""The head of the request that a service gets, built from scratch."""

import re

from chassis.tracing import OFF, Span, is_on, start
from gateway.headers import FORWARDED, Headers, cart_cookie
from gateway.routes import Route
from gateway.steps import Plan

_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def forwarded_headers(known: dict[bytes, bytes], route: Route, *, request_id: str, address: str) -> Headers:
    """What the client may say, and what only we may: the request's id and the client's address."""
    handed_on = FORWARDED if route.uses_token else FORWARDED - {b"authorization"}
    headers = [(name, value) for name, value in known.items() if name in handed_on]
    headers += [(name, value) for name, value in known.items() if name in route.extra_headers]
    if route.reads_cookie:
        token = cart_cookie(known)
        if token is not None:
            headers.append((b"cookie", b"cart_token=" + token))
    trace = known.get(b"traceparent", b"")
    if not _TRACEPARENT.fullmatch(trace):
        # The request's id doubles as the trace's, so that logs and traces are found with either.
        trace = f"00-{request_id}-{request_id[16:]}-01".encode()
        headers = [(name, value) for name, value in headers if name != b"tracestate"]
    headers.append((b"traceparent", trace))
    headers.append((b"x-request-id", request_id.encode()))
    headers.append((b"x-client-address", address.encode("latin-1")))
    return headers


def continued(plan: Plan) -> Span:
    """The span of a request that is forwarded; the service continues the trace below it.

    A trace that nobody began before carries the request's id.
    """
    if not is_on():
        return OFF
    number = next(number for number, (name, _) in enumerate(plan.headers) if name == b"traceparent")
    came = plan.headers[number][1].decode()
    request_id = plan.context.request_id
    root = request_id if came[3:35] == request_id else ""
    span = start(plan.method, "server", parent=came, root=root)
    plan.headers[number] = (b"traceparent", span.traceparent.encode())
    return span
