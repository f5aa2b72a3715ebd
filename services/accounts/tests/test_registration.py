"""Opening an account: what is asked for, what is refused and how, and what the others are told."""

import asyncio
import hashlib
import time
from contextlib import suppress
from typing import Any

import pytest

from accounts.errors import PasswordWeak
from accounts.password_rules import refuse_weak
from accounts.registration import DemoUsersRefused, ensure_demo_users
from chassis.testing import Harness

NEWCOMER = {"email": "Asha@Example.COM", "password": "correct horse battery", "full_name": "Asha Verma"}
CART_TOKEN = "Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0Z2FycGx5"


async def post(accounts: Harness, body: Any, **options: Any) -> Any:
    return await accounts.client.post("/api/v1/auth/register", json=body, **options)


async def test_a_newcomer_is_signed_in_at_once(accounts: Harness) -> None:
    answer = await post(accounts, {**NEWCOMER, "phone": "+919876543210"})

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    user = body["user"]
    assert {**user, "id": "", "created_at": ""} == {
        "id": "",
        "email": "Asha@example.com",
        "full_name": "Asha Verma",
        "phone": "+919876543210",
        "role": "customer",
        "email_verified": False,
        "is_active": True,
        "created_at": "",
    }
    assert user["created_at"].endswith("Z")
    assert body["tokens"]["token_type"] == "Bearer"
    assert body["tokens"]["expires_in"] == 600
    me = await accounts.client.get(
        "/api/v1/users/me", headers={"authorization": f"Bearer {body['tokens']['access_token']}"}
    )
    assert me.json() == user


async def test_the_others_learn_of_it_with_the_hash_of_the_guest_cart(accounts: Harness) -> None:
    answer = await post(
        accounts, NEWCOMER, headers={"x-cart-token": CART_TOKEN, "cookie": "cart_token=other-token-0123456789"}
    )

    (event,) = await accounts.events()
    assert event.type == "user.registered.v1"
    assert event.subject == answer.json()["user"]["id"]
    assert event.sequence == 1
    assert event.data == {
        "user_id": answer.json()["user"]["id"],
        "guest_token_hash": hashlib.sha256(CART_TOKEN.encode()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"cookie": f"cart_token={CART_TOKEN}"}, CART_TOKEN),
        ({"x-cart-token": "x" * 5000}, None),
        ({"x-cart-token": "'; DROP TABLE carts"}, None),
        ({"x-cart-token": ""}, None),
        ({}, None),
    ],
)
async def test_a_guest_cart_comes_by_cookie_too_and_garbage_is_ignored(
    accounts: Harness, headers: dict[str, str], token: str | None
) -> None:
    assert (await post(accounts, NEWCOMER, headers=headers)).status_code == 201

    (event,) = await accounts.events("user.registered.v1")
    assert event.data["guest_token_hash"] == (token and hashlib.sha256(token.encode()).hexdigest())


async def test_an_email_is_taken_whatever_its_letter_case(accounts: Harness) -> None:
    await post(accounts, NEWCOMER)

    answer = await post(accounts, {**NEWCOMER, "email": "aSHA@example.com"})

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "email_taken"


async def test_two_registrations_of_one_email_at_once_make_one_account(accounts: Harness) -> None:
    answers = await asyncio.gather(*(post(accounts, NEWCOMER) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert [row["count"] for row in await accounts.fetch("SELECT count(*) FROM users")] == [1]
    assert len(await accounts.events("user.registered.v1")) == 1
    assert accounts.counted("haat_users_registered_total") == 1


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "no-at-sign"}, "/email"),
        ({"email": "a@localhost"}, "/email"),
        ({"email": "a" * 250 + "@example.com"}, "/email"),
        ({"email": 7}, "/email"),
        ({"email": None}, "/email"),
        ({"password": "seven77"}, "/password"),
        ({"password": "x" * 129}, "/password"),
        ({"password": 12345678}, "/password"),
        ({"full_name": "   "}, "/full_name"),
        ({"full_name": "a\nb"}, "/full_name"),
        ({"full_name": "x" * 101}, "/full_name"),
        ({"phone": "98765"}, "/phone"),
        ({"phone": "+0123456789"}, "/phone"),
        ({"role": "admin"}, "/role"),
        ({"is_active": True}, "/is_active"),
    ],
)
async def test_input_is_refused_with_its_place(accounts: Harness, change: dict[str, Any], pointer: str) -> None:
    answer = await post(accounts, {**NEWCOMER, **change})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert "correct horse" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        b'{"email": NaN}',
        b'{"email": "a@example.com", "email": "b@example.com"}',
        b'{"email": "\\ud800@example.com", "password": "correct horse battery", "full_name": "A"}',
        b'{"email": "a@example.com", "password": "correct horse\\u0000battery", "full_name": "A"}',
        b"\xff\xfe",
    ],
)
async def test_a_body_that_is_no_clean_json_is_422(accounts: Harness, body: bytes) -> None:
    answer = await accounts.client.post(
        "/api/v1/auth/register", content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_a_form_is_no_json_and_is_refused(accounts: Harness) -> None:
    answer = await accounts.client.post("/api/v1/auth/register", data=NEWCOMER)

    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("password", "codes"),
    [
        ("iloveyou", {"password_common"}),
        ("Password123!", {"password_common"}),
        ("84629175", {"password_all_digits"}),
        ("12345678", {"password_common", "password_all_digits"}),
        ("aaaaaaaaaa", {"password_repetitive"}),
        ("asha@example.com", {"password_like_email"}),
        ("ashaverma1", {"password_like_name"}),
        ("Example2026", {"password_like_email"}),
    ],
)
async def test_a_weak_password_is_refused_with_its_reasons(accounts: Harness, password: str, codes: set[str]) -> None:
    answer = await post(accounts, {**NEWCOMER, "password": password})

    assert answer.status_code == 422
    assert answer.json()["code"] == "password_weak"
    assert {error["code"] for error in answer.json()["errors"]} == codes
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/password"}
    assert password not in answer.text


def test_no_password_takes_long_to_be_judged() -> None:
    """While one is, nobody else is answered; a sign that stands for 18 letters makes 2304 of 128."""
    sign = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"
    seconds = []
    for _ in range(3):
        began = time.thread_time()
        with suppress(PasswordWeak):
            refuse_weak(sign * 128, email=f"{sign * 12}@example.com", full_name=sign * 13, pointer="/password")
        seconds.append(time.thread_time() - began)
    assert min(seconds) < 0.03


@pytest.mark.parametrize(
    "password", ["  leading spaces", "pässwörter für alle", "यह मेरा पासवर्ड है 🎉", "x" * 60 + "abcd"]
)
async def test_any_characters_make_a_password(accounts: Harness, password: str) -> None:
    assert (await post(accounts, {**NEWCOMER, "password": password})).status_code == 201

    login = {"email": NEWCOMER["email"], "password": password}
    assert (await accounts.client.post("/api/v1/auth/login", json=login)).status_code == 200
    login["password"] = password.strip() + "!"
    assert (await accounts.client.post("/api/v1/auth/login", json=login)).status_code == 401


async def test_neither_password_nor_token_is_stored(accounts: Harness) -> None:
    tokens = (await post(accounts, NEWCOMER)).json()["tokens"]

    rows = await accounts.fetch(
        "SELECT users::text AS row FROM users UNION ALL SELECT sessions::text FROM sessions"
        " UNION ALL SELECT refresh_tokens::text FROM refresh_tokens UNION ALL SELECT encode(body, 'escape') FROM outbox"
    )
    everything = "\n".join(row["row"] for row in rows)
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in everything
    for secret in (NEWCOMER["password"], tokens["refresh_token"], tokens["access_token"]):
        assert secret not in everything


async def test_demo_people_are_there_once_and_can_sign_in(accounts: Harness) -> None:
    await ensure_demo_users(accounts.database)
    await ensure_demo_users(accounts.database, env="demo")

    for role in ("customer", "staff", "admin"):
        login = {"email": f"{role}@haat.example", "password": "haat-demo-2026"}
        answer = await accounts.client.post("/api/v1/auth/login", json=login)
        assert answer.json()["user"]["role"] == role
    assert len({row["password_hash"] for row in await accounts.fetch("SELECT password_hash FROM users")}) == 3
    (address,) = await accounts.fetch("SELECT * FROM addresses")
    assert address["is_default_shipping"]
    assert address["is_default_billing"]


async def test_demo_people_are_not_made_in_production(accounts: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAAT_ENV", "production")

    with pytest.raises(DemoUsersRefused):
        await ensure_demo_users(accounts.database)
    assert await accounts.fetch("SELECT 1 FROM users") == []
