"""The gateway's own pages: health, documents, and what people read in a browser. Every asset comes from here."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as Page
from starlette.types import ASGIApp

from chassis.problems import Problem, RouteNotFound
from gateway.documents import Documents
from gateway.layout import page

ASSETS: Mapping[str, tuple[str, str, str]] = {
    "swagger-ui-bundle.js": ("fastapi_offline", "static/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("fastapi_offline", "static/swagger-ui.css", "text/css"),
    "docs.js": ("gateway", "static/docs.js", "text/javascript"),
    "status.js": ("gateway", "static/status.js", "text/javascript"),
    "haat.css": ("gateway", "static/haat.css", "text/css"),
    "icon.svg": ("gateway", "static/icon.svg", "image/svg+xml"),
}
"""Public name → package, file and type. Third-party files are served from where they are installed."""

Readiness = Callable[[], dict[str, bool]]
Handler = Callable[[Request], Awaitable[Response]]


def own_pages(
    documents: Documents, *, readiness: Readiness, services: Callable[[], dict[str, str]], status: Handler
) -> ASGIApp:
    """The application behind the routes of the service called gateway."""

    async def livez(_request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def readyz(_request: Request) -> Response:
        checks = readiness()
        ready = all(checks.values())
        answer = {"ready": ready, "checks": checks, "services": services()}
        return JSONResponse(answer, status_code=200 if ready else 503)

    async def openapi(request: Request) -> Response:
        return _cached(request, await documents.openapi(), "application/json")

    async def asyncapi(request: Request) -> Response:
        return _cached(request, await documents.asyncapi(), "application/json")

    return Starlette(
        routes=[
            Page("/", _front),
            Page("/livez", livez),
            Page("/readyz", readyz),
            Page("/openapi.json", openapi),
            Page("/asyncapi.json", asyncapi),
            Page("/docs", _docs),
            Page("/docs/{name}", _asset),
            Page("/status", status),
            Page("/problems", _problem_list(documents)),
            Page("/problems/{code}", _problem_page(documents)),
        ],
        exception_handlers={404: _nothing_here, Problem: _refuse},
    )


async def _nothing_here(request: Request, _error: Exception) -> Response:
    problem = RouteNotFound("See /docs for the routes that exist; none ends with a slash.")
    return problem.response(instance=request.url.path, request_id=request.headers.get("x-request-id", ""))


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - what it is registered for
    return error.response(instance=request.url.path, request_id=request.headers.get("x-request-id", ""))


async def _front(request: Request) -> Response:
    links = {"docs": "/docs", "openapi": "/openapi.json", "asyncapi": "/asyncapi.json", "problems": "/problems"}
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"name": "Haat", "api": "/api/v1", **links})
    items = "".join(
        f'<li><a href="{place}">{text}</a></li>'
        for place, text in (
            ("/docs", "Browse and try the API"),
            ("/api/v1/products", "Products, as an app sees them"),
            ("/problems", "What each refusal means"),
            ("/status", "How every part of the shop stands, for staff"),
            ("/openapi.json", "OpenAPI document"),
            ("/asyncapi.json", "Events, as an AsyncAPI document"),
        )
    )
    return page("Haat", f"<p>An open-air market, served as one API under <code>/api/v1</code>.</p><ul>{items}</ul>")


async def _docs(_request: Request) -> Response:
    body = (
        '<div id="docs"><p class="wait">Loading the documentation…</p></div>'
        '<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/docs.js"></script>'
    )
    return page("Haat API", body, styles=("swagger-ui.css", "haat.css"), kind="docs")


async def _asset(request: Request) -> Response:
    found = ASSETS.get(request.path_params["name"])
    if found is None:
        return await _nothing_here(request, Exception())
    package, path, media_type = found
    return _cached(request, _file(package, path), media_type, lifetime=3600)


@cache
def _file(package: str, path: str) -> bytes:
    return files(package).joinpath(path).read_bytes()


def _problem_list(documents: Documents) -> Handler:
    async def answer(request: Request) -> Response:
        rows = await documents.problems()
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"items": rows})
        lines = "".join(
            f'<tr><td>{row["status"]}</td><td><a href="/problems/{escape(row["code"])}"><code>{escape(row["code"])}'
            f"</code></a></td><td>{''.join(_paragraphs(row))}</td></tr>"
            for row in rows
        )
        head = "<tr><th>Status</th><th>Code</th><th>Meaning, and what to do</th></tr>"
        return page("Problems", f'<table class="problems"><thead>{head}</thead><tbody>{lines}</tbody></table>')

    return answer


def _problem_page(documents: Documents) -> Handler:
    async def answer(request: Request) -> Response:
        code = request.path_params["code"]
        row = next((row for row in await documents.problems() if row["code"] == code), None)
        if row is None:
            return await _nothing_here(request, Exception())
        return page(row["title"], _problem_text(row))

    return answer


def _paragraphs(row: dict[str, Any]) -> Iterator[str]:
    for paragraph in row["description"].split("\n\n"):
        yield f"<p>{_with_code(paragraph)}</p>"


def _members(row: dict[str, Any]) -> str:
    """What its problem document holds besides the members of every one."""
    items = (
        f"<li><code>{escape(name)}</code>: {_with_code(member['description'])}</li>"
        for name, member in row.get("members", {}).items()
    )
    return f"<ul>{''.join(items)}</ul>" if row.get("members") else ""


def _with_code(text: str) -> str:
    """Text as HTML; what stands between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _problem_text(row: dict[str, Any]) -> str:
    return (
        f'<p class="code"><code>{escape(row["code"])}</code> <span>HTTP {row["status"]}</span></p>'
        f"{''.join(_paragraphs(row))}{_members(row)}"
        "<p>The problem document's <code>detail</code> says what to do in the case at hand, and its"
        " <code>request_id</code> finds it in our logs.</p>"
        '<p><a href="/problems">All problems</a></p>'
    )


def _cached(request: Request, body: bytes, media_type: str, *, lifetime: int = 30) -> Response:
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"etag": etag, "cache-control": f"public, max-age={lifetime}"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
