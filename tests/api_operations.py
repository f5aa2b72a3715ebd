"""The routes of the shop as its own document tells them, and requests that fit them.

Tests that must hold for every route are generated from this, so a new route is tested on the day it appears.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

Document = dict[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")
WRITES = ("post", "put", "patch", "delete")
RULES = ("all", "user", "staff", "admin", "provider")

BY_PATTERN = {
    r"^[A-Z]{2}$": "IN",
    r"^[A-Z]{3}$": "INR",
    r"^\+[1-9][0-9]{6,14}$": "+919876543210",
}
BY_NAME = {"country": "IN", "password": "correct horse battery 7", "slug": "brass-lamp", "sku": "LAMP-1",
    "razorpay_order_id": "order_" + "A" * 14, "razorpay_payment_id": "pay_" + "A" * 14}  # fmt: skip
WORDS = "Brass lamp 411001"
LONG = "a" * 64


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    declared: Document
    document: Document

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def rule(self) -> str | None:
        """Who may call it, as it declares."""
        return self.declared.get("x-access")

    @property
    def parameters(self) -> list[str]:
        """The names in its path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def body_schema(self) -> Document | None:
        """The shape of its JSON body; none when it takes no body, or one that is not JSON."""
        content = self.declared.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        return resolved(self.document, schema) if schema else None

    @property
    def needs_body(self) -> bool:
        """Whether it is refused without a body."""
        return bool(self.declared.get("requestBody", {}).get("required"))

    def filled(self, known: dict[str, str] | None = None) -> str:
        """The path with these ids in it, and unknown ones for the rest."""
        return re.sub(r"{(\w+)}", lambda found: (known or {}).get(found[1]) or str(uuid4()), self.path)

    def body(self) -> Any:
        """A body that fits its schema."""
        return None if self.body_schema is None else example_of(self.document, self.body_schema)


def operations(document: Document) -> Iterator[Operation]:
    """Every method of every path."""
    for path, methods in document["paths"].items():
        for method, declared in methods.items():
            if method in METHODS:
                yield Operation(method, path, declared, document)


def resolved(document: Document, schema: Document) -> Document:
    """Follow references, and take the first kind that is not null of several."""
    while True:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema or "oneOf" in schema:
            kinds = schema.get("anyOf") or schema["oneOf"]
            schema = next((kind for kind in kinds if kind.get("type") != "null"), kinds[0])
        else:
            return schema


def example_of(document: Document, schema: Document, name: str = "") -> Any:
    """A value that fits a schema; of an object its required members, or one when none is."""
    outer, schema = schema, resolved(document, schema)
    for described in (outer, schema):
        for several in ("examples", "enum"):
            if described.get(several):
                return described[several][0]
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    return _of_type(document, schema, name)


def _of_type(document: Document, schema: Document, name: str) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return _object(document, schema)
    if kind == "array":
        return [example_of(document, schema["items"]) for _ in range(schema.get("minItems", 0))]
    if kind == "string":
        return _text(schema, name)
    if kind in ("integer", "number"):
        return int(max(schema.get("minimum", 1), 1))
    return kind == "boolean" or None


def _object(document: Document, schema: Document) -> Document:
    properties = schema.get("properties", {})
    wanted = schema.get("required") or list(properties)[:1]
    if "shipping_address" in properties:
        wanted = [*wanted, "shipping_address"]  # one of two must be there, which no schema of theirs can say
    return {name: example_of(document, properties[name], name) for name in dict.fromkeys(wanted)}


def _text(schema: Document, name: str) -> str:
    if schema.get("format") == "uuid":
        return str(UUID(int=0))
    if schema.get("format") == "date-time":
        return "2026-11-23T10:00:00Z"
    if name in BY_NAME:
        return BY_NAME[name]
    pattern = schema.get("pattern", "")
    if pattern in BY_PATTERN:
        return BY_PATTERN[pattern]
    longest = schema.get("maxLength", len(LONG))
    return next((text for text in (WORDS, "411001", LONG) if len(text) <= longest and re.search(pattern, text)), WORDS)
