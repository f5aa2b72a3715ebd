"""What people change of themselves, and what administrators change of everybody."""

import asyncio
from typing import Any
from uuid import uuid4

import jwt
import pytest

from chassis.testing import Harness


async def test_a_profile_is_changed_field_by_field(accounts: Harness, asha: Any) -> None:
    changed = await asha.call("PATCH", "/users/me", json={"phone": "+14155550123"})
    assert changed.json() == {**asha.user, "phone": "+14155550123"}

    changed = await asha.call("PATCH", "/users/me", json={"full_name": "  Asha V. "})
    assert changed.json() == {**asha.user, "phone": "+14155550123", "full_name": "Asha V."}

    changed = await asha.call("PATCH", "/users/me", json={"phone": None})
    assert changed.json() == {**asha.user, "full_name": "Asha V."}

    unchanged = await asha.call("PATCH", "/users/me", json={})
    assert unchanged.json() == (await asha.call("GET", "/users/me")).json() == changed.json()


@pytest.mark.parametrize(
    "change", [{"full_name": None}, {"full_name": ""}, {"email": "b@example.com"}, {"role": "admin"}, {"phone": "1"}]
)
async def test_a_profile_change_is_refused(accounts: Harness, asha: Any, change: dict[str, Any]) -> None:
    assert (await asha.call("PATCH", "/users/me", json=change)).status_code == 422
    assert (await asha.call("GET", "/users/me")).json() == asha.user


async def test_administrators_find_users(accounts: Harness, register: Any) -> None:
    meera = await register("meera", role="admin")
    asha, ravi = await register("asha"), await register("ravi", role="staff")

    async def found(**query: Any) -> list[str]:
        answer = await meera.call("GET", "/users", params=query)
        assert answer.status_code == 200, answer.text
        return [user["full_name"] for user in answer.json()["items"]]

    assert await found() == ["Ravi", "Asha", "Meera"]
    assert await found(search="ASHA@") == ["Asha"]
    assert await found(search="rav") == ["Ravi"]
    assert await found(search="%") == []
    assert await found(role="staff") == ["Ravi"]
    assert await found(is_active="false") == []
    assert (await meera.call("GET", f"/users/{asha.id}")).json() == asha.user
    missing = await meera.call("GET", f"/users/{uuid4()}")
    assert (missing.status_code, missing.json()["code"]) == (404, "user_not_found")
    assert ravi.user["role"] == "staff"


async def test_users_are_paged_by_a_cursor_that_belongs_to_its_list(accounts: Harness, register: Any) -> None:
    meera = await register("meera", role="admin")
    for number in range(4):
        await register(f"user{number}")

    names, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {"count": "true"})}
        page = (await meera.call("GET", "/users", params=query)).json()
        names += [user["full_name"] for user in page["items"]]
        if cursor is None:
            assert (page["total"], page["total_is_capped"]) == (5, False)
            foreign = await meera.call("GET", "/users", params={"cursor": page["next_cursor"], "role": "admin"})
            assert (foreign.status_code, foreign.json()["code"]) == (400, "cursor_invalid")
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert names == ["User3", "User2", "User1", "User0", "Meera"]


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 101}, {"limit": "ten"}, {"role": "king"}, {"is_active": "yes"}, {"unknown": "1"}],
)
async def test_a_query_is_refused_with_its_parameter(accounts: Harness, register: Any, query: dict[str, Any]) -> None:
    meera = await register("meera", role="admin")

    answer = await meera.call("GET", "/users", params=query)

    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == list(query)


async def test_a_new_role_ends_every_session_and_counts_from_the_next_sign_in(accounts: Harness, register: Any) -> None:
    meera, asha = await register("meera", role="admin"), await register("asha")

    changed = await meera.call("PATCH", f"/users/{asha.id}", json={"role": "staff"})

    assert changed.json() == {**asha.user, "role": "staff"}
    assert (await asha.refresh()).status_code == 401
    (event,) = await accounts.events("session.revoked.v1")
    assert event.data["user_id"] == asha.id
    promoted = await asha.sign_in_again()
    claims = jwt.decode(promoted.tokens["access_token"], options={"verify_signature": False})
    assert claims["role"] == "staff"


async def test_the_same_role_again_ends_nothing(accounts: Harness, register: Any) -> None:
    meera, asha = await register("meera", role="admin"), await register("asha")

    await meera.call("PATCH", f"/users/{asha.id}", json={"role": "customer", "is_active": True})

    assert (await asha.refresh()).status_code == 200


async def test_a_deactivated_user_is_out_until_activated(accounts: Harness, register: Any) -> None:
    meera, asha = await register("meera", role="admin"), await register("asha")

    await meera.call("PATCH", f"/users/{asha.id}", json={"is_active": False})
    assert (await asha.refresh()).status_code == 401
    assert len(await accounts.events("session.revoked.v1")) == 1

    await meera.call("PATCH", f"/users/{asha.id}", json={"is_active": True})
    await asha.sign_in_again()


@pytest.mark.parametrize("change", [{"role": "customer"}, {"is_active": False}])
async def test_administrators_do_not_disarm_themselves(
    accounts: Harness, register: Any, change: dict[str, Any]
) -> None:
    meera = await register("meera", role="admin")

    answer = await meera.call("PATCH", f"/users/{meera.id}", json=change)

    assert (answer.status_code, answer.json()["code"]) == (409, "own_account_protected")


async def test_two_administrators_who_demote_each_other_leave_one(accounts: Harness, register: Any) -> None:
    meera, arjun = await register("meera", role="admin"), await register("arjun", role="admin")

    answers = await asyncio.gather(
        meera.call("PATCH", f"/users/{arjun.id}", json={"role": "customer"}),
        arjun.call("PATCH", f"/users/{meera.id}", json={"role": "customer"}),
    )

    assert sorted(answer.status_code for answer in answers) == [200, 403]
    assert len(await accounts.fetch("SELECT 1 FROM users WHERE role = 'admin'")) == 1


@pytest.mark.parametrize(
    "change", [{"role": "king"}, {"role": None}, {"is_active": "true"}, {"email": "x@example.com"}]
)
async def test_a_change_of_a_user_is_refused(accounts: Harness, register: Any, change: dict[str, Any]) -> None:
    meera, asha = await register("meera", role="admin"), await register("asha")

    assert (await meera.call("PATCH", f"/users/{asha.id}", json=change)).status_code == 422
    assert (await meera.call("GET", f"/users/{asha.id}")).json() == asha.user
