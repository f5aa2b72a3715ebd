"""Signing in: what a client gets, what the others learn, and that a stranger learns nothing."""

import asyncio
import hashlib
import statistics
import time
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from accounts.app import build
from accounts.settings import AccountsSettings
from chassis.testing import Harness, ServiceFactory

PASSWORD = "correct horse battery"
CART_TOKEN = "Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0Z2FycGx5"


async def log_in(accounts: Harness, email: str, password: str = PASSWORD, **headers: str) -> Any:
    return await accounts.client.post(
        "/api/v1/auth/login", json={"email": email, "password": password}, headers=headers
    )


async def test_a_customer_signs_in_whatever_the_letter_case_of_the_email(accounts: Harness, asha: Any) -> None:
    answer = await log_in(accounts, "ASHA@EXAMPLE.COM")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["user"] == asha.user


async def test_the_access_token_says_who_in_which_session_and_as_what(accounts: Harness, asha: Any) -> None:
    token = asha.tokens["access_token"]

    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    assert (header["alg"], header["typ"], header["kid"]) == ("ES256", "at+jwt", "test-1")
    assert set(claims) == {"iss", "aud", "sub", "sid", "role", "iat", "exp", "jti"}
    assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == (asha.id, "customer", 600)


async def test_the_others_learn_of_a_sign_in_with_the_hash_of_the_guest_cart(accounts: Harness, asha: Any) -> None:
    await log_in(accounts, asha.user["email"], **{"x-cart-token": CART_TOKEN})

    (event,) = await accounts.events("user.signed_in.v1")
    (session_id,) = [str(row["id"]) for row in await accounts.fetch("SELECT id FROM sessions ORDER BY id DESC LIMIT 1")]
    assert (event.subject, event.sequence) == (session_id, 1)
    assert event.data == {
        "user_id": asha.id,
        "session_id": session_id,
        "guest_token_hash": hashlib.sha256(CART_TOKEN.encode()).hexdigest(),
    }


async def test_a_wrong_password_and_an_unknown_email_read_the_same(accounts: Harness, asha: Any) -> None:
    wrong = await log_in(accounts, asha.user["email"], "wrong horse battery")
    unknown = await log_in(accounts, "nobody@example.com")

    assert wrong.status_code == unknown.status_code == 401
    assert "www-authenticate" in wrong.headers
    differing = {name for name in wrong.json() if wrong.json()[name] != unknown.json()[name]}
    assert differing == {"request_id"}
    assert wrong.json()["code"] == "credentials_invalid"


@pytest.mark.parametrize("body", [{}, {"email": "a@example.com"}, {"email": "a@example.com", "password": 1}])
async def test_incomplete_credentials_are_422(accounts: Harness, body: dict[str, Any]) -> None:
    assert (await accounts.client.post("/api/v1/auth/login", json=body)).status_code == 422


async def test_an_unknown_email_takes_as_long_as_a_wrong_password(
    service_factory: ServiceFactory, secrets: dict[str, str]
) -> None:
    async with service_factory(AccountsSettings, build, **secrets, free_attempts_per_account=1000) as accounts:
        body = {"email": "asha@example.com", "password": PASSWORD, "full_name": "Asha"}
        await accounts.client.post("/api/v1/auth/register", json=body)

        async def seconds(email: str) -> float:
            began = time.perf_counter()
            await log_in(accounts, email, "wrong horse battery")
            return time.perf_counter() - began

        known, unknown = [], []
        for number in range(15):
            known.append(await seconds("asha@example.com"))
            unknown.append(await seconds(f"nobody{number}@example.com"))
        # Without the dummy hash the unknown one would take a fifth of it.
        assert 0.6 < statistics.median(unknown) / statistics.median(known) < 1.6


async def test_a_deactivated_account_is_told_so_only_to_its_owner(accounts: Harness, asha: Any) -> None:
    await accounts.execute("UPDATE users SET is_active = false")

    assert (await log_in(accounts, asha.user["email"], "wrong horse battery")).status_code == 401
    answer = await log_in(accounts, asha.user["email"])
    assert (answer.status_code, answer.json()["code"]) == (403, "account_inactive")


async def test_a_hash_of_old_parameters_is_replaced_at_sign_in(accounts: Harness, asha: Any) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await accounts.execute("UPDATE users SET password_hash = $1", old)

    assert (await log_in(accounts, asha.user["email"])).status_code == 200

    (row,) = await accounts.fetch("SELECT password_hash FROM users")
    assert row["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await log_in(accounts, asha.user["email"])).status_code == 200


async def test_a_damaged_hash_lets_nobody_in(accounts: Harness, asha: Any) -> None:
    await accounts.execute("UPDATE users SET password_hash = 'no hash at all'")

    assert (await log_in(accounts, asha.user["email"])).status_code == 401


async def test_more_sign_ins_than_the_queue_holds_are_told_to_come_back_and_are_not_counted(
    service_factory: ServiceFactory, secrets: dict[str, str]
) -> None:
    async with service_factory(
        AccountsSettings, build, **secrets, hashing_threads=1, hashing_queue=1, free_attempts_per_account=1000
    ) as accounts:
        body = {"email": "asha@example.com", "password": PASSWORD, "full_name": "Asha"}
        await accounts.client.post("/api/v1/auth/register", json=body)

        wrong = [log_in(accounts, "asha@example.com", "wrong horse battery") for _ in range(8)]
        answers = await asyncio.gather(*wrong)

        busy = [answer for answer in answers if answer.status_code == 503]
        assert busy
        assert {answer.json()["code"] for answer in busy} == {"sign_in_busy"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in busy)
        (row,) = await accounts.fetch("SELECT round(failures)::int AS failures FROM attempt_counters")
        assert row["failures"] == len(answers) - len(busy)
        assert (await log_in(accounts, "asha@example.com")).status_code == 200
