"""Staying signed in across devices and lost answers, and signing out."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from chassis.strict import format_time
from chassis.testing import Harness


def session_of(person: Any) -> str:
    claims = jwt.decode(person.tokens["access_token"], options={"verify_signature": False})
    return str(claims["sid"])


async def revoked(accounts: Harness) -> set[str]:
    return {event.subject for event in await accounts.events("session.revoked.v1")}


async def test_a_refresh_token_is_traded_for_its_successor(accounts: Harness, asha: Any) -> None:
    first = await asha.refresh()
    second = await asha.refresh(first.json()["tokens"]["refresh_token"])

    assert first.status_code == second.status_code == 200
    assert first.headers["cache-control"] == "no-store"
    chain = [asha.tokens, first.json()["tokens"], second.json()["tokens"]]
    assert len({tokens["refresh_token"] for tokens in chain}) == 3
    asha.tokens = chain[-1]
    assert (await asha.call("GET", "/users/me")).status_code == 200
    assert session_of(asha) in {str(row["id"]) for row in await accounts.fetch("SELECT id FROM sessions")}


async def test_an_expired_access_token_beside_it_does_not_hinder_a_refresh(accounts: Harness, asha: Any) -> None:
    expired = accounts.keys.signer.access_token(
        audience="haat", user_id=uuid4(), session_id=uuid4(), role="customer", lifetime=-60
    )
    headers = {"authorization": f"Bearer {expired}"}
    body = {"refresh_token": asha.tokens["refresh_token"]}

    assert (await accounts.client.get("/api/v1/users/me", headers=headers)).status_code == 401
    assert (await accounts.client.post("/api/v1/auth/refresh", json=body, headers=headers)).status_code == 200


async def test_twenty_tabs_with_one_token_get_one_successor(accounts: Harness, asha: Any) -> None:
    answers = await asyncio.gather(*(asha.refresh() for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["tokens"]["refresh_token"] for answer in answers}) == 1
    (row,) = await accounts.fetch("SELECT count(*), count(spent_at) AS spent FROM refresh_tokens")
    assert (row["count"], row["spent"]) == (2, 1)


async def test_a_lost_answer_is_given_again_within_the_grace(accounts: Harness, asha: Any) -> None:
    lost = await asha.refresh()
    again = await asha.refresh()

    assert again.json()["tokens"]["refresh_token"] == lost.json()["tokens"]["refresh_token"]
    assert await revoked(accounts) == set()


async def test_a_token_spent_longer_ago_ends_the_whole_session(accounts: Harness, asha: Any) -> None:
    successor = (await asha.refresh()).json()["tokens"]["refresh_token"]
    await accounts.execute(
        "UPDATE refresh_tokens SET spent_at = spent_at - interval '11 seconds' WHERE spent_at IS NOT NULL"
    )

    stolen = await asha.refresh()

    assert (stolen.status_code, stolen.json()["code"]) == (401, "refresh_token_invalid")
    assert (await asha.refresh(successor)).status_code == 401
    assert await revoked(accounts) == {session_of(asha)}
    (row,) = await accounts.fetch("SELECT end_reason FROM sessions")
    assert row["end_reason"] == "refresh_token_reused"


async def test_reuse_ends_that_session_only(accounts: Harness, asha: Any) -> None:
    phone = await asha.sign_in_again()
    await asha.refresh()
    await accounts.execute(
        "UPDATE refresh_tokens SET spent_at = spent_at - interval '11 seconds' WHERE spent_at IS NOT NULL"
    )
    await asha.refresh()

    assert (await phone.refresh()).status_code == 200


@pytest.mark.parametrize("token", ["unknown", "x" * 200, "ünicode", "a b"])
async def test_an_unknown_refresh_token_is_401(accounts: Harness, token: str) -> None:
    answer = await accounts.client.post("/api/v1/auth/refresh", json={"refresh_token": token})

    assert (answer.status_code, answer.json()["code"]) == (401, "refresh_token_invalid")


@pytest.mark.parametrize("body", [{}, {"refresh_token": ""}, {"refresh_token": 1}, {"refresh_token": "x" * 201}])
async def test_a_refresh_without_a_token_is_422(accounts: Harness, body: dict[str, Any]) -> None:
    assert (await accounts.client.post("/api/v1/auth/refresh", json=body)).status_code == 422


@pytest.mark.parametrize(
    "passing",
    [
        "UPDATE sessions SET expires_at = clock_timestamp()",
        "UPDATE sessions SET last_used_at = clock_timestamp() - interval '15 days'",
        "UPDATE users SET is_active = false",
    ],
)
async def test_a_session_that_is_over_gives_no_tokens(accounts: Harness, asha: Any, passing: str) -> None:
    await accounts.execute(passing)

    assert (await asha.refresh()).status_code == 401
    assert (await asha.refresh()).status_code == 401


async def test_signing_out_ends_this_session_and_no_other(accounts: Harness, asha: Any) -> None:
    phone = await asha.sign_in_again()

    assert (await asha.call("POST", "/auth/logout")).status_code == 204
    assert (await asha.call("POST", "/auth/logout")).status_code == 204

    assert (await asha.refresh()).status_code == 401
    assert (await phone.refresh()).status_code == 200
    (event,) = await accounts.events("session.revoked.v1")
    (row,) = await accounts.fetch("SELECT id, user_id, ended_at FROM sessions WHERE ended_at IS NOT NULL")
    assert (event.subject, event.sequence) == (session_of(asha), 2)
    assert event.data["session_id"] == session_of(asha) == str(row["id"])
    assert event.data["user_id"] == asha.id
    assert event.data["revoked_at"] == format_time(row["ended_at"])
    last_token = jwt.decode(asha.tokens["access_token"], options={"verify_signature": False})
    assert event.data["expires_at"] >= last_token["exp"]


async def test_the_gateway_learns_which_sessions_to_refuse_and_for_how_long(accounts: Harness, asha: Any) -> None:
    phone = await asha.sign_in_again()
    await phone.call("POST", "/auth/logout")

    answer = await accounts.client.get("/internal/sessions/revoked", headers=accounts.as_service("gateway"))

    assert answer.status_code == 200
    (item,) = answer.json()["items"]
    assert item["session_id"] == session_of(phone)
    last_token = jwt.decode(phone.tokens["access_token"], options={"verify_signature": False})
    assert item["expires_at"] >= last_token["exp"]
    await accounts.execute("UPDATE sessions SET ended_at = ended_at - interval '1 hour'")
    answer = await accounts.client.get("/internal/sessions/revoked", headers=accounts.as_service("gateway"))
    assert answer.json()["items"] == []


async def test_signing_out_everywhere_ends_every_session(accounts: Harness, asha: Any) -> None:
    phone, tablet = await asha.sign_in_again(), await asha.sign_in_again()

    assert (await phone.call("POST", "/auth/logout-all")).status_code == 204

    for device in (asha, phone, tablet):
        assert (await device.refresh()).status_code == 401
    assert await revoked(accounts) == {session_of(device) for device in (asha, phone, tablet)}


async def test_devices_are_listed_newest_first_and_paged(accounts: Harness, asha: Any) -> None:
    phone, tablet = await asha.sign_in_again(), await asha.sign_in_again()

    first = (await tablet.call("GET", "/users/me/sessions", params={"limit": 2, "count": "true"})).json()
    rest = (await tablet.call("GET", "/users/me/sessions", params={"cursor": first["next_cursor"]})).json()

    assert (first["total"], first["total_is_capped"]) == (3, False)
    assert rest["next_cursor"] is None
    items = first["items"] + rest["items"]
    assert [item["id"] for item in items] == [session_of(device) for device in (tablet, phone, asha)]
    assert [item["is_current"] for item in items] == [True, False, False]
    assert items[0]["user_agent"].startswith("python-httpx")
    assert "total" not in rest


async def test_one_device_is_signed_out_from_another(accounts: Harness, asha: Any) -> None:
    phone = await asha.sign_in_again()

    assert (await asha.call("DELETE", f"/users/me/sessions/{session_of(phone)}")).status_code == 204

    assert (await phone.refresh()).status_code == 401
    assert (await asha.refresh()).status_code == 200
    listed = (await asha.call("GET", "/users/me/sessions")).json()["items"]
    assert [item["id"] for item in listed] == [session_of(asha)]
    again = await asha.call("DELETE", f"/users/me/sessions/{session_of(phone)}")
    assert (again.status_code, again.json()["code"]) == (404, "session_not_found")


async def test_somebody_elses_session_does_not_exist(accounts: Harness, asha: Any, register: Any) -> None:
    ravi = await register("ravi")

    for session_id in (session_of(ravi), str(uuid4())):
        assert (await asha.call("DELETE", f"/users/me/sessions/{session_id}")).status_code == 404
    assert (await ravi.refresh()).status_code == 200


async def test_changing_the_password_ends_every_other_session(accounts: Harness, asha: Any) -> None:
    phone = await asha.sign_in_again()

    change = {"current_password": "correct horse battery", "new_password": "staple of my own"}
    assert (await asha.call("POST", "/auth/password/change", json=change)).status_code == 204

    assert (await phone.refresh()).status_code == 401
    assert (await asha.refresh()).status_code == 200
    assert await revoked(accounts) == {session_of(phone)}
    old = {"email": asha.user["email"], "password": "correct horse battery"}
    assert (await accounts.client.post("/api/v1/auth/login", json=old)).status_code == 401
    await asha.sign_in_again("staple of my own")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"current_password": "wrong horse battery"}, 401, "credentials_invalid"),
        ({"new_password": "correct horse battery"}, 422, "password_weak"),
        ({"new_password": "password1"}, 422, "password_weak"),
        ({"new_password": "short"}, 422, "input_invalid"),
        ({"new_password": None}, 422, "input_invalid"),
    ],
)
async def test_a_password_change_is_refused(
    accounts: Harness, asha: Any, change: dict[str, Any], status: int, code: str
) -> None:
    body = {"current_password": "correct horse battery", "new_password": "staple of my own", **change}

    answer = await asha.call("POST", "/auth/password/change", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    await asha.sign_in_again()


async def test_an_ended_session_changes_no_password(accounts: Harness, asha: Any) -> None:
    await asha.call("POST", "/auth/logout")

    change = {"current_password": "correct horse battery", "new_password": "staple of my own"}
    answer = await asha.call("POST", "/auth/password/change", json=change)

    assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")


async def test_a_password_change_and_a_sign_in_with_the_old_one_at_once_leave_no_old_session(
    accounts: Harness, asha: Any
) -> None:
    change = {"current_password": "correct horse battery", "new_password": "staple of my own"}
    old = {"email": asha.user["email"], "password": "correct horse battery"}

    changed, *signed_in = await asyncio.gather(
        asha.call("POST", "/auth/password/change", json=change),
        *(accounts.client.post("/api/v1/auth/login", json=old) for _ in range(4)),
    )

    assert changed.status_code == 204
    alive = await accounts.fetch("SELECT id FROM sessions WHERE ended_at IS NULL")
    assert [row["id"] for row in alive] == [UUID(session_of(asha))]
    assert {answer.status_code for answer in signed_in} <= {200, 401}


async def test_sessions_and_their_tokens_are_forgotten_a_day_after_their_end(accounts: Harness, asha: Any) -> None:
    phone = await asha.sign_in_again()
    await phone.call("POST", "/auth/logout")
    await accounts.execute("UPDATE sessions SET ended_at = ended_at - interval '25 hours'")

    outcome = await accounts.run_job("forget-sessions")

    assert outcome.repaired == 1
    assert [row["id"] for row in await accounts.fetch("SELECT id FROM sessions")] == [UUID(session_of(asha))]
    assert len(await accounts.fetch("SELECT 1 FROM refresh_tokens")) == 1


async def test_no_password_or_token_reaches_the_logs(
    accounts: Harness, asha: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await asha.call("GET", "/users/me/addresses/not-a-uuid")
    await accounts.client.post("/api/v1/auth/login", json={"email": "a@b", "password": "secret of mine", "x": 1})
    refreshed = await asha.refresh()

    captured = capsys.readouterr()
    logged = captured.out + captured.err + caplog.text
    assert "/api/v1/auth/refresh" in logged
    tokens = [*asha.tokens.values(), *refreshed.json()["tokens"].values()]
    for secret in ["secret of mine", *(token for token in tokens if isinstance(token, str) and token != "Bearer")]:
        assert secret not in logged
    assert json.dumps(asha.user["email"]) not in logged
