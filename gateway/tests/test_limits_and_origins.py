"""How often a caller may ask, and which pages of other sites may."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from chassis.ids import new_id
from chassis.testing import Keys
from gateway.headers import AnswerHead
from gateway.limits import MAX_KEYS, Allowance, Limits
from gateway.policy import Policy
from gateway.routes import LimitClass
from gateway.settings import GatewaySettings
from gateway.steps import Forward, Head, Refuse, Serve
from gateway.testing import Front

SHOP = "https://shop.example"


def ask(policy: Policy, method: str, target: str, *, peer: str = "10.0.0.1", now: float = 0.0, **headers: Any) -> Any:
    lines = [(b"Host", b"localhost")]
    lines += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return policy.on_request(Head(method, target.encode(), lines, peer=peer), now)


def headers_of(step: Any) -> dict[str, str]:
    headers = step.plan.context.headers if isinstance(step, Forward) else step.head.headers
    return {name.decode(): value.decode() for name, value in headers}


def test_a_burst_is_allowed_and_then_one_at_a_time() -> None:
    limits = Limits({LimitClass.READ: Allowance(3, 60)}, bad_tokens=Allowance(1, 1))

    def is_allowed(now: float) -> bool:
        standing = limits.charge(LimitClass.READ, "me", now)
        assert standing is not None
        return standing.is_allowed

    assert [is_allowed(0.0) for _ in range(4)] == [True, True, True, False]
    assert [is_allowed(20.0), is_allowed(20.0)] == [True, False]
    assert [is_allowed(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_refused_caller_is_told_when_to_come_back(policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(allowances={LimitClass.SIGN_IN: Allowance(2, 60)})
    answers = [ask(policy, "POST", "/api/v1/auth/login", now=0.0) for _ in range(3)]
    assert [headers_of(step)["ratelimit-remaining"] for step in answers] == ["1", "0", "0"]
    assert isinstance(answers[2], Refuse)
    assert (answers[2].problem.status, answers[2].problem.code) == (429, "too_many_requests")
    wait = int(headers_of(answers[2])["retry-after"])
    assert isinstance(ask(policy, "POST", "/api/v1/auth/login", now=float(wait)), Forward)


def test_callers_are_counted_apart(keys: Keys, policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(allowances={LimitClass.READ: Allowance(1, 60), LimitClass.SIGN_IN: Allowance(1, 60)})
    user = new_id()
    token = f"Bearer {keys.access_token(user_id=user)}"
    second_device = f"Bearer {keys.access_token(user_id=user)}"
    assert isinstance(ask(policy, "GET", "/api/v1/products"), Forward)
    assert isinstance(ask(policy, "GET", "/api/v1/products", peer="10.0.0.2"), Forward)
    assert isinstance(ask(policy, "GET", "/api/v1/products", Authorization=token), Forward)
    assert isinstance(ask(policy, "GET", "/api/v1/products", Authorization=second_device, peer="10.0.0.3"), Refuse)
    assert isinstance(ask(policy, "POST", "/api/v1/auth/login", Authorization=token), Forward)
    assert isinstance(ask(policy, "POST", "/api/v1/auth/login"), Refuse), "a token buys no more guesses"
    assert isinstance(ask(policy, "GET", "/livez"), Forward)
    assert "ratelimit-limit" not in headers_of(ask(policy, "GET", "/livez"))


def test_a_household_shares_its_ipv6_network(policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(allowances={LimitClass.READ: Allowance(1, 60)})
    assert isinstance(ask(policy, "GET", "/api/v1/products", peer="2001:db8::1"), Forward)
    assert isinstance(ask(policy, "GET", "/api/v1/products", peer="2001:db8::2"), Refuse)
    assert isinstance(ask(policy, "GET", "/api/v1/products", peer="2001:db8:0:1::1"), Forward)


def test_forwarded_addresses_are_believed_from_listed_proxies_only(policy_factory: Callable[..., Policy]) -> None:
    def address(policy: Policy, peer: str, hops: str = "6.6.6.6, 9.9.9.9, 10.1.1.1") -> str:
        step = ask(policy, "GET", "/api/v1/products", peer=peer, X_Forwarded_For=hops)
        return str(dict(step.plan.headers)[b"x-client-address"], "ascii")

    assert address(policy_factory(), "10.0.0.1") == "10.0.0.1"
    trusting = policy_factory(proxies=("10.0.0.0/8",))
    assert address(trusting, "10.0.0.1") == "9.9.9.9", "the last hop that is none of our proxies"
    assert address(trusting, "7.7.7.7") == "7.7.7.7"
    assert address(trusting, "::ffff:10.0.0.1") == "9.9.9.9", "as a socket of both families names it"
    for hop in ("9.9.9.9", "9.9.9.9:4711"):
        assert address(trusting, "10.0.0.1", f"6.6.6.6, {hop}, 10.1.1.1:80") == "9.9.9.9", "as some proxies write it"
    for hop in ("2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"):
        assert address(trusting, "10.0.0.1", f"6.6.6.6, {hop}") == "2001:db8::1"
    assert address(trusting, "10.0.0.1", "9.9.9.9, 10.1.1.1:80:80") == "unknown"


def test_counters_stay_bounded_under_a_flood_of_addresses() -> None:
    limits = Limits({LimitClass.READ: Allowance(10, 60)}, bad_tokens=Allowance(1, 1))
    for number in range(MAX_KEYS + 100):
        assert limits.charge(LimitClass.READ, number, 0.0) is not None
    assert len(limits._full_at) <= MAX_KEYS  # noqa: SLF001 - memory is what this is about


def test_a_listed_page_may_read_and_ask_first(policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(origins=(SHOP,))
    headers = headers_of(ask(policy, "GET", "/api/v1/products", Origin=SHOP))
    assert headers["access-control-allow-origin"] == SHOP
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"
    assert "X-Cart-Token" in headers["access-control-expose-headers"]
    preflight = ask(policy, "OPTIONS", "/api/v1/cart/items", Origin=SHOP, Access_Control_Request_Method="POST")
    assert isinstance(preflight, Serve)
    assert preflight.head.status == 204
    assert headers_of(preflight)["access-control-max-age"] == "600"
    refused = ask(policy, "GET", "/api/v1/orders", Origin=SHOP)
    assert headers_of(refused)["access-control-allow-origin"] == SHOP, "a page must be able to read a refusal"


@pytest.mark.parametrize("origin", ["null", "https://shop.example.evil", "http://shop.example", "https://SHOP.example"])
def test_other_pages_may_not(origin: str, policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(origins=(SHOP,))
    headers = headers_of(ask(policy, "GET", "/api/v1/products", Origin=origin))
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == "Origin"
    preflight = ask(policy, "OPTIONS", "/api/v1/cart", Origin=origin, Access_Control_Request_Method="POST")
    assert isinstance(preflight, Refuse)
    assert preflight.problem.code == "origin_refused"


def test_webhooks_are_no_business_of_browsers(policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(origins=(SHOP,))
    webhook = "/api/v1/payments/webhooks/razorpay"
    assert "access-control-allow-origin" not in headers_of(ask(policy, "POST", webhook, Origin=SHOP))
    preflight = ask(policy, "OPTIONS", webhook, Origin=SHOP, Access_Control_Request_Method="POST")
    assert isinstance(preflight, Refuse)


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({"Cookie": "cart_token=a"}, False),
        ({"Cookie": "cart_token=a", "Origin": "https://evil.example"}, False),
        ({"Cookie": "cart_token=a", "Origin": "null"}, False),
        ({"Cookie": "cart_token=a", "Sec_Fetch_Site": "cross-site"}, False),
        ({"Cookie": "cart_token=a", "Sec_Fetch_Site": "same-site"}, False),
        ({"Cookie": "cart_token=a", "Sec_Fetch_Site": "same-origin"}, True),
        ({"Cookie": "cart_token=a", "Origin": SHOP}, True),
        ({"Cookie": "cart_token=a", "X_Cart_Token": "a"}, True),
        ({"X_Cart_Token": "a"}, True),
        ({}, True),
    ],
)
def test_a_write_on_the_cookie_alone_needs_a_known_origin(
    headers: dict[str, Any], is_allowed: bool, policy_factory: Callable[..., Policy]
) -> None:
    policy = policy_factory(origins=(SHOP,))
    step = ask(policy, "POST", "/api/v1/cart/items", **headers)
    assert isinstance(step, Forward) == is_allowed
    assert isinstance(ask(policy, "GET", "/api/v1/cart", **headers), Forward), "reading is another matter"


async def test_every_answer_carries_its_id_and_says_what_browsers_may_do(front: Front) -> None:
    for target in ("/api/v1/products", "/nothing", "/livez", "/docs"):
        reply = await front.ask("GET", target)
        assert len(reply.headers["x-request-id"]) == 32
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "server" not in reply.headers


def test_https_is_remembered_by_browsers_only_where_there_is_https(policy_factory: Callable[..., Policy]) -> None:
    assert "strict-transport-security" not in headers_of(ask(policy_factory(), "GET", "/livez"))
    assert "strict-transport-security" in headers_of(ask(policy_factory(is_https=True), "GET", "/livez"))


def test_what_staff_see_is_kept_by_nobody(keys: Keys, policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory()
    answer = [(b"cache-control", b"public, max-age=30"), (b"etag", b'"1"')]
    for role, expected in (("customer", b"public, max-age=30"), ("staff", b"no-store"), ("admin", b"no-store")):
        step = ask(policy, "GET", "/api/v1/products", Authorization=f"Bearer {keys.access_token(role=role)}")
        head = policy.on_response(step.plan, 200, answer, now=0.0)
        assert isinstance(head, AnswerHead)
        assert [value for name, value in head.headers if name == b"cache-control"] == [expected]
    anonymous = ask(policy, "GET", "/api/v1/products")
    unmarked = policy.on_response(anonymous.plan, 200, [], now=0.0)
    assert isinstance(unmarked, AnswerHead)
    assert (b"cache-control", b"no-store") in unmarked.headers


@pytest.mark.parametrize(
    "wrong",
    [
        {"cors_origins": "*"},
        {"cors_origins": "null"},
        {"cors_origins": "https://shop.example/"},
        {"cors_origins": "shop.example"},
        {"limit_read": "0/60"},
        {"limit_read": "many"},
    ],
)
def test_settings_that_would_open_the_door_do_not_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(**wrong)


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_HOSTS", "Shop.example, api.shop.example:8443")
    monkeypatch.setenv("CORS_ORIGINS", "https://shop.example,https://www.shop.example")
    settings = GatewaySettings()
    assert settings.hosts == ("shop.example", "api.shop.example:8443")
    assert settings.cors_origins == ("https://shop.example", "https://www.shop.example")
