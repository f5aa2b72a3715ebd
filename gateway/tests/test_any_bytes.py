"""Whatever bytes come: a decision, never an exception; and what is forwarded is plain."""

import re
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.policy import Policy
from gateway.steps import Forward, Head, Refuse

NAMES = [
    "host",
    "Content-Length",
    "transfer-encoding",
    "connection",
    "authorization",
    "cookie",
    "origin",
    "traceparent",
]
NAMES += ["x-forwarded-for", "expect", "accept", "access-control-request-method", "sec-fetch-site", "te"]
VALUES = ["localhost", "chunked", "3", "-1", "close, host", "Bearer a.b.c", "cart_token=x", "null", "10.0.0.1, x", "*"]
header = st.tuples(
    st.one_of(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=20)),
    st.one_of(st.sampled_from(VALUES).map(str.encode), st.binary(max_size=40)),
)
target = st.one_of(
    st.binary(max_size=60),
    st.text("/.%25ef;\\?ap", max_size=30).map(lambda tail: b"/api/v1/products" + tail.encode()),
)
method = st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE", "PRI"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=method, target=target, headers=st.lists(header, max_size=8), version=st.sampled_from(["1.0", "1.1"]))
def test_every_head_gets_a_decision(
    method: str,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    version: str,
    policy_factory: Callable[..., Policy],
) -> None:
    policy = policy_factory(origins=("https://shop.example",), proxies=("10.0.0.0/8",))
    step = policy.on_request(Head(method, target, [(b"Host", b"localhost"), *headers], version, "10.0.0.1"), 0.0)
    if isinstance(step, Refuse):
        assert 400 <= step.head.status < 500
    if isinstance(step, Forward):
        assert step.plan.target == target
        path = target.partition(b"?")[0]
        assert not re.search(rb"//|/\.{1,2}(/|$)|%2[ef]|%5c|%00|[\x00-\x20\x7f-\xff;\\]", path, re.IGNORECASE)
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", b"".join(value for _, value in step.plan.headers))
