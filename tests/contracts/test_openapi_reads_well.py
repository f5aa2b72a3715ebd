"""Whoever writes a client from the document alone finds in it what they need: units, headers, names for methods."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from embedded.shop import PARTS
from tests.contracts.published import parts

MINOR = "Minor units"
PRICES = re.compile(r"amount|(min|max)_price")


def public_operations(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in parts()[name].openapi["paths"].items():
        if path.startswith("/api/"):
            for method, operation in operations.items():
                yield f"{method} {path}", operation


def headers_of(operation: dict[str, Any]) -> set[str]:
    return {row["name"] for row in operation.get("parameters", ()) if row["in"] == "header"}


@pytest.mark.parametrize("name", PARTS)
def test_bare_numbers_of_money_tell_their_unit(name: str) -> None:
    document = parts()[name].openapi
    fields = {
        f"{schema}.{field}": described
        for schema, model in document["components"]["schemas"].items()
        for field, described in model.get("properties", {}).items()
        if PRICES.fullmatch(field) and "integer" in str(described)
    }
    fields |= {
        f"{where}?{row['name']}": row
        for where, operation in public_operations(name)
        for row in operation.get("parameters", ())
        if PRICES.fullmatch(row["name"])
    }
    assert [field for field, described in fields.items() if MINOR not in described.get("description", "")] == []


@pytest.mark.parametrize("name", PARTS)
def test_headers_that_a_route_speaks_of_are_among_its_parameters(name: str) -> None:
    silent = [
        where
        for where, operation in public_operations(name)
        for word, header in (("If-Match", "If-Match"), ("guest cart sent along", "X-Cart-Token"))
        if word in operation.get("description", "") and header not in headers_of(operation)
    ]
    assert silent == []


@pytest.mark.parametrize("name", PARTS)
def test_methods_of_a_generated_client_have_names_without_paths(name: str) -> None:
    ids = [operation["operationId"] for _, operation in public_operations(name)]
    assert len(set(ids)) == len(ids)
    assert [one for one in ids if not re.fullmatch(r"[a-z]+(_[a-z]+)*", one) or "api_v1" in one] == []


def test_a_code_means_one_thing_in_the_whole_shop() -> None:
    meanings: dict[str, set[tuple[int, str]]] = {}
    for part in parts().values():
        for row in part.openapi["x-problems"]:
            meanings.setdefault(row["code"], set()).add((row["status"], row["title"]))
    assert {code: found for code, found in meanings.items() if len(found) > 1} == {}
