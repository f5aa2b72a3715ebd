"""Who may call what: public routes as nobody, as a customer, as staff; internal ones as the wrong service."""

from typing import Any
from uuid import uuid4

import pytest

from chassis.testing import Harness

ID = str(uuid4())
OPEN = {
    ("post", "/api/v1/auth/register"),
    ("post", "/api/v1/auth/login"),
    ("post", "/api/v1/auth/refresh"),
    ("get", "/.well-known/jwks.json"),
}


def routes(accounts: Harness) -> list[tuple[str, str, str]]:
    """Method, path and declared rule of every operation."""
    paths: dict[str, dict[str, Any]] = accounts.service.fastapi.openapi()["paths"]
    return [
        (method, path, operation["x-access"])
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]


def filled(path: str) -> str:
    for name in ("user_id", "session_id", "address_id"):
        path = path.replace(f"{{{name}}}", ID)
    return path


async def test_only_signing_in_and_the_keys_are_open_to_everybody(accounts: Harness) -> None:
    assert {(method, path) for method, path, rule in routes(accounts) if rule == "all"} == OPEN


async def test_nobody_gets_past_a_declared_rule(accounts: Harness) -> None:
    for method, path, rule in routes(accounts):
        if rule != "all":
            answer = await accounts.client.request(method, filled(path))
            assert (path, answer.status_code, answer.json()["code"]) == (path, 401, "token_missing")
            assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("role", ["customer", "staff"])
async def test_users_are_managed_by_administrators_only(accounts: Harness, role: str) -> None:
    managed = [(method, path) for method, path, rule in routes(accounts) if rule == "admin"]

    assert len(managed) == 3
    for method, path in managed:
        answer = await accounts.client.request(method, filled(path), headers=accounts.as_user(role))
        assert (answer.status_code, answer.json()["code"]) == (403, "role_required")


async def test_internal_routes_are_for_the_named_services_only(accounts: Harness) -> None:
    internal = {(method, path) for method, path, _ in routes(accounts) if path.startswith("/internal")}
    declared = {(method, path) for method, path, rule in routes(accounts) if rule == "service"}

    assert internal == declared
    for method, path in declared:
        for headers in (accounts.as_service("catalog"), accounts.as_user("admin")):
            answer = await accounts.client.request(method, filled(path), headers=headers)
            assert answer.status_code in (401, 403)


async def test_a_token_of_a_user_who_is_gone_finds_nobody(accounts: Harness) -> None:
    for path in ("/api/v1/users/me", f"/api/v1/users/me/addresses/{ID}"):
        answer = await accounts.client.get(path, headers=accounts.as_user())
        assert answer.status_code == 404


async def test_everything_personal_is_kept_out_of_caches(accounts: Harness, asha: Any) -> None:
    answers = [
        await asha.call("GET", "/users/me"),
        await asha.call("GET", "/users/me/addresses"),
        await asha.call("PATCH", "/users/me", json={}),
        await asha.call("GET", f"/users/me/addresses/{ID}"),
        await asha.call("POST", "/auth/logout"),
    ]

    assert [answer.headers.get("cache-control") for answer in answers] == ["no-store"] * len(answers)


async def test_an_idempotency_key_does_not_keep_tokens(accounts: Harness, asha: Any) -> None:
    headers = {"idempotency-key": "again", "authorization": f"Bearer {asha.tokens['access_token']}"}
    body = {"email": asha.user["email"], "password": "correct horse battery"}

    first = await accounts.client.post("/api/v1/auth/login", json=body, headers=headers)
    again = await accounts.client.post("/api/v1/auth/login", json=body, headers=headers)

    assert first.json()["tokens"] != again.json()["tokens"]
    assert await accounts.fetch("SELECT 1 FROM idempotency_keys") == []
