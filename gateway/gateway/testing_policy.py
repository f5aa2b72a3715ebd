"""The gateway's test kit without a socket: questions for the policy, and answers of services that do not run."""

from typing import Any

from gateway.headers import Headers
from gateway.policy import Policy
from gateway.steps import Failure, Head, Keep, Plan

PRODUCTS = "/api/v1/products"
LASTING = "public, max-age=30, stale-while-revalidate=60, stale-if-error=300"


def ask(policy: Policy, target: str = PRODUCTS, *, now: float = 0.0, method: str = "GET", **headers: str) -> Any:
    """What the policy does with a request; names of headers with _ for -."""
    lines = [(b"Host", b"localhost")]
    lines += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return policy.on_request(Head(method, target.encode(), lines, peer="127.0.0.1"), now)


def said(control: str = "public, max-age=30, stale-while-revalidate=60", tag: str = '"1"', **more: str) -> Headers:
    """The headers of a service's answer."""
    headers = [(b"content-type", b"application/json"), (b"etag", tag.encode()), (b"cache-control", control.encode())]
    return headers + [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]


def answer(policy: Policy, plan: Plan, body: bytes = b"{}", *, now: float = 0.0, headers: Headers | None = None) -> Any:
    """The service answers; what the client gets, or the head alone when the answer is not kept."""
    headers = [*(headers or said()), (b"content-length", b"%d" % len(body))]
    step = policy.on_response(plan, 200, headers, now)
    served = policy.on_answer(plan, step, body, now) if isinstance(step, Keep) else step
    policy.reads.on_over(plan)
    return served


def confirm(policy: Policy, plan: Plan, *, now: float, tag: str = '"1"') -> Any:
    """The service says that nothing has changed."""
    step = policy.on_response(plan, 304, said(tag=tag), now)
    return policy.on_answer(plan, step, b"", now) if isinstance(step, Keep) else step


def fail(policy: Policy, plan: Plan, failure: Any, *, now: float) -> Any:
    """What becomes of a request whose service is in trouble."""
    if failure == "full":
        policy.guards["catalog"].in_flight = 1_000
        return policy.on_send(plan, now)
    if isinstance(failure, Failure):
        plan.attempt = 2
        return policy.on_failure(plan, failure, now)
    return policy.on_response(plan, int(failure), [], now)
