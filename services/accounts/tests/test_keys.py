"""The keys that sign: two may live at once, bad ones stop the start, and no private part is ever published."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from accounts.app import RefreshKeyTooShort, build
from accounts.keys import SigningKeysInvalid, generate_signing_key
from accounts.settings import AccountsSettings
from chassis.auth import Principal
from chassis.testing import Harness, ServiceFactory

REFRESH_KEY = "a secret for tests that is long enough"
NEWCOMER = {"email": "asha@example.com", "password": "correct horse battery", "full_name": "Asha"}


async def test_the_public_keys_verify_what_was_signed(accounts: Harness, asha: Any) -> None:
    answer = await accounts.client.get("/.well-known/jwks.json")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    keys = {key["kid"]: key for key in answer.json()["keys"]}
    assert len(keys) == 2
    for key in keys.values():
        assert {"kty", "crv", "x", "y", "kid"} <= set(key)
        assert "d" not in key
    kid = jwt.get_unverified_header(asha.tokens["access_token"])["kid"]
    public = jwt.PyJWK(keys[kid])
    claims = jwt.decode(asha.tokens["access_token"], public, algorithms=["ES256"], audience="haat", issuer="haat")
    assert claims["sub"] == asha.id


async def test_rotating_keys_signs_nobody_out(service_factory: ServiceFactory) -> None:
    old, new = generate_signing_key(), generate_signing_key()

    def with_keys(*keys: dict[str, Any]) -> dict[str, str]:
        return {"signing_keys": json.dumps({"keys": keys}), "refresh_key": REFRESH_KEY}

    async with service_factory(AccountsSettings, build, **with_keys(old)) as accounts:
        answer = await accounts.client.post("/api/v1/auth/register", json=NEWCOMER)
        token, url = answer.json()["tokens"]["access_token"], accounts.database.url
    # The kit empties the database between starts; this one is to find what the first left.
    settings = {"database_url": url, "role": "web", **with_keys(new, old)}
    service = build(AccountsSettings.model_validate(settings), accounts.service.bus, {})
    await service.start()
    try:
        assert isinstance(service.tokens.verify(token), Principal)
        assert {key["kid"] for key in json.loads(service.fastapi.state.keys.public_jwks)["keys"]} == {
            old["kid"],
            new["kid"],
        }
        assert service.fastapi.state.keys.signer.kid == new["kid"]
    finally:
        await service.stop()


def bad_key_sets() -> dict[str, str]:
    good = generate_signing_key()
    rsa_key = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    public = {name: value for name, value in good.items() if name != "d"}
    sets: dict[str, Any] = {
        "empty": {"keys": []},
        "rsa": {"keys": [{**rsa_key, "kid": "rsa"}]},
        "public only": {"keys": [public]},
        "no kid": {"keys": [{**good, "kid": ""}]},
        "one kid twice": {"keys": [good, {**generate_signing_key(), "kid": good["kid"]}]},
        "damaged": {"keys": [{**good, "x": "AAAA"}]},
        "no set": good,
    }
    return {name: json.dumps(value) for name, value in sets.items()} | {"nothing": "", "no json": "{"}


@pytest.mark.parametrize("name", sorted(bad_key_sets()))
async def test_bad_keys_stop_the_start_and_are_not_quoted(service_factory: ServiceFactory, name: str) -> None:
    document = bad_key_sets()[name]

    with pytest.raises(SigningKeysInvalid) as refused:
        async with service_factory(AccountsSettings, build, signing_keys=document, refresh_key=REFRESH_KEY):
            pass
    assert "ACCOUNTS_SIGNING_KEYS" in str(refused.value)
    assert '"d"' not in str(refused.value)


async def test_a_short_refresh_key_stops_the_start(service_factory: ServiceFactory) -> None:
    keys = json.dumps({"keys": [generate_signing_key()]})

    with pytest.raises(RefreshKeyTooShort):
        async with service_factory(AccountsSettings, build, signing_keys=keys, refresh_key="short"):
            pass
