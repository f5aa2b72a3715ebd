"""How catalog's routes tell in the API's document which tags (RFC 9110 §13) they take and give."""

from typing import Any

Responses = dict[int | str, dict[str, Any]]


def _parameter(name: str, about: str) -> dict[str, Any]:
    schema = {"type": "string", "examples": ['"3.17"']}
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema}


_TAG = {"ETag": {"description": "Names this state, for `If-None-Match` and `If-Match`.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "Where it is read.", "schema": {"type": "string"}}}

IF_MATCH = {
    "parameters": [
        _parameter("If-Match", "The ETag of what you have read: when somebody has changed it since, nothing is done.")
    ]
}
"""For `openapi_extra` of a route that calls `if_match`."""
IF_NONE_MATCH = {
    "parameters": [
        _parameter("If-None-Match", "The ETag of what you hold: when it is still current, the answer is 304.")
    ]
}
"""For `openapi_extra` of a route that answers with `Encoded.response`."""

CREATED: Responses = {201: {"headers": _TAG | _LOCATION}}
CHANGED: Responses = {200: {"headers": _TAG}}
READ: Responses = {**CHANGED, 304: {"description": "What `If-None-Match` names is still current.", "headers": _TAG}}
"""For `responses`."""
