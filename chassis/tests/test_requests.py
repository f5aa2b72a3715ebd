"""What a request meets on its way in, in which order, and how every refusal reads."""

import json
import sys
from typing import Any
from uuid import UUID

import httpx
import pytest
from toy.app import ToySettings, build

from chassis.ids import new_id
from chassis.pagination import encode_cursor
from chassis.telemetry import configure_logging
from chassis.testing import Harness, ServiceFactory

THINGS = "/api/v1/things"
SOME_ID = UUID("01a1f0c4-9d3e-7c11-8a55-0f2b6f9d4e21")
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document, after checking what every one of them promises."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    document: dict[str, Any] = response.json()
    assert document.keys() >= MEMBERS
    assert document["status"] == status
    assert document["type"] == f"/problems/{document['code']}"
    assert document["request_id"] == response.headers["x-request-id"]
    return document


async def post(toy: Harness, body: bytes, *, kind: str = "application/json", **headers: str) -> httpx.Response:
    return await toy.client.post(THINGS, content=body, headers={"content-type": kind, **toy.as_user(), **headers})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"null", ""),
        (b"[]", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b'{"name":"a","name":"b"}', ""),
        (b'{"name":NaN}', ""),
        (b'{"name":-Infinity}', ""),
        (b'{"name":1e999}', ""),
        (b'{"name":"a","quantity":' + b"9" * 5000 + b"}", ""),
        (b'{"name":"a\\u0000"}', ""),
        (b'{"name":"\\ud800"}', ""),
        (b'{"\\ud800":"a"}', ""),
        (b"[" * 50_000, ""),
        (b'{"name":' + b"[" * 30 + b"]" * 30 + b"}", ""),
        (b"{}", "/name"),
        (b'{"name":1}', "/name"),
        (b'{"name":"  "}', "/name"),
        (b'{"name":"a","quantity":"3"}', "/quantity"),
        (b'{"name":"a","quantity":3.0}', "/quantity"),
        (b'{"name":"a","quantity":true}', "/quantity"),
        (b'{"name":"a","quantity":0}', "/quantity"),
        (b'{"name":"a","quantity":100}', "/quantity"),
        (b'{"name":"a","a/b~c":1}', "/a~1b~0c"),
    ],
)
async def test_a_body_is_taken_literally(toy: Harness, body: bytes, pointer: str) -> None:
    document = refusal(await post(toy, body), 422)
    assert [error["pointer"] for error in document["errors"]] == [pointer]
    assert await toy.fetch("SELECT * FROM things") == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "must be an object"),
        (b"{}", "is required"),
        (b'{"name":"a","colour":"red"}', "is no field of this object"),
        (b'{"name":3}', "must be a valid string"),
        (b'{"name":""}', "must have at least 1 character"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_value_is_said_in_our_words(toy: Harness, body: bytes, message: str) -> None:
    assert [error["message"] for error in refusal(await post(toy, body), 422)["errors"]] == [message]


async def test_who_misspells_a_parameter_is_told_those_that_exist(toy: Harness) -> None:
    [error] = refusal(await toy.client.get(f"{THINGS}?limt=3"), 422)["errors"]
    assert error["message"].startswith("is no parameter of this route, which takes count, cursor, limit")
    [error] = refusal(await toy.client.get("/api/v1/whoami?x", headers=toy.as_user()), 422)["errors"]
    assert error["message"] == "is no parameter of this route, which takes none"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.toy+json"])
async def test_json_under_any_of_its_names_is_taken(toy: Harness, kind: str) -> None:
    assert (await post(toy, b'{"name":"a"}', kind=kind)).status_code == 201


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=3.0", "limit=%2B3", "limit=٣", "colour=red", "limt=3"]
)
async def test_a_query_is_taken_literally(toy: Harness, query: str) -> None:
    document = refusal(await toy.client.get(f"{THINGS}?{query}"), 422)
    assert [error["parameter"] for error in document["errors"]] == [query.partition("=")[0]]


async def test_of_thousands_of_mistakes_the_first_are_told(toy: Harness) -> None:
    members = b",".join(b'"%d":1' % number for number in range(6000))
    by_body = await post(toy, b"{" + members + b"}")
    assert len(refusal(by_body, 422)["errors"]) == 50
    query = "&".join(f"{number}=" for number in range(800))
    by_query = await toy.client.get(f"{THINGS}?{query}", headers=toy.as_user())
    assert len(refusal(by_query, 422)["errors"]) == 50


async def test_a_route_without_parameters_refuses_them_too(toy: Harness) -> None:
    document = refusal(await toy.client.get("/api/v1/whoami?debug=1&x", headers=toy.as_user()), 422)
    assert [error["parameter"] for error in document["errors"]] == ["debug", "x"]


@pytest.mark.parametrize("thing_id", ["x", "%00", "%ff", SOME_ID.hex, f"{{{SOME_ID}}}", "'%20or%201=1"])
async def test_what_is_no_id_is_refused_with_the_name_of_its_place(toy: Harness, thing_id: str) -> None:
    document = refusal(await toy.client.get(f"{THINGS}/{thing_id}"), 422)
    assert [error["parameter"] for error in document["errors"]] == ["thing_id"]


def _cursor(*values: Any) -> str:
    return encode_cursor("things", *values)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "ä", "AAAA", "%00", _cursor("text"), _cursor(2**70), _cursor(), encode_cursor("others", SOME_ID)],
)
async def test_a_cursor_of_another_list_is_refused(toy: Harness, cursor: str) -> None:
    assert refusal(await toy.client.get(THINGS, params={"cursor": cursor}), 400)["code"] == "cursor_invalid"


async def test_a_cursor_goes_on_where_the_page_ended(toy: Harness) -> None:
    made = [(await post(toy, b'{"name":"a"}')).json()["id"] for _ in range(3)]
    rest = await toy.client.get(THINGS, params={"cursor": _cursor(UUID(made[0]))})
    assert [thing["id"] for thing in rest.json()] == made[1:]


async def test_refusals_come_in_their_order(toy: Harness) -> None:
    """Who calls, then the format, then the size, then the content."""
    bad = b"{" + b" " * 70_000
    plain = {"content-type": "text/plain"}
    answer = await toy.client.post("/api/v1/mistake", content=bad, headers=plain)
    assert refusal(answer, 401)["code"] == "token_missing"
    answer = await toy.client.post("/api/v1/mistake", content=bad, headers={**plain, **toy.as_user()})
    assert refusal(answer, 403)["code"] == "role_required"
    assert refusal(await post(toy, bad, kind="text/plain"), 415)["code"] == "unsupported_media_type"
    assert refusal(await post(toy, bad), 413)["code"] == "body_too_large"
    assert refusal(await post(toy, b"{"), 422)["code"] == "input_invalid"


async def test_every_refusal_of_a_stranger_says_how_to_sign_in(toy: Harness) -> None:
    for token in ("", "Basic YTpi", "Bearer", "Bearer x", "Bearer " + "a." * 3000):
        answer = await toy.client.get("/api/v1/whoami", headers={"authorization": token} if token else {})
        refusal(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_route_between_services_takes_only_the_services_it_names(toy: Harness) -> None:
    assert (await toy.client.get("/internal/count", headers=toy.as_service("orders"))).json() == 0
    refusal(await toy.client.get("/internal/count"), 401)
    refusal(await toy.client.get("/internal/count", headers=toy.as_user("admin")), 401)
    refusal(await toy.client.get("/internal/count", headers=toy.as_service("cart")), 403)


async def test_a_webhook_reaches_its_handler_unread(toy: Harness) -> None:
    assert (await toy.client.post("/hooks/provider?a=b", content=b"\xff\x00")).json() == {"bytes": 2}


async def test_unknown_paths_and_methods(toy: Harness) -> None:
    assert refusal(await toy.client.get("/api/v1/nothing"), 404)["code"] == "route_not_found"
    refusal(await toy.client.get(THINGS + "/"), 404)
    for method in ("OPTIONS", "HEAD", "DELETE"):
        answer = await toy.client.request(method, THINGS)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, POST"


async def test_a_mistake_is_a_500_that_tells_the_client_nothing(
    service_factory: ServiceFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(stream=sys.stderr)
    try:
        async with service_factory(ToySettings, build) as toy:
            headers = {**toy.as_user("admin"), "x-request-id": "q-1"}
            answer = await toy.client.post("/api/v1/mistake", json={"name": "hunter2"}, headers=headers)
    finally:
        configure_logging(stream=sys.__stderr__)
    assert refusal(answer, 500)["code"] == "internal_error"
    assert "hunter2" not in answer.text
    logged = capsys.readouterr().err
    assert "hunter2" not in logged, "neither the parameters nor the row belong into a log"
    assert headers["authorization"].removeprefix("Bearer ") not in logged
    lines = [json.loads(line) for line in logged.splitlines()]
    (traced,) = [line for line in lines if "exception" in line]
    assert (traced["level"], traced["request_id"]) == ("error", "q-1")
    assert "CheckViolation" in traced["exception"]
    (access,) = [line for line in lines if line["event"] == "request"]
    assert (access["status"], access["route"], access["service"]) == (500, "/api/v1/mistake", "toy")


async def test_the_log_tells_which_thing_a_request_was_about_and_nothing_else_of_its_path(
    service_factory: ServiceFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever follows one order by its id finds every request that named it."""
    configure_logging(stream=sys.stderr)
    nowhere, thing = "hunter2@example.com", new_id()
    try:
        async with service_factory(ToySettings, build) as toy:
            for named in (thing, nowhere):
                await toy.client.get(f"{THINGS}/{named}", headers=toy.as_user())
    finally:
        configure_logging(stream=sys.__stderr__)
    logged = map(json.loads, capsys.readouterr().err.splitlines())
    lines = [line for line in logged if line["event"] == "request"]
    assert [line.get("ids") for line in lines] == [[str(thing)], None]
    assert "hunter2" not in str(lines)


@pytest.mark.parametrize("sent", ["", "a b", "ä", "x" * 65])
async def test_an_id_that_does_not_fit_is_replaced(toy: Harness, sent: str) -> None:
    answer = await toy.client.get(THINGS, headers={b"x-request-id": sent.encode()})
    assert answer.headers["x-request-id"] not in ("", sent)


async def test_requests_are_counted_by_route_and_never_by_path(toy: Harness) -> None:
    for _ in range(3):
        await toy.client.get(f"{THINGS}/{new_id()}")
        await toy.client.get(f"/nothing/{new_id()}")
    text = toy.service.metrics.exposition().decode()
    assert 'haat_http_requests_total{method="GET",route="/api/v1/things/{thing_id}",status="404"} 3.0' in text
    assert 'haat_http_requests_total{method="GET",route="unmatched",status="404"} 3.0' in text


async def test_a_tag_saves_the_second_transfer(toy: Harness) -> None:
    made = (await post(toy, b'{"name":"a","quantity":7}')).json()
    first = await toy.client.get(f"{THINGS}/{made['id']}")
    assert first.json() == made
    again = await toy.client.get(f"{THINGS}/{made['id']}", headers={"if-none-match": f'"0", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


async def test_documents_tell_about_refusals_and_events(toy: Harness) -> None:
    document = (await toy.client.get("/openapi.json")).json()
    operation = document["paths"][THINGS]["post"]
    assert operation["x-access"] == "user"
    assert "422" not in operation["responses"]
    assert "application/problem+json" in operation["responses"]["default"]["content"]
    codes = {row["code"] for row in document["x-problems"]}
    assert {"thing_not_found", "no_more_things", "busy", "unavailable"} <= codes
    events = (await toy.client.get("/internal/asyncapi.json")).json()
    assert list(events["channels"]) == ["thing.made.v1"]


async def test_the_document_names_the_idempotency_key_where_one_is_looked_at(toy: Harness) -> None:
    paths = (await toy.client.get("/openapi.json")).json()["paths"]
    named = {
        (method, path): [row["required"] for row in operation.get("parameters", ()) if row["name"] == "Idempotency-Key"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    declared = {
        (method, path): operation["x-idempotency"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    assert {rule for (method, _), rule in declared.items() if method == "post"} >= {"optional", "none"}
    for route, rule in declared.items():
        keyed = route[0] == "post" and rule != "none" and not route[1].startswith("/internal/")
        assert named[route] == ([rule == "required"] if keyed else []), route
