"""The merged documents and the pages that people read."""

import asyncio
import json
from typing import Any

import pytest
from openapi_spec_validator import validate

from chassis.testing import FakeUpstream
from gateway.documents import Documents
from gateway.pages import ASSETS
from gateway.routes import RouteTable
from gateway.testing import SERVICES, Front


def described(service: str, *paths: str, code: str = "") -> dict[str, Any]:
    """A service's own document, as the chassis writes it."""
    reference, part = {"$ref": "#/components/schemas/Thing"}, {"$ref": "#/components/schemas/Part"}
    answer = {"200": {"description": "It.", "content": {"application/json": {"schema": reference}}}}
    operation = {"operationId": "read", "summary": "Read", "tags": ["x"], "x-access": "all", "responses": answer}
    needed = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    parent = {"type": "object", "properties": {"self": reference, "part": part, "$ref": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": service, "version": "1"},
        "paths": {path: {"get": operation | ({"parameters": needed} if "{id}" in path else {})} for path in paths},
        "components": {
            "schemas": {
                "Thing": parent,
                "Part": {"type": "object"},
                "Secret": {"type": "object", "properties": {"thing": reference}},
                "Problem": {"title": "Problem", "type": "object"},
            }
        },
        "x-problems": [{"code": code, "status": 409, "title": "No", "description": "<b>No</b>"}] if code else [],
    }


def events(name: str) -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "channels": {name: {"address": name, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}},
        "operations": {f"publish.{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}},
        "components": {"messages": {name: {"name": name, "payload": {"type": "object"}}}},
    }


@pytest.fixture
def shop() -> dict[str, FakeUpstream]:
    paths = {
        "accounts": ("/api/v1/users/me", "/internal/users/{id}"),
        "catalog": ("/api/v1/products/{id}", "/api/v1/orders/stolen"),
        "cart": ("/api/v1/cart",),
        "orders": ("/api/v1/orders", "/metrics"),
        "payments": ("/api/v1/payments",),
    }
    return {
        name: FakeUpstream(
            {
                ("GET", "/openapi.json"): (200, described(name, *paths[name], code=f"{name}_refused")),
                ("GET", "/internal/asyncapi.json"): (200, events(f"{name}.done.v1")),
            }
        )
        for name in SERVICES
    }


def documents(shop: dict[str, FakeUpstream]) -> Documents:
    return Documents({name: fake.upstream() for name, fake in shop.items()}, RouteTable())


async def test_one_valid_document_with_what_is_reachable(shop: dict[str, FakeUpstream]) -> None:
    merged = json.loads(await documents(shop).openapi())
    validate(merged)
    assert merged["openapi"] == "3.1.0"
    assert {path for path in merged["paths"] if path.startswith("/api")} == {
        "/api/v1/users/me",
        "/api/v1/products/{id}",
        "/api/v1/cart",
        "/api/v1/orders",
        "/api/v1/payments",
    }
    assert not any(path.startswith(("/internal", "/metrics")) for path in merged["paths"])
    schemas = set(merged["components"]["schemas"])
    assert schemas == {"Problem", *(f"{name}.{kind}" for name in SERVICES for kind in ("Thing", "Part"))}, (
        "what public routes lead to, and nothing that services say to each other"
    )
    assert merged["components"]["schemas"]["cart.Thing"]["properties"]["self"] == {
        "$ref": "#/components/schemas/cart.Thing"
    }
    operation = merged["paths"]["/api/v1/cart"]["get"]
    assert (operation["operationId"], operation["tags"], operation["x-access"]) == ("cart_read", ["cart"], "all")
    codes = [row["code"] for row in merged["x-problems"]]
    assert {"cart_refused", "path_refused", "upstream_timeout"} <= set(codes)
    assert codes == sorted(set(codes))
    assert merged["x-missing-services"] == []


async def test_what_two_services_say_of_one_code_stands_side_by_side(shop: dict[str, FakeUpstream]) -> None:
    for name, sentence in (
        ("cart", "See `available`."),
        ("orders", "See `shortages`."),
        ("payments", "See `available`."),
    ):
        part = described(name, "/api/v1/x", code="insufficient_stock")
        part["x-problems"][0]["description"] = sentence
        shop[name].routes[("GET", "/openapi.json")] = (200, part)
    merged = documents(shop)
    [row] = [row for row in await merged.problems() if row["code"] == "insufficient_stock"]
    assert row["description"] == "See `available`.\n\nSee `shortages`."
    assert row in json.loads(await merged.openapi())["x-problems"]


async def test_one_document_of_events(shop: dict[str, FakeUpstream]) -> None:
    merged = json.loads(await documents(shop).asyncapi())
    assert merged["asyncapi"] == "3.0.0"
    assert set(merged["channels"]) == {f"{name}.done.v1" for name in SERVICES}
    assert "orders.publish.orders.done.v1" in merged["operations"]
    assert merged["operations"]["orders.publish.orders.done.v1"]["channel"]["$ref"] == "#/channels/orders.done.v1"


async def test_a_service_that_is_down_leaves_the_rest(shop: dict[str, FakeUpstream]) -> None:
    shop["catalog"].routes.clear()
    merged = json.loads(await documents(shop).openapi())
    assert merged["x-missing-services"] == ["catalog"]
    assert "/api/v1/cart" in merged["paths"]


async def test_services_are_asked_once_for_many_readers(shop: dict[str, FakeUpstream]) -> None:
    kept = documents(shop)
    read = await asyncio.gather(*(kept.openapi() for _ in range(20)))
    assert len(set(read)) == 1
    assert len(shop["cart"].calls) == 1


async def test_pages_need_nothing_from_elsewhere(front: Front) -> None:
    page = await front.ask("GET", "/docs", Accept="text/html")
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert b"//" not in page.body.replace(b"<!doctype", b"")
    for name in ASSETS:
        asset = await front.ask("GET", f"/docs/{name}")
        assert asset.status == 200
        again = await front.ask("GET", f"/docs/{name}", If_None_Match=asset.headers["etag"])
        assert again.status == 304
    assert (await front.ask("GET", "/docs/other.js")).code == "route_not_found"
    assert (await front.ask("GET", "/docs/..%2fsettings.py")).code == "path_refused"


async def test_every_code_has_a_page(front: Front) -> None:
    listed = (await front.ask("GET", "/problems", Accept="application/json")).json["items"]
    assert len(listed) > 30
    for row in listed:
        page = await front.ask("GET", f"/problems/{row['code']}", Accept="text/html")
        assert page.status == 200
        assert row["code"].encode() in page.body
        assert row["description"].strip(), row["code"]
    assert (await front.ask("GET", "/problems/nothing")).code == "route_not_found"
    assert (await front.ask("GET", "/problems/%3Cscript%3E")).code == "route_not_found"
    assert b"/problems/token_invalid" in (await front.ask("GET", "/problems", Accept="text/html")).body


async def test_the_front_page_shows_the_way(front: Front) -> None:
    assert (await front.ask("GET", "/")).json["docs"] == "/docs"
    assert b'href="/docs"' in (await front.ask("GET", "/", Accept="text/html")).body


async def test_the_gateway_tells_that_it_lives_and_what_it_is_ready_for(front: Front) -> None:
    assert (await front.ask("GET", "/livez")).json == {"status": "live"}
    ready = await front.ask("GET", "/readyz")
    assert ready.json["checks"] == {"keys": True, "revocations": True, "accepting": True}
    assert set(ready.json["services"]) == set(SERVICES)
