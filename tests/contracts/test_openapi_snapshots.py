"""What clients are promised is in a file, so that a change of it is seen by whoever reviews."""

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from embedded.shop import PARTS
from tests.contracts.published import parts, read

OWN_RULES = {"all", "user", "staff", "admin", "service", "provider"}
METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.mark.parametrize("name", PARTS)
def test_the_snapshot_is_current(name: str) -> None:
    part = parts()[name]
    assert read(part.contracts / "openapi.json") == part.openapi, "run `make contracts` and read the difference"


@pytest.mark.parametrize("name", PARTS)
def test_the_document_is_valid_openapi(name: str) -> None:
    OpenAPIV31SpecValidator(parts()[name].openapi).validate()


@pytest.mark.parametrize("name", PARTS)
def test_every_route_tells_who_may_call_it(name: str) -> None:
    routes = [
        (path, method, operation)
        for path, operations in parts()[name].openapi["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    ]
    undeclared = [
        f"{method} {path}" for path, method, operation in routes if operation.get("x-access") not in OWN_RULES
    ]
    assert not undeclared
    open_to_services = {path for path, _, operation in routes if operation["x-access"] == "service"}
    internal = {path for path, _, _ in routes if path.startswith("/internal/")}
    assert open_to_services == internal, "what only services may call stands below /internal, and nothing else does"
