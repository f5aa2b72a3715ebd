"""The same key again is the same answer again, and one effect."""

import asyncio

import httpx
import pytest

from chassis.testing import Harness

ONCE = "/api/v1/things/once"
THINGS = "/api/v1/things"


async def once(toy: Harness, headers: dict[str, str], key: str, name: str = "a") -> httpx.Response:
    return await toy.client.post(ONCE, json={"name": name}, headers={**headers, "idempotency-key": key})


async def test_twenty_at_the_same_time_are_one(toy: Harness) -> None:
    headers = toy.as_user()
    answers = await asyncio.gather(*(once(toy, headers, "k") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == ["", *["true"] * 19]
    assert len(await toy.fetch("SELECT * FROM things")) == len(await toy.events()) == 1


async def test_a_replay_has_the_headers_that_matter_and_no_others(toy: Harness) -> None:
    headers = toy.as_user()
    first, again = await once(toy, headers, '"k"'), await once(toy, headers, "k")
    for name in ("location", "etag", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert "set-cookie" in first.headers
    assert "set-cookie" not in again.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


async def test_a_key_for_something_else_is_refused(toy: Harness) -> None:
    headers = toy.as_user()
    await once(toy, headers, "k")
    answer = await once(toy, headers, "k", name="b")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_keys_of_two_callers_and_two_routes_are_apart(toy: Harness) -> None:
    mine, yours = toy.as_user(), toy.as_user()
    answers = [await once(toy, mine, "k"), await once(toy, yours, "k")]
    answers.append(await toy.client.post(THINGS, json={"name": "a"}, headers={**mine, "idempotency-key": "k"}))
    assert len({answer.json()["id"] for answer in answers}) == 3


async def test_what_failed_may_be_tried_again_under_its_key(toy: Harness) -> None:
    headers = {**toy.as_user(), "idempotency-key": "k"}
    for _ in range(2):
        answer = await toy.client.post(THINGS, json={"name": "one too many"}, headers=headers)
        assert answer.status_code == 409
        assert "idempotency-replayed" not in answer.headers
    assert (await toy.client.post(THINGS, json={"name": "a"}, headers=headers)).status_code == 201


async def test_a_second_request_takes_over_when_the_first_is_cancelled(toy: Harness) -> None:
    headers = {**toy.as_user(), "idempotency-key": "k"}
    stage = toy.service.fastapi.state.stage

    async def slowly() -> httpx.Response:
        return await toy.client.post(f"{THINGS}/slowly", json={"name": "a"}, headers=headers)

    first = asyncio.create_task(slowly())
    await stage.reached.wait()
    second = asyncio.create_task(slowly())
    first.cancel()
    stage.go.set()
    assert (await second).status_code == 201
    assert len(await toy.fetch("SELECT * FROM things")) == 1


@pytest.mark.parametrize("key", ["", '""', "a b", "ä", "x" * 129])
async def test_a_key_that_is_none_is_refused(toy: Harness, key: str) -> None:
    headers = {**toy.as_user(), "idempotency-key": key.encode()}
    answer = await toy.client.post(ONCE, json={"name": "a"}, headers=headers)  # type: ignore[arg-type]  # httpx takes bytes values
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")


async def test_a_route_that_must_happen_once_asks_for_a_key(toy: Harness) -> None:
    answer = await toy.client.post(ONCE, json={"name": "a"}, headers=toy.as_user())
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")
