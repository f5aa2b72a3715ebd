"""The raw requests of corpus.json, once against the policy alone and once through sockets.

A request is either refused with a code, or it reaches its service, which must read the same request that we meant.
`parser` names the code where the HTTP parser refuses before the policy could; `wire_only` cases never become a head.
"""

from collections.abc import Callable
from typing import Any

from gateway.policy import Policy
from gateway.steps import Forward, Head, Refuse
from gateway.testing import Front


def head_of(raw: str) -> Head:
    """The lines of a raw request without any judgement, as a lenient parser would hand them over."""
    lines, _, _ = raw.partition("\r\n\r\n")
    request_line, *rows = lines.encode("latin-1").split(b"\r\n")
    method, target, version = request_line.split(b" ")
    headers = [(name, value.strip(b" ")) for name, _, value in (row.partition(b":") for row in rows)]
    return Head(method.decode(), target, headers, version.removeprefix(b"HTTP/").decode(), "127.0.0.1")


def test_the_policy_decides_on_bytes(case: dict[str, Any], policy_factory: Callable[..., Policy]) -> None:
    """No socket, no parser: whoever reads the bytes, the rules are the policy's."""
    if case.get("wire_only"):
        return
    step = policy_factory().on_request(head_of(case["sent"]), now=0.0)
    if case["status"] == 200:
        assert isinstance(step, Forward), step
        headers = {name.decode(): value.decode() for name, value in step.plan.headers}
        assert len(headers) == len(step.plan.headers), "a header is handed on once"
        assert step.plan.target.decode() == case.get("target", step.plan.target.decode())
        check_headers(case, {**headers, "content-length": str(step.plan.body_length)})
    else:
        assert isinstance(step, Refuse), step
        assert (step.problem.status, step.problem.code) == (case["status"], case["code"])


async def test_gateway_and_service_agree(case: dict[str, Any], front: Front, shell: str) -> None:
    """What a client sent over a socket is what the service parsed from its own, or never got there."""
    if case.get("ours_only") and shell == "asgi":
        return
    client = await front.connect()
    await client.send(case["sent"].encode("latin-1"))
    reply = await client.read(head_only=case["sent"].startswith("HEAD"))
    seen = [request for service in front.services.values() for request in service.seen]
    assert reply is not None, "every refusal is said, not only done"
    assert reply.status == case.get("wire_status", case["status"]), reply
    if case["status"] != 200:
        assert seen == []
        if shell == "fast":
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json["code"] in (case["code"], case.get("parser"), "request_malformed")
            assert reply.headers["x-request-id"] == reply.json["request_id"]
        return
    assert len(seen) == 1
    request = seen[0]
    headers = dict(request.headers)
    assert len(headers) == len(request.headers), "a header is handed on once"
    assert request.method == case.get("method", request.method)
    assert request.target == case.get("target", request.target)
    assert request.body.decode() == case.get("body", "")
    assert headers["x-request-id"] == reply.headers["x-request-id"]
    assert "server" not in reply.headers
    assert "x-internal-node" not in reply.headers
    check_headers(case, headers)


def check_headers(case: dict[str, Any], headers: dict[str, str]) -> None:
    """What must be there, and what must not."""
    for name, value in case.get("has", {}).items():
        if not (name == "content-length" and headers[name] == "None"):
            assert headers[name] == value
    assert not set(case.get("lacks", ())) & set(headers)
    if "never" in case:
        assert all(case["never"] not in value for value in headers.values())
