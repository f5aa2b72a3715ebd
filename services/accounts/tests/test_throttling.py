"""Guessing gets slower and slower, for known and unknown accounts alike, and nobody is locked out for good."""

import asyncio
from typing import Any

import pytest

from accounts.app import build
from accounts.settings import AccountsSettings
from chassis.testing import Harness, ServiceFactory

PASSWORD = "correct horse battery"


async def guess(accounts: Harness, email: str, password: str = "wrong horse battery", address: str = "") -> Any:
    headers = {"x-client-address": address} if address else {}
    return await accounts.client.post(
        "/api/v1/auth/login", json={"email": email, "password": password}, headers=headers
    )


async def let_time_pass(accounts: Harness, seconds: int) -> None:
    await accounts.execute(
        "UPDATE attempt_counters SET counted_at = counted_at - make_interval(secs => $1)", float(seconds)
    )


async def fail(accounts: Harness, email: str, times: int) -> list[int]:
    return [(await guess(accounts, email)).status_code for _ in range(times)]


async def test_after_five_failures_the_next_attempt_waits(accounts: Harness, asha: Any) -> None:
    assert await fail(accounts, asha.user["email"], 5) == [401] * 5

    refused = await guess(accounts, asha.user["email"], PASSWORD)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert 1 <= int(refused.headers["retry-after"]) <= 30


async def test_the_right_password_works_after_the_delay_and_starts_anew(accounts: Harness, asha: Any) -> None:
    await fail(accounts, asha.user["email"], 5)
    await let_time_pass(accounts, 30)

    assert (await guess(accounts, asha.user["email"], PASSWORD)).status_code == 200
    assert await fail(accounts, asha.user["email"], 5) == [401] * 5


async def test_each_further_failure_doubles_the_delay_up_to_five_minutes(accounts: Harness, asha: Any) -> None:
    await fail(accounts, asha.user["email"], 5)

    waits = []
    for _ in range(8):
        refused = await guess(accounts, asha.user["email"])
        waits.append(int(refused.headers["retry-after"]))
        await let_time_pass(accounts, waits[-1])
        assert (await guess(accounts, asha.user["email"])).status_code == 401

    assert waits[:3] == pytest.approx([30, 60, 120], abs=3)
    assert all(60 <= wait <= 300 for wait in waits[3:])
    await let_time_pass(accounts, 300)
    assert (await guess(accounts, asha.user["email"], PASSWORD)).status_code == 200


async def test_waiting_is_not_made_longer_by_knocking(accounts: Harness, asha: Any) -> None:
    await fail(accounts, asha.user["email"], 5)
    assert await fail(accounts, asha.user["email"], 20) == [429] * 20

    await let_time_pass(accounts, 30)
    assert (await guess(accounts, asha.user["email"], PASSWORD)).status_code == 200


async def test_failures_halve_with_time(accounts: Harness, asha: Any) -> None:
    await fail(accounts, asha.user["email"], 4)
    await let_time_pass(accounts, 1800)

    assert await fail(accounts, asha.user["email"], 4) == [401] * 4


async def test_an_unknown_account_is_slowed_down_alike(accounts: Harness, asha: Any) -> None:
    unknown = await fail(accounts, "nobody@example.com", 7)
    known = await fail(accounts, asha.user["email"].upper(), 7)

    assert unknown == known == [401] * 5 + [429] * 2
    rows = await accounts.fetch("SELECT attempt_counters::text AS row FROM attempt_counters")
    assert len(rows) == 2
    assert "example" not in str(rows)


async def test_another_spelling_of_the_email_is_no_further_attempt(accounts: Harness, register: Any) -> None:
    """PostgreSQL finds this account by a capital I with a dot too, which Python lowers to something else."""
    mira = await register("mira")
    assert await fail(accounts, mira.user["email"], 5) == [401] * 5

    refused = await guess(accounts, mira.user["email"].replace("i", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"))

    assert refused.status_code == 429


async def test_a_hundred_guesses_at_once_are_counted_one_by_one(accounts: Harness, asha: Any) -> None:
    answers = await asyncio.gather(*(guess(accounts, asha.user["email"]) for _ in range(100)))

    assert sorted({answer.status_code for answer in answers}) == [401, 429]
    assert sum(answer.status_code == 401 for answer in answers) <= 6


async def test_another_account_is_not_slowed_down(accounts: Harness, asha: Any, register: Any) -> None:
    ravi = await register("ravi")
    await fail(accounts, asha.user["email"], 6)

    assert (await guess(accounts, ravi.user["email"], PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (["203.0.113.7"], "203.0.113.8"),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::9"], "2001:db8:1::1"),
        (["203.0.113.7", "::ffff:203.0.113.7"], "203.0.113.8"),
    ],
)
async def test_one_address_trying_many_accounts_is_slowed_down(
    service_factory: ServiceFactory, secrets: dict[str, str], addresses: list[str], other: str
) -> None:
    async with service_factory(
        AccountsSettings, build, **secrets, first_delay=30, free_attempts_per_address=6
    ) as accounts:
        statuses = [
            (await guess(accounts, f"user{number}@example.com", address=addresses[number % len(addresses)])).status_code
            for number in range(8)
        ]

        assert statuses == [401] * 6 + [429] * 2
        assert (await guess(accounts, "user9@example.com", address=other)).status_code == 401
        assert (await guess(accounts, "user9@example.com")).status_code == 401
        assert (await guess(accounts, "user9@example.com", address="not an address")).status_code == 401


async def test_asking_who_is_registered_is_slowed_down_but_registering_is_not(
    service_factory: ServiceFactory, secrets: dict[str, str]
) -> None:
    async with service_factory(
        AccountsSettings, build, **secrets, first_delay=30, free_attempts_per_address=5
    ) as accounts:

        async def status(name: str) -> int:
            body = {"email": f"{name}@example.com", "password": PASSWORD, "full_name": "Somebody"}
            answer = await accounts.client.post(
                "/api/v1/auth/register", json=body, headers={"x-client-address": "203.0.113.7"}
            )
            return answer.status_code

        assert [await status(f"user{number}") for number in range(12)] == [201] * 12
        assert [await status("user1") for _ in range(5)] == [409] * 5
        assert await status("user2") == 429
        assert await status("newcomer") == 429
        await let_time_pass(accounts, 30)
        assert await status("newcomer") == 201


async def test_a_password_change_slows_down_guessing_too(accounts: Harness, asha: Any) -> None:
    body = {"current_password": "wrong horse battery", "new_password": "staple of my own"}

    statuses = [(await asha.call("POST", "/auth/password/change", json=body)).status_code for _ in range(6)]

    assert statuses == [401] * 5 + [429]
    assert (await guess(accounts, asha.user["email"], PASSWORD)).status_code == 200


async def test_counters_are_forgotten_after_a_day(accounts: Harness, asha: Any) -> None:
    await fail(accounts, asha.user["email"], 2)
    await accounts.run_job("forget-attempts")
    assert len(await accounts.fetch("SELECT 1 FROM attempt_counters")) == 1

    await let_time_pass(accounts, 90_000)
    await accounts.run_job("forget-attempts")
    assert await accounts.fetch("SELECT 1 FROM attempt_counters") == []
