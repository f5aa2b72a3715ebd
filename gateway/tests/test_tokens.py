"""Who is let in: forged tokens, keys that change, sessions that end."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from chassis.auth import KeySet, TokenSigner, generate_key
from chassis.ids import new_id
from chassis.testing import Keys
from gateway.limits import Allowance
from gateway.policy import Policy
from gateway.revocations import Revocations
from gateway.routes import LimitClass
from gateway.steps import Forward, Head, Refuse, Wait
from gateway.testing import Front, eventually


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": "haat", "aud": "haat", "sub": str(new_id()), "sid": str(new_id()), "role": "customer"}
    return {**good, "iat": now, "exp": now + 600, "jti": "1", **changed}


def signed(keys: Keys, payload: dict[str, Any], **header: Any) -> str:
    signer: Any = TokenSigner(keys.user_key, issuer="haat")
    headers = {"typ": "at+jwt", "kid": signer.kid, **header}
    return jwt.encode(payload, signer._key, algorithm="ES256", headers=headers)  # noqa: SLF001 - a forger's view of the key


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def with_hmac(secret: bytes) -> str:
    """Signed with what everybody may read, in the hope that it is taken for a shared secret."""
    text = unsigned({"alg": "HS256", "typ": "at+jwt", "kid": "test-1"}, claims()).removesuffix(".")
    return text + "." + base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), "sha256")).rstrip(b"=").decode()


def forgeries(keys: Keys) -> dict[str, str]:
    good = keys.access_token()
    head, body, signature = good.split(".")
    stranger = TokenSigner({**generate_key("test-1")}, issuer="haat")
    public = json.loads(keys.user_jwks)["keys"][0]
    return {
        "alg none": unsigned({"alg": "none", "typ": "at+jwt", "kid": "test-1"}, claims()),
        "alg none, capitals": unsigned({"alg": "nOnE", "typ": "at+jwt", "kid": "test-1"}, claims()),
        "HS256 with the public key": with_hmac(json.dumps(public).encode()),
        "another key under our kid": stranger.access_token(
            audience="haat", user_id=new_id(), session_id=new_id(), role="admin"
        ),
        "key brought along": signed(keys, claims(), kid="evil", jwk=public),
        "key from a URL": signed(keys, claims(), kid="evil", jku="https://evil.example/jwks.json"),
        "critical extension": signed(keys, claims(), crit=["b64"], b64=True),
        "service token": signed(keys, claims(), typ="svc+jwt"),
        "plain JWT": signed(keys, claims(), typ="JWT"),
        "wrong audience": signed(keys, claims(aud="other")),
        "audience list": signed(keys, claims(aud=["haat", "other"])),
        "wrong issuer": signed(keys, claims(iss="evil")),
        "expired": signed(keys, claims(exp=int(time.time()) - 60)),
        "from the future": signed(keys, claims(iat=int(time.time()) + 600)),
        "expiry as text": signed(keys, claims(exp="99999999999")),
        "without expiry": signed(keys, {name: value for name, value in claims().items() if name != "exp"}),
        "without session": signed(keys, {name: value for name, value in claims().items() if name != "sid"}),
        "unknown role": signed(keys, claims(role="root")),
        "subject that is no id": signed(keys, claims(sub="1 OR 1=1")),
        "claims changed": f"{head}.{unsigned({}, claims(role='admin')).split('.')[1]}.{signature}",
        "signature cut": good[:-8],
        "signature zero": f"{head}.{body}.{'A' * 86}",
        "two dots": "..",
        "no dots": "x",
        "empty": "",
        "not base64": "!!!.###.$$$",
        "huge": good + "A" * 5000,
        "array header": unsigned([], claims()),  # type: ignore[arg-type]  # what a forger may send
        "number claims": unsigned({"alg": "ES256", "typ": "at+jwt", "kid": "test-1"}, 7),  # type: ignore[arg-type]  # as above
    }


def ask(policy: Policy, token: str, *, target: bytes = b"/api/v1/products", now: float = 0.0) -> Any:
    headers = [(b"Host", b"localhost"), (b"Authorization", b"Bearer " + token.encode("latin-1"))]
    return policy.on_request(Head("GET", target, headers, peer="10.0.0.1"), now)


@pytest.mark.parametrize("name", list(forgeries(Keys())))
def test_forged_tokens_are_401_even_where_none_is_needed(
    name: str, keys: Keys, policy_factory: Callable[..., Policy]
) -> None:
    step = ask(policy_factory(), forgeries(keys)[name])
    assert isinstance(step, Refuse)
    assert (step.problem.status, step.problem.code) == (401, "token_invalid")
    assert dict(step.head.headers)[b"www-authenticate"].startswith(b"Bearer")


def test_a_good_token_is_let_in_and_its_role_known(keys: Keys, policy_factory: Callable[..., Policy]) -> None:
    step = ask(policy_factory(), keys.access_token(role="staff"), target=b"/api/v1/orders")
    assert isinstance(step, Forward)
    assert step.plan.context.principal is not None
    assert step.plan.context.principal.is_staff


def test_too_many_bad_tokens_cost_an_address_its_tries_but_not_its_good_sessions(
    keys: Keys, policy_factory: Callable[..., Policy]
) -> None:
    policy = policy_factory(bad_tokens=Allowance(3, 60))
    good = keys.access_token()
    assert isinstance(ask(policy, good), Forward)
    codes = [ask(policy, f"forged-{number}").problem.code for number in range(5)]
    assert codes == ["token_invalid"] * 3 + ["too_many_requests"] * 2
    assert isinstance(ask(policy, good), Forward), "somebody else behind the same address"
    assert isinstance(ask(policy, "forged", now=30.0).problem.status, int)


def test_a_token_that_was_good_once_is_a_request_without_one_and_no_forgery(
    keys: Keys, policy_factory: Callable[..., Policy]
) -> None:
    policy = policy_factory(bad_tokens=Allowance(1, 60), allowances={LimitClass.READ: Allowance(4, 60)})
    expired = signed(keys, claims(exp=int(time.time()) - 60))
    assert [ask(policy, expired).problem.code for _ in range(3)] == ["token_invalid"] * 3
    assert isinstance(ask(policy, keys.access_token()), Forward), "somebody else behind the same address"
    assert [ask(policy, expired).problem.code for _ in range(2)] == ["token_invalid", "too_many_requests"]
    altered = ask(policy, expired[:-8] + "AAAAAAAA", now=30.0)
    assert altered.problem.code == "token_invalid"
    assert ask(policy, keys.access_token(), now=30.0).problem.code == "too_many_requests", "that was a forgery"


async def test_whoever_goes_on_after_signing_out_takes_nobody_for_a_forger(front_factory: Any, keys: Keys) -> None:
    session = new_id()
    token = keys.access_token(session_id=session)
    async with front_factory(limit_bad_tokens="1/60") as front:
        await front.bus.say_revoked(session, expires_at=int(time.time()) + 600)
        for _ in range(3):
            assert (await front.ask("GET", "/api/v1/orders", token=token)).code == "token_invalid"
        assert (await front.ask("GET", "/api/v1/orders", token=keys.access_token())).status == 200


def test_an_unknown_key_is_waited_for_once_per_half_minute(keys: Keys, policy_factory: Callable[..., Policy]) -> None:
    fetches = 0

    async def fetch() -> bytes:
        nonlocal fetches
        fetches += 1
        return keys.user_jwks.encode()

    async def story() -> None:
        key_set = KeySet(fetch=fetch)
        policy = policy_factory(key_set=key_set)
        stranger = TokenSigner(generate_key("new"), issuer="haat")
        for _ in range(50):
            token = stranger.access_token(audience="haat", user_id=new_id(), session_id=new_id(), role="customer")
            step = ask(policy, token, now=time.monotonic())
            while isinstance(step, Wait):
                await key_set.refresh()
                step = ask(policy, token, now=time.monotonic())
            assert isinstance(step, Refuse)
        assert fetches == 1

    asyncio.run(story())


async def test_a_flood_of_unknown_keys_fetches_the_set_at_most_once(front_factory: Any) -> None:
    stranger = TokenSigner(generate_key("new"), issuer="haat")
    async with front_factory(limit_bad_tokens="1000/60") as front:
        before = len(front.accounts.calls)

        async def forge() -> int:
            token = stranger.access_token(audience="haat", user_id=new_id(), session_id=new_id(), role="customer")
            reply = await front.ask("GET", "/api/v1/products", token=token)
            return int(reply.status)

        assert set(await asyncio.gather(*(forge() for _ in range(40)))) == {401}
        fetches = [path for _, path, _ in front.accounts.calls[before:] if path.endswith("jwks.json")]
        assert len(fetches) <= 1


async def test_tokens_cannot_be_judged_without_keys(front_factory: Any, keys: Keys) -> None:
    async with front_factory() as front:
        front.gateway.revocations.is_loaded = False
        reply = await front.ask("GET", "/api/v1/orders", token=keys.access_token())
        assert (reply.status, reply.code) == (503, "not_ready")
        ready = await front.ask("GET", "/readyz")
        assert (ready.status, ready.json["checks"]["revocations"]) == (503, False)
        assert (await front.ask("GET", "/api/v1/products")).status == 200, "the catalogue stays open"
        front.gateway.revocations.is_loaded = True


async def test_nobody_waits_on_and_on_for_keys_that_do_not_come(front_factory: Any, keys: Keys) -> None:
    async def never(_request: Any, _body: Any) -> Any:
        return await asyncio.get_running_loop().create_future()

    async with front_factory() as front:
        front.accounts.routes["GET", "/.well-known/jwks.json"] = never
        front.gateway.keys.replace('{"keys": []}')
        await eventually(lambda: front.gateway.keys.may_refetch(time.monotonic()))
        reply = await front.ask("GET", "/api/v1/orders", token=keys.access_token())
        assert (reply.status, reply.code) == (503, "not_ready")


async def test_an_ended_session_is_out_within_a_second(front: Front) -> None:
    session = new_id()
    token = front.keys.access_token(session_id=session)
    other = front.keys.access_token()
    assert (await front.ask("GET", "/api/v1/orders", token=token)).status == 200
    await front.bus.say_revoked(session, expires_at=int(time.time()) + 600)
    reply = await front.ask("GET", "/api/v1/orders", token=token)
    assert (reply.status, reply.code) == (401, "token_invalid")
    assert (await front.ask("GET", "/api/v1/orders", token=other)).status == 200


async def test_sessions_that_ended_before_the_start_are_known_from_the_snapshot(front_factory: Any) -> None:
    session = new_id()
    item = {"session_id": str(session), "expires_at": int(time.time()) + 600}
    async with front_factory(session_refresh=0.1) as front:
        token = front.keys.access_token(session_id=session)
        assert (await front.ask("GET", "/api/v1/orders", token=token)).status == 200
        front.accounts.routes["GET", "/internal/sessions/revoked"] = (200, {"items": [item]})
        await eventually(lambda: session in front.gateway.revocations)
        assert (await front.ask("GET", "/api/v1/orders", token=token)).status == 401


def test_ended_sessions_are_forgotten_when_their_last_token_is_dead() -> None:
    revocations, dead, living = Revocations(), new_id(), new_id()
    revocations.add(dead, 100.0)
    revocations.add(living, 200.0)
    revocations.add(living, 50.0)
    revocations.forget(now=150.0)
    assert dead not in revocations
    assert living in revocations


@pytest.mark.parametrize("path", ["login", "register", "refresh"])
@pytest.mark.parametrize("name", ["expired", "another key under our kid", "no dots"])
def test_where_no_token_is_used_none_is_looked_at_or_handed_on(
    name: str, path: str, keys: Keys, policy_factory: Callable[..., Policy]
) -> None:
    """A client refreshes with its old token still attached; a forged one gains nothing, since nobody sees it."""
    policy = policy_factory(bad_tokens=Allowance(1, 60))
    token = forgeries(keys)[name].encode()
    headers = [(b"Host", b"localhost"), (b"Authorization", b"Bearer " + token), (b"Content-Length", b"2")]
    for _ in range(3):
        step = policy.on_request(Head("POST", b"/api/v1/auth/" + path.encode(), headers, peer="10.0.0.1"), 0.0)
        assert isinstance(step, Forward)
        assert step.plan.context.principal is None
        assert b"authorization" not in dict(step.plan.headers)
