"""The ASGI application of a service: routes, problems for every refusal, and documents that tell clients about both."""

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.events import Event
from chassis.problems import (
    MAX_ERRORS,
    BadRequest,
    FieldError,
    InputInvalid,
    InternalError,
    MethodNotAllowed,
    Problem,
    RouteNotFound,
    table,
)
from chassis.telemetry import get_logger, request_id

_SENTENCES = {"missing": "is required", "extra_forbidden": "is no field of this object"}
_SENTENCES |= dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "must be an object")
_REPLACED = ("HTTPValidationError", "ValidationError")
"""What FastAPI says about refusals."""


def make_application(
    *,
    name: str,
    version: str,
    routers: Sequence[APIRouter],
    problems: Sequence[type[Problem]],
    events: Sequence[type[Event]],
) -> FastAPI:
    """A FastAPI application with our error format; documents at /openapi.json and /internal/asyncapi.json."""
    app = FastAPI(
        title=name,
        version=version,
        description=_about(name),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # Our own spans and metrics say what may be said: FastAPI's hold query strings, and ask for each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for router in routers:
        # Not `include_router`, which wraps every route once more: finding one would cost three times as much.
        app.router.routes.extend(router.routes)
    for refusal in (Problem, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(refusal, _refuse)
    app.add_exception_handler(ClientDisconnect, _leave)

    @cache
    def openapi() -> dict[str, Any]:
        return _openapi(app, tuple(problems))

    async def serve_openapi(_request: Request) -> Response:
        return JSONResponse(openapi())

    async def serve_asyncapi(_request: Request) -> Response:
        return JSONResponse(_asyncapi(name, version, events))

    app.add_route("/openapi.json", serve_openapi)
    app.add_route("/internal/asyncapi.json", serve_asyncapi)
    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend its document
    return app


def _about(service: str) -> str:
    """The sentence of its package."""
    try:
        return metadata(f"haat-{service}")["Summary"]
    except PackageNotFoundError:
        return ""


async def _refuse(request: Request, error: Exception) -> Response:
    return _problem_for(request, error).response(instance=request.scope["path"], request_id=request_id.get())


def _problem_for(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return InputInvalid([_field_error(item) for item in error.errors()[:MAX_ERRORS]])
        case HTTPException(status_code=404):
            return RouteNotFound("See /docs for the routes that exist; none ends with a slash.")
        case HTTPException(status_code=405):
            return MethodNotAllowed("Use one of the methods in Allow.", headers={"allow": _allowed(request)})
        case HTTPException():
            return BadRequest("The request could not be read.")
    return InternalError("Repeat later; if it happens again, tell us the request id.")


async def _leave(_request: Request, _error: Exception) -> Response:
    """The client went away in the middle of its request: nobody reads this, and it is no mistake of ours."""
    return Response(status_code=499)


def _allowed(request: Request) -> str:
    """The methods of a path, which may be spread over several routes."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in routes if isinstance(route, Route) for method in route.methods or ()}))


def _field_error(item: Any) -> FieldError:
    place, *path = item["loc"] or ("body",)
    if place == "body":
        escaped = [str(part).replace("~", "~0").replace("/", "~1") for part in path]
        return FieldError("".join(f"/{part}" for part in escaped), item["type"], _sentence(item))
    return FieldError(str(path[0] if path else place), item["type"], _sentence(item), where="parameter")


def _sentence(item: Any) -> str:
    """What the value must be, as our own refusals say it: pydantic speaks of inputs and dictionaries."""
    return _SENTENCES.get(item["type"]) or re.sub(r"^\w+ should ", "must ", item["msg"])


class LastResort:
    """Writes the trace of an exception that nobody expected to the log, and nowhere else.

    FastAPI has answered 500 by then and raises again; only when the answer broke off in its middle does the server
    need to know, to close the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answered = False

        async def watch(message: Message) -> None:
            nonlocal answered
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            get_logger().exception("unexpected error", path=scope.get("path"))
            if not answered:
                raise


def _openapi(app: FastAPI, problems: tuple[type[Problem], ...]) -> dict[str, Any]:
    """FastAPI's document, with the one format of refusals and the two kinds of tokens."""
    common = json.loads(files("chassis").joinpath("openapi.json").read_bytes())
    document = FastAPI.openapi(app)
    components = document.setdefault("components", {})
    schemas = {**components.get("schemas", {}), **common["schemas"]}
    components["schemas"] = {name: schema for name, schema in schemas.items() if name not in _REPLACED}
    components["securitySchemes"] = common["securitySchemes"]
    for path in document.get("paths", {}).values():
        for method, operation in path.items():
            _describe_idempotency(method, operation, common)
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = common["refusal"]
    document["x-problems"] = table(problems)
    return document


def _describe_idempotency(method: str, operation: dict[str, Any], common: dict[str, Any]) -> None:
    """The header where a key is looked at, whether it must be there, and how a repeated answer is told."""
    rule = operation.get("x-idempotency", "none")
    if method == "post" and rule != "none" and operation.get("x-access") != "service":
        described = {**common["idempotency-key"], "required": rule == "required"}
        operation["parameters"] = [*operation.get("parameters", ()), described]
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                replayed = {"Idempotency-Replayed": common["idempotency-replayed"]}
                response["headers"] = {**response.get("headers", {}), **replayed}


def _asyncapi(name: str, version: str, events: Sequence[type[Event]]) -> dict[str, Any]:
    """AsyncAPI 3.0: one channel and one send operation for each published event."""
    channels, operations, messages = {}, {}, {}
    for event in events:
        template = f"#/components/messages/{event.type}/payload/$defs/{{model}}"
        messages[event.type] = {
            "name": event.type,
            "title": event.type,
            "summary": (event.__doc__ or "").strip().splitlines()[0],
            "contentType": "application/cloudevents+json",
            "payload": event.model_json_schema(mode="serialization", ref_template=template),
            "x-required": event.required,
        }
        reference = {"$ref": f"#/components/messages/{event.type}"}
        channels[event.type] = {"address": event.type, "messages": {event.type: reference}}
        operations[f"publish.{event.type}"] = {"action": "send", "channel": {"$ref": f"#/channels/{event.type}"}}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"{name} events", "version": version},
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }
