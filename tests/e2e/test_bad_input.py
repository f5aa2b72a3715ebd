"""Whatever is sent, the answer is a refusal that a client can read: never 5xx, and nothing is stored."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from tests.api_operations import WRITES, Operation, operations
from tests.books import opened_books
from tests.contracts.published import parts
from tests.shop import Shop
from tests.shopper import Shopper

WITH_BODY = [
    operation
    for part in parts().values()
    for operation in operations(part.openapi)
    if operation.method in WRITES and operation.body_schema is not None and not operation.path.startswith("/internal/")
]
LISTS = [
    operation
    for part in parts().values()
    for operation in operations(part.openapi)
    if operation.method == "get" and not operation.path.startswith("/internal/") and not operation.parameters
]

JSON = {"content-type": "application/json"}

NOT_JSON: dict[str, bytes] = {
    "cut off": b'{"quantity": 1',
    "NaN": b'{"quantity": NaN}',
    "Infinity": b'{"quantity": -Infinity}',
    "beyond a double": b'{"quantity": 1e400}',
    "five thousand digits": b'{"quantity": ' + b"9" * 5000 + b"}",
    "the same key twice": b'{"quantity": 1, "quantity": 2}',
    "NUL": b'{"reason": "a\\u0000b"}',
    "half a surrogate pair": b'{"reason": "\\ud800"}',
    "bad UTF-8": b'{"reason": "\xff\xfe"}',
    "deep nesting": b'{"a": ' * 60 + b"1" + b"}" * 60,
    "very deep nesting": b"[" * 20_000,
    "trailing words": b'{"quantity": 1} and more',
    "single quotes": b"{'quantity': 1}",
    "a byte order mark of another encoding": '{"quantity": 1}'.encode("utf-16"),
}
NOT_AN_OBJECT: dict[str, bytes] = {"list": b"[]", "text": b'"text"', "number": b"7", "true": b"true"}

VALUES: list[Any] = [
    0, -1, 2**31, 2**63, 10**18, 1.5, -0.0, "1", "", " ", True, None, [], {}, [1], {"amount": "1"},
    "x" * 20_000, "'; DROP TABLE orders; --", "\u202e\u0007", "NaN", "1e3",
]  # fmt: skip


STORES = {
    "accounts": ("users", "addresses"),
    "catalog": ("categories", "products", "variants", "stock_levels", "stock_movements", "reservations"),
    "cart": ("carts", "cart_items", "cart_orders"),
    "orders": ("orders", "order_items"),
    "payments": ("payments", "attempts", "refunds", "webhook_events"),
}
"""Where a body that was taken would be seen."""


async def stored(shop: Shop) -> dict[str, int]:
    """How many rows there are of everything that a request can make."""
    assert shop.process is not None
    async with opened_books(shop.process.database_urls(), ledger=shop.ledger) as books:
        return {
            table: await books.value(database, f"SELECT count(*) FROM {table}")
            for database, tables in STORES.items()
            for table in tables
        }


@pytest.fixture(scope="module")
async def everybody(own_shop: Shop) -> AsyncIterator[dict[str, Shopper]]:
    """Somebody whom each kind of route lets in. When all is said, nothing has been stored."""
    customer = await own_shop.customer()
    before = await stored(own_shop)
    yield {
        "all": own_shop.visitor(),
        "user": customer,
        "staff": await own_shop.staff("staff"),
        "admin": await own_shop.staff("admin"),
    }
    assert await stored(own_shop) == before


async def status_of(shopper: Shopper, operation: Operation, content: bytes, headers: dict[str, str] = JSON) -> int:
    """What one body is answered with. Fails when the refusal is none that a client could read."""
    sent = {**headers, "idempotency-key": uuid4().hex}
    answer = await shopper.send(operation.method.upper(), operation.filled(), content=content, headers=sent)
    assert answer.status_code < 500, f"{operation} answered {answer.status_code} to {content[:200]!r}"
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= set(problem)
        assert all("pointer" in error or "parameter" in error for error in problem.get("errors", []))
    return answer.status_code


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
async def test_what_is_not_json_is_refused(everybody: dict[str, Shopper], operation: Operation) -> None:
    shopper = everybody[str(operation.rule)]
    for what, content in NOT_JSON.items():
        assert await status_of(shopper, operation, content) == 422, what
    for what, content in NOT_AN_OBJECT.items():
        assert await status_of(shopper, operation, content) == 422, what


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
async def test_another_media_type_and_a_huge_body_are_refused(
    everybody: dict[str, Shopper], operation: Operation
) -> None:
    shopper = everybody[str(operation.rule)]
    content = json.dumps(operation.body()).encode()
    assert await status_of(shopper, operation, content, {"content-type": "text/plain"}) == 415
    assert await status_of(shopper, operation, content, {"content-type": "application/x-www-form-urlencoded"}) == 415
    huge = b'{"note": "' + b"x" * 300_000 + b'"}'
    assert await status_of(shopper, operation, huge) == 413


def spoilt(body: Any) -> Iterator[Any]:
    """The body with each of its values, however deep, replaced by each wrong one; and with one field too many."""
    if isinstance(body, dict):
        yield {**body, "a_field_nobody_knows": 1}
        for name in body:
            yield {other: value for other, value in body.items() if other != name}
            for value in VALUES:
                yield {**body, name: value}
            for inner in spoilt(body[name]):
                yield {**body, name: inner}
    elif isinstance(body, list):
        for number, item in enumerate(body):
            for inner in spoilt(item):
                yield [*body[:number], inner, *body[number + 1 :]]


@pytest.mark.parametrize("operation", WITH_BODY, ids=str)
async def test_values_of_a_wrong_kind_are_refused(everybody: dict[str, Shopper], operation: Operation) -> None:
    """Where the published schema says no, so does the route, before it looks at anything else."""
    assert operation.body_schema is not None
    shopper = everybody[str(operation.rule)]
    schema = {**operation.body_schema, "components": operation.document["components"]}
    validator = Draft202012Validator(schema)
    validator.validate(operation.body())
    wrong = [body for body in spoilt(operation.body()) if not validator.is_valid(body)]
    assert wrong
    for body in wrong:
        assert await status_of(shopper, operation, json.dumps(body).encode()) == 422, f"It took {str(body)[:200]}"


@pytest.mark.parametrize("operation", LISTS, ids=str)
async def test_query_parameters_are_as_strict(everybody: dict[str, Shopper], operation: Operation) -> None:
    shopper = everybody[str(operation.rule)]
    named = [item["name"] for item in operation.declared.get("parameters", []) if item["in"] == "query"]
    refused = [{"nobody_knows_this": "1"}]
    if "limit" in named:
        refused += [{"limit": value} for value in ("0", "101", "-1", "1.5", "ten", "", "\uff19", "1e1", str(2**63))]
    for name in named:
        for value in ("\x00", "x" * 3000, "%", "'", "\ufffe", "-1", str(10**30), "null", "NaN"):
            answer = await shopper.send("GET", operation.path, params={name: value})
            assert answer.status_code < 500, f"{operation} {name}={value[:50]!r}: {answer.text}"
    for parameters in refused:
        answer = await shopper.send("GET", operation.path, params=parameters)
        assert answer.status_code == 422, f"{operation} {parameters}: {answer.status_code} {answer.text[:200]}"
    if "cursor" in named:
        for cursor in ("x", "e30", "....", "a" * 500):
            answer = await shopper.send("GET", operation.path, params={"cursor": cursor})
            assert answer.status_code in (400, 422), f"{operation} cursor={cursor}: {answer.text}"


async def test_a_webhook_without_a_good_signature_is_refused_unread(
    own_shop: Shop, everybody: dict[str, Shopper]
) -> None:
    for content in (*NOT_JSON.values(), *NOT_AN_OBJECT.values(), b"{}"):
        for signature in ({}, {"x-razorpay-signature": "0" * 64}, {"x-razorpay-signature": "none"}):
            headers = {"x-razorpay-event-id": uuid4().hex, **JSON, **signature}
            place = f"{own_shop.gateway}/api/v1/payments/webhooks/razorpay"
            answer = await own_shop.http.post(place, content=content, headers=headers)
            assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("key", ["", "ü", "a" * 129, "a\tb", '"'])
async def test_a_key_that_is_none_is_refused(own_shop: Shop, everybody: dict[str, Shopper], key: str) -> None:
    shopper = everybody["user"]
    headers = {b"idempotency-key": key.encode(), b"content-type": b"application/json"}
    everything = {**{name.encode(): value.encode() for name, value in shopper.headers.items()}, **headers}
    answer = await shopper.http.post(f"{own_shop.gateway}/api/v1/orders", content=b"{}", headers=everything)
    assert answer.status_code in (400, 422), answer.text
