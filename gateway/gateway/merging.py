"""How documents of several services become one."""

from collections.abc import Mapping
from typing import Any

from gateway.routes import GATEWAY, RouteTable

SHARED_SCHEMAS = frozenset({"Problem"})
"""The same in every service, so they keep their name."""
INTRODUCTION = """\
One API for the whole shop. Sign in with `POST /api/v1/auth/login`, then send the access token as
`Authorization: Bearer …`. A guest needs no account: the first `POST /api/v1/cart/items` answers an `X-Cart-Token`
to send from then on. Lists come in pages: `next_cursor` of one is the `cursor` of the next. Money is in integer minor
units (`149900` is ₹1,499.00), time in UTC, and every refusal is a problem document whose `code` is explained under
[/problems](/problems). Events are described in [/asyncapi.json](/asyncapi.json).
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
    tags = [{"name": service, "description": _about(parts[service])} for service in sorted(parts)]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Haat", "version": "1", "description": INTRODUCTION},
        "tags": [*tags, {"name": GATEWAY, "description": "Health, status and documents."}],
        "paths": paths,
        "components": {
            "schemas": _reachable(schemas, paths),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "x-problems": merge_problems(parts, problems),
        "x-missing-services": missing,
    }


def merge_problems(parts: Mapping[str, dict[str, Any]], problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table of codes, beginning with the gateway's own. What several services say of one stands side by side."""
    rows = {row["code"]: row for row in problems}
    for _, part in sorted(parts.items()):
        for row in part.get("x-problems", []):
            known = rows.setdefault(row["code"], row)
            if row["description"] not in known["description"]:
                rows[row["code"]] = {**known, "description": f"{known['description']} {row['description']}"}
    return [rows[code] for code in sorted(rows)]


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
        "/livez": ("is_alive", "Whether the gateway runs", "It runs."),
        "/readyz": ("is_ready", "Whether the gateway can serve now", "It can; 503 when it cannot."),
        "/openapi.json": ("read_openapi", "This document", "OpenAPI 3.1."),
        "/asyncapi.json": ("read_asyncapi", "The events of the shop", "AsyncAPI 3."),
        "/status": ("read_status", "How every part of the shop stands", "Also as a page, by Accept."),
    }
    return {
        path: {
            "get": {
                "tags": [GATEWAY],
                "operationId": f"gateway_{name}",
                "summary": summary,
                "x-access": "staff" if path == "/status" else "all",
                "responses": {
                    "200": {"description": answer, "content": {"application/json": {"schema": {"type": "object"}}}}
                },
            }
        }
        for path, (name, summary, answer) in described.items()
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
