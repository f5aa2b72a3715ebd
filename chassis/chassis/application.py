"""The ASGI application of a service: routes, problems for every refusal, and documents that tell clients about both."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.events import Event
from chassis.problems import (
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

_PROBLEM_SCHEMA = {
    "title": "Problem",
    "description": "RFC 9457 problem document.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "Relative URL of a page about this code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to do next."},
        "instance": {"type": "string"},
        "code": {"type": "string", "description": "Stable; branch on this."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body."},
                    "parameter": {"type": "string", "description": "Query, path or header value."},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}


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
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    document = _once(lambda: _openapi(app, tuple(problems)))
    asyncapi = _once(lambda: _asyncapi(name, version, events))

    async def serve_openapi(_request: Request) -> Response:
        return JSONResponse(document())

    async def serve_asyncapi(_request: Request) -> Response:
        return JSONResponse(asyncapi())

    app.add_route("/openapi.json", serve_openapi)
    app.add_route("/internal/asyncapi.json", serve_asyncapi)
    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend its document
    return app


def _once(make: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    made: list[dict[str, Any]] = []

    def get() -> dict[str, Any]:
        if not made:
            made.append(make())
        return made[0]

    return get


def _operation_id(route: APIRoute) -> str:
    return route.name


def _answer(request: Request, problem: Problem) -> Response:
    return problem.response(instance=request.url.path, request_id=request_id.get())


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class
    return _answer(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    return _answer(request, InputInvalid([_field_error(item) for item in error.errors()]))


def _field_error(item: Any) -> FieldError:
    place, *path = item["loc"] or ("body",)
    if place == "body":
        escaped = [str(part).replace("~", "~0").replace("/", "~1") for part in path]
        return FieldError("".join(f"/{part}" for part in escaped), item["type"], item["msg"])
    return FieldError(str(path[0] if path else place), item["type"], item["msg"], where="parameter")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    if error.status_code == 405:
        problem: Problem = MethodNotAllowed("Use one of the methods in Allow.", headers=dict(error.headers or {}))
    elif error.status_code == 404:
        problem = RouteNotFound("See /docs for the routes that exist.")
    else:
        problem = BadRequest("The request could not be read.")
    return _answer(request, problem)


async def _unexpected(request: Request, _error: Exception) -> Response:
    return _answer(request, InternalError("Repeat later; if it happens again, tell us the request id."))


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
    document = FastAPI.openapi(app)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = _PROBLEM_SCHEMA
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "service": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "Between services.",
        },
    }
    refusal = {
        "description": "A problem; `code` says which.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path in document.get("paths", {}).values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = refusal
    document["x-problems"] = table(problems)
    return document


def _asyncapi(name: str, version: str, events: Sequence[type[Event]]) -> dict[str, Any]:
    """AsyncAPI 3.0: one channel and one send operation for each published event."""
    channels, operations, messages = {}, {}, {}
    for event in events:
        schema = event.model_json_schema(
            mode="serialization", ref_template=f"#/components/messages/{event.type}/payload/$defs/{{model}}"
        )
        messages[event.type] = {
            "name": event.type,
            "title": event.type,
            "summary": (event.__doc__ or "").strip().splitlines()[0],
            "contentType": "application/cloudevents+json",
            "payload": schema,
            "x-required": event.required,
        }
        channels[event.type] = {
            "address": event.type,
            "messages": {event.type: {"$ref": f"#/components/messages/{event.type}"}},
        }
        operations[f"publish.{event.type}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{event.type}"},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"{name} events", "version": version},
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }
