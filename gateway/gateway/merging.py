"""How documents of several services become one."""

from collections.abc import Mapping
from typing import Any

from gateway.routes import GATEWAY, RouteTable

SHARED_SCHEMAS = frozenset({"Problem", "Money"})
"""The same in every service, so they keep their name."""
INTRODUCTION = """\
One API for the whole shop, under `/api/v1`.

- **Sign in** with `POST /api/v1/auth/login` and send the access token as `Authorization: Bearer …`. After
  `expires_in` seconds get the next one with `POST /api/v1/auth/refresh`.
- **A guest** needs no account: the first `POST /api/v1/cart/items` answers an `X-Cart-Token` to send from then on.
  Sent along when signing in or registering, its cart becomes the user's.
- **Buy**: `POST /api/v1/orders` with an `Idempotency-Key` holds the stock and fixes the prices, `POST /api/v1/payments`
  makes the order payable, and the order is `paid` soon after the shopper has paid: ask `GET /api/v1/orders/{order_id}`.
- **Repeat safely**: a POST with the same `Idempotency-Key` has no second effect and gets the first answer again.
  Opening and verifying a payment need no key: an order has one payment.
- **Lists** come in pages of `limit` (50, at most 100). `next_cursor` of one is the `cursor` of the next; repeat the
  same filters with it. `count=true` adds the `total`. Filters are joined by "and"; one that does not exist is refused.
- **Money** is an integer count of minor units and a currency: `{"amount": 149900, "currency": "INR"}` is ₹1,499.00.
- **Times** are RFC 3339 in UTC, such as `2026-11-22T10:00:00Z`.
- **Refusals** are problem documents (RFC 9457): branch on `code`, show or log `detail`. Every code is explained, with
  what to do next, under [/problems](/problems). A body is taken literally: unknown fields and wrong types are refused.
- **Changes** of products and categories take `If-Match` with the `ETag` of what was read; public reads of the catalogue
  take `If-None-Match`.

Events are described in [/asyncapi.json](/asyncapi.json).
"""
_METHODS = ("get", "put", "post", "delete", "patch")


def merge_openapi(
    parts: Mapping[str, dict[str, Any]], routes: RouteTable, *, missing: list[str], problems: list[dict[str, Any]]
) -> dict[str, Any]:
    """One OpenAPI 3.1 document; components carry their service's name, and only reachable routes are in it."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for service, part in sorted(parts.items()):
        renamed = _renamed(part, service)
        schemas.update(renamed.get("components", {}).get("schemas", {}))
        for path, operations in renamed.get("paths", {}).items():
            route = routes.find(path.encode())
            if route is not None and route.service == service:
                paths[path] = _attributed(operations, service)
    paths.update(_own_paths())
    table = merge_problems(parts, problems)
    if "Problem" in schemas:
        schemas["Problem"] = _with_members(schemas["Problem"], table)
    tags = [{"name": service, "description": _about(parts[service])} for service in sorted(parts)]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Haat", "version": "1", "description": INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [*tags, {"name": GATEWAY, "description": "Health, status and documents."}],
        "paths": paths,
        "components": {
            "schemas": _reachable(schemas, paths),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "x-problems": table,
        "x-missing-services": missing,
    }


def merge_problems(parts: Mapping[str, dict[str, Any]], problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table of codes, beginning with the gateway's own. What several services say of one stands in paragraphs."""
    rows = {row["code"]: row for row in problems}
    for _, part in sorted(parts.items()):
        for row in part.get("x-problems", []):
            known = rows.setdefault(row["code"], row)
            said, members = known["description"], known.get("members", {}) | row.get("members", {})
            if row["description"] not in said:
                said = f"{said}\n\n{row['description']}"
            rows[row["code"]] = {**known, "description": said} | ({"members": members} if members else {})
    return [rows[code] for code in sorted(rows)]


