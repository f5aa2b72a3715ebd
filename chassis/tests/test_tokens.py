"""Only our own tokens, of the right kind, for the right audience, signed by a key that is ours now."""

import asyncio
import base64
import json
import time
from typing import Any

import jwt
import pytest
from jwt.algorithms import ECAlgorithm

from chassis.auth import (
    ACCESS,
    SERVICE,
    KeySet,
    Principal,
    ServiceIdentity,
    ServicePrincipal,
    TokenSigner,
    TokenVerifier,
    UnknownKey,
    generate_key,
    jwks,
)
from chassis.ids import new_id
from chassis.problems import TokenInvalid, Unavailable

KEY = generate_key("k1")
CLAIMS = {"iss": "haat", "aud": "haat", "sub": str(new_id()), "sid": str(new_id()), "role": "staff", "jti": "1"}


def verifier(keys: KeySet | None = None) -> TokenVerifier:
    return TokenVerifier(keys or KeySet(document=jwks([KEY])), issuer="haat", audience="haat")


def signed(claims: dict[str, Any] | None = None, key: dict[str, Any] = KEY, **header: Any) -> str:
    """A good token, but for what is given."""
    now = int(time.time())
    payload = {**CLAIMS, "iat": now, "exp": now + 60, **(claims or {})}
    private: Any = ECAlgorithm(ECAlgorithm.SHA256).from_jwk(key)
    headers = {"typ": ACCESS, "kid": "k1", **header}
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, private, algorithm="ES256", headers=headers)


def test_a_good_token_says_who_calls() -> None:
    principal = verifier().verify(signed())
    assert isinstance(principal, Principal)
    assert (str(principal.user_id), principal.is_staff, principal.is_admin) == (CLAIMS["sub"], True, False)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"aud": ["haat", "other"]},
        {"sub": "x"},
        {"sub": None},
        {"sid": None},
        {"jti": None},
        {"role": "root"},
        {"exp": 1},
        {"exp": None},
        {"exp": str(int(time.time()) + 60)},
        {"exp": time.time() + 60},
        {"iat": int(time.time()) + 600},
        {"nbf": int(time.time()) + 600},
    ],
)
def test_a_wrong_claim_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid):
        verifier().verify(signed(claims))


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": SERVICE}, {"kid": "k2"}, {"crit": ["x"]}])
def test_a_wrong_header_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid):
        verifier().verify(signed(**header))


def test_a_key_in_the_token_is_ignored() -> None:
    mine = generate_key("k1")
    with pytest.raises(TokenInvalid):
        verifier().verify(signed(key=mine, jwk={k: v for k, v in mine.items() if k != "d"}))


def _part(document: bytes) -> str:
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "..",
        "a.b.c",
        "ä.ä.ä",
        f"{_part(b'[]')}.{_part(b'{}')}.",
        f"{_part(json.dumps({'alg': 'none', 'typ': ACCESS, 'kid': 'k1'}).encode())}.{_part(b'{}')}.",
        f"{_part(json.dumps({'alg': 'HS256', 'typ': ACCESS, 'kid': 'k1'}).encode())}.{_part(b'{}')}.{_part(b'x')}",
        f"{_part(b'[' * 2900)}.e30.e30",
        "a" * 5000,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenInvalid):
        verifier().verify(token)


def test_a_known_token_expires_all_the_same() -> None:
    tokens, token = verifier(), signed()
    assert tokens.verify(token) is tokens.recall(token)
    assert tokens.recall(token, now=time.time() + 61) is None


@pytest.mark.parametrize("left", [generate_key("k2"), generate_key("k1")])
def test_a_known_token_is_refused_once_its_key_is_withdrawn(left: dict[str, Any]) -> None:
    """Whoever stole a key signs tokens that expire in years."""
    keys = KeySet(document=jwks([KEY]))
    tokens, stolen = verifier(keys), signed({"exp": int(time.time()) + 10**9})
    tokens.verify(stolen)

    keys.replace(jwks([KEY, generate_key("k3")]))
    assert tokens.recall(stolen), "one key more withdraws none"
    keys.replace(jwks([left]))
    with pytest.raises(TokenInvalid):
        tokens.verify(stolen)


def test_a_service_speaks_for_itself_only_and_to_one() -> None:
    key = generate_key("orders.1")
    keys = KeySet(document=jwks([key]))
    token = ServiceIdentity("orders", key, issuer="haat").token_for("catalog")
    at_catalog = TokenVerifier(keys, issuer="haat", audience="catalog", kind=SERVICE)
    assert at_catalog.verify(token) == ServicePrincipal("orders", at_catalog.verify(token).expires_at)
    with pytest.raises(TokenInvalid):
        TokenVerifier(keys, issuer="haat", audience="cart", kind=SERVICE).verify(token)
    with pytest.raises(TokenInvalid):
        verifier(keys).verify(token)
    stolen = TokenSigner(key, issuer="haat").sign(SERVICE, audience="catalog", subject="svc:payments", lifetime=60)
    with pytest.raises(TokenInvalid):
        at_catalog.verify(stolen)


class Accounts:
    """Where the keys come from."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = keys
        self.calls = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_down = False

    async def fetch(self) -> bytes:
        self.calls += 1
        await self.answers.wait()
        if self.is_down:
            raise OSError("down")
        return jwks(self.keys)


async def test_a_new_key_is_fetched_once_and_nobody_is_refused_meanwhile() -> None:
    new = generate_key("k2")
    accounts = Accounts(KEY, new)
    accounts.answers.clear()
    tokens = verifier(KeySet(fetch=accounts.fetch, document=jwks([KEY])))
    waiting = [
        asyncio.create_task(tokens.verify_with_newest_keys(signed({"jti": str(n)}, new, kid="k2"))) for n in range(20)
    ]
    await asyncio.sleep(0)
    waiting[0].cancel()
    accounts.answers.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert all(isinstance(principal, Principal) for principal in done[1:])
    assert accounts.calls == 1


async def test_a_source_that_stops_in_the_middle_of_its_answer_is_asked_again() -> None:
    new = generate_key("k2")
    accounts = Accounts(KEY, new)
    accounts.answers.clear()
    keys = KeySet(fetch=accounts.fetch, document=jwks([KEY]))
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            await keys.refresh()
    accounts.answers.set()
    await keys.refresh()
    assert isinstance(verifier(keys).verify(signed(key=new, kid="k2")), Principal)


async def test_forged_keys_cause_one_fetch() -> None:
    accounts = Accounts(KEY)
    tokens = verifier(KeySet(fetch=accounts.fetch, document=jwks([KEY])))
    for n in range(20):
        with pytest.raises(UnknownKey):
            await tokens.verify_with_newest_keys(signed(kid=f"forged{n}"))
    assert accounts.calls == 1
    assert isinstance(await tokens.verify_with_newest_keys(signed()), Principal)


async def test_keys_in_use_stay_while_their_source_is_down() -> None:
    accounts = Accounts()
    accounts.is_down = True
    tokens = verifier(KeySet(fetch=accounts.fetch, document=jwks([KEY])))
    with pytest.raises(UnknownKey):
        await tokens.verify_with_newest_keys(signed(kid="k2"))
    assert isinstance(await tokens.verify_with_newest_keys(signed()), Principal)


async def test_nobody_is_signed_out_before_the_first_keys_are_known() -> None:
    accounts = Accounts(KEY)
    accounts.is_down = True
    tokens = verifier(KeySet(fetch=accounts.fetch))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await tokens.verify_with_newest_keys(signed())
    assert accounts.calls == 1
