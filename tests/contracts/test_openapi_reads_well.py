"""Whoever writes a client from the document alone finds in it what they need: units, headers, names for methods."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from chassis.problems import table
from embedded.shop import PARTS
from gateway.errors import PROBLEMS
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
def test_moments_are_told_as_times(name: str) -> None:
    fields = {
        f"{schema}.{field}": described
        for schema, model in parts()[name].openapi["components"]["schemas"].items()
        for field, described in model.get("properties", {}).items()
        if re.fullmatch(r"at|pay_by|.+_at|last_(run|success|repair)", field) and "integer" not in str(described)
    }
    assert [field for field, described in fields.items() if "date-time" not in str(described)] == []


def test_no_two_paths_differ_only_in_the_names_of_their_parameters() -> None:
    paths = [path for part in parts().values() for path in part.openapi["paths"] if path.startswith("/api/")]
    templates = Counter(re.sub(r"{[^}]+}", "{}", path) for path in paths)
    assert {path: times for path, times in templates.items() if times > 1} == {}


@pytest.mark.parametrize("name", PARTS)
def test_a_client_learns_where_a_token_may_be_sent(name: str) -> None:
    told = {
        where: operation["security"] for where, operation in public_operations(name) if operation["x-access"] == "all"
    }
    unused = {where for where, operation in public_operations(name) if "x-token" in operation}
    assert told == {where: [] if where in unused else [{}, {"bearer": []}] for where in told}


@pytest.mark.parametrize("name", PARTS)
def test_what_several_services_call_money_is_one_type(name: str) -> None:
    schemas = parts()[name].openapi["components"]["schemas"]
    assert (
        schemas.get("Money", parts()["orders"].openapi["components"]["schemas"]["Money"])
        == (parts()["orders"].openapi["components"]["schemas"]["Money"])
    )


@pytest.mark.parametrize("name", PARTS)
def test_a_status_is_one_of_some_words(name: str) -> None:
    schemas = parts()[name].openapi["components"]["schemas"]
    fields = {
        f"{schema}.{field}": described
        for schema, model in schemas.items()
        for field, described in model.get("properties", {}).items()
        if field == "status" and schema != "Problem"
    }
    assert [field for field, described in fields.items() if described.keys().isdisjoint({"enum", "$ref"})] == []


@pytest.mark.parametrize("name", PARTS)
def test_methods_of_a_generated_client_have_names_without_paths(name: str) -> None:
    ids = [operation["operationId"] for _, operation in public_operations(name)]
    assert len(set(ids)) == len(ids)
    assert [one for one in ids if not re.fullmatch(r"[a-z]+(_[a-z]+)*", one) or "api_v1" in one] == []


def test_a_code_means_one_thing_in_the_whole_shop() -> None:
    meanings: dict[str, set[tuple[int, str]]] = {}
    for rows in (table(PROBLEMS), *(part.openapi["x-problems"] for part in parts().values())):
        for row in rows:
            meanings.setdefault(row["code"], set()).add((row["status"], row["title"]))
    assert {code: found for code, found in meanings.items() if len(found) > 1} == {}