def _with_members(schema: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The schema of a problem document with the members that only some codes have; each tells which."""
    codes: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    for row in rows:
        for name, member in row.get("members", {}).items():
            codes.setdefault(name, []).append(f"`{row['code']}`")
            found.setdefault(name, member)
    described = {
        name: {**member, "description": f"{member['description']} With {', '.join(codes[name])}."}
        for name, member in found.items()
    }
    return {**schema, "properties": {**schema.get("properties", {}), **described}}


def _reachable(schemas: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """The schemas that public routes lead to: what services say to each other is nobody's business here."""
    found: set[str] = set()
    waiting = _references(paths) | SHARED_SCHEMAS
    while waiting:
        found |= waiting
        waiting = set().union(*(_references(schemas.get(name)) for name in waiting)) - found
    return {name: schema for name, schema in schemas.items() if name in found}


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    own = value.get("$ref")
    named = {own.removeprefix("#/components/schemas/")} if isinstance(own, str) else set()
    return named.union(*map(_references, value.values()))


def _about(part: dict[str, Any]) -> str:
    return str(part.get("info", {}).get("description", ""))


def _attributed(operations: dict[str, Any], service: str) -> dict[str, Any]:
    """Operations under their service's tag, with ids that are unique in the whole document."""
    attributed = dict(operations)
    for method in _METHODS:
        if method in operations:
            operation = dict(operations[method])
            operation["tags"] = [service]
            operation["operationId"] = f"{service}_{operation.get('operationId', method)}"
            attributed[method] = operation
    return attributed


def _renamed(part: dict[str, Any], service: str) -> dict[str, Any]:
    schemas = part.get("components", {}).get("schemas", {})
    names = {name: name if name in SHARED_SCHEMAS else f"{service}.{name}" for name in schemas}
    references = {f"#/components/schemas/{old}": f"#/components/schemas/{new}" for old, new in names.items()}
    renamed: dict[str, Any] = _with_references(part, references)
    if schemas:
        kept = renamed["components"]["schemas"]
        renamed["components"] = {"schemas": {names[name]: schema for name, schema in kept.items()}}
    return renamed


def _with_references(value: Any, references: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: references.get(item, item)
            if key == "$ref" and isinstance(item, str)
            else {name: references.get(text, text) for name, text in item.items()}
            if key == "mapping" and isinstance(item, dict) and all(isinstance(text, str) for text in item.values())
            else _with_references(item, references)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_with_references(item, references) for item in value]
    return value


def _own_paths() -> dict[str, Any]:
    described = {
        "/livez": ("is_alive", "Whether the gateway runs", {"200": "It runs."}),
        "/readyz": ("is_ready", "Whether the gateway can serve now", {"200": "It can.", "503": "It cannot."}),
        "/openapi.json": ("read_openapi", "This document", {"200": "OpenAPI 3.1."}),
        "/asyncapi.json": ("read_asyncapi", "The events of the shop", {"200": "AsyncAPI 3."}),
        "/problems": ("list_problems", "What each code of a refusal means", {"200": "Also as a page, by Accept."}),
        "/status": ("read_status", "How every part of the shop stands", {"200": "Also as a page, by Accept."}),
    }
    anything = {"application/json": {"schema": {"type": "object", "additionalProperties": True}}}
    return {
        path: {
            "get": {
                "tags": [GATEWAY],
                "operationId": f"gateway_{name}",
                "summary": summary,
                "security": [{"bearer": []}] if path == "/status" else [],
                "x-access": "staff" if path == "/status" else "all",
                "responses": {status: {"description": said, "content": anything} for status, said in answers.items()},
            }
        }
        for path, (name, summary, answers) in described.items()
    }


def merge_asyncapi(parts: Mapping[str, dict[str, Any]], *, missing: list[str]) -> dict[str, Any]:
    """One AsyncAPI 3 document; event types are unique in the shop, so nothing needs another name."""
    merged: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {"title": "Haat events", "version": "1", "description": "What the services tell each other."},
        "defaultContentType": "application/cloudevents+json",
        "channels": {},
        "operations": {},
        "components": {"messages": {}},
        "x-missing-services": missing,
    }
    for service, part in sorted(parts.items()):
        merged["channels"].update(part.get("channels", {}))
        merged["operations"].update(
            {
                f"{service}.{name}": {**operation, "tags": [{"name": service}]}
                for name, operation in part.get("operations", {}).items()
            }
        )
        merged["components"]["messages"].update(part.get("components", {}).get("messages", {}))
    return merged
