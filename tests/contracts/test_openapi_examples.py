"""What the documentation proposes to send is something that the service takes."""

from collections.abc import Iterator
from typing import Any

import pytest

from chassis.strict import RequestBody
from embedded.shop import PARTS
from tests.contracts.published import parts

SOME_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def bodies(name: str) -> Iterator[tuple[str, str]]:
    """The public routes that take a body, and its schema's name."""
    for path, operations in parts()[name].openapi["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content and path.startswith("/api/"):
                reference = str(content["schema"].get("$ref") or content["schema"]["anyOf"][0]["$ref"])
                yield f"{method} {path}", reference.rpartition("/")[2]


def proposed(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """What a reader of the document is shown for a schema: its own example, or one made of those of its parts."""
    while "$ref" in schema or "anyOf" in schema:
        if "examples" in schema:
            break
        schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema["anyOf"][0]
    if "examples" in schema or "enum" in schema:
        return (schema.get("examples") or schema["enum"])[0]
    if schema["type"] == "object":
        return {key: proposed(value, schemas) for key, value in schema.get("properties", {}).items()}
    if schema["type"] == "array":
        return [proposed(schema["items"], schemas)]
    text = SOME_ID if schema.get("format") == "uuid" else "string"
    assert "pattern" not in schema, f"nobody can guess what {schema} wants: give an example"
    return {"boolean": True, "integer": schema.get("default", 0), "string": schema.get("default", text)}[schema["type"]]


def models(base: type[RequestBody] = RequestBody) -> Iterator[type[RequestBody]]:
    for model in base.__subclasses__():
        yield model
        yield from models(model)


@pytest.mark.parametrize("name", PARTS)
def test_what_is_proposed_is_taken(name: str) -> None:
    schemas = parts()[name].openapi["components"]["schemas"]
    by_name = {model.__name__: model for model in models() if model.__module__.startswith(f"{name}.")}
    for where, schema in bodies(name):
        example = proposed(schemas[schema], schemas)
        by_name[schema].model_validate(example)
        assert "string" not in str(example), f"{where} is shown {example}"
