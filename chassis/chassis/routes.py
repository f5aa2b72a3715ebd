"""How a request enters a service: one route class decides, in this order, who calls, what was sent, what is kept.

role (401, 403) → media type (415) → size (413) → one strict decode → pydantic (422) → handler → commit → answer

Every route declares its rule with `access(...)`; a route without one does not build. A handler that asks for
`Session` works in the request's one transaction, which is committed before the answer leaves and rolled back by any
exception. An Idempotency-Key is claimed and its answer stored in that same transaction.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from chassis import idempotency
from chassis.auth import Principal, ServicePrincipal, TokenVerifier
from chassis.database import Database, is_contention, is_outage
from chassis.problems import (
    Busy,
    ContentTooLarge,
    FieldError,
    IdempotencyKeyRequired,
    InputInvalid,
    RoleRequired,
    TokenInvalid,
    TokenMissing,
    Unavailable,
    UnsupportedMediaType,
)
from chassis.strict import Unreadable, decode_json
from chassis.telemetry import get_logger

if TYPE_CHECKING:
    from chassis.service import Service

Rule = Literal["all", "user", "staff", "admin", "service", "provider"]
IdempotencyRule = Literal["optional", "required", "none"]

_RANK = {"all": 0, "user": 1, "staff": 2, "admin": 3}
_RANK_OF_ROLE = {"customer": 1, "staff": 2, "admin": 3}


def access(
    rule: Rule,
    *,
    idempotency: IdempotencyRule = "optional",
    transaction: bool = True,
    uses_token: bool = True,
    callers: Sequence[str] = (),
    max_body: int | None = None,
) -> dict[str, Any]:
    """Who may call a route, given as its `openapi_extra`, so that documents and tests read the same rule.

    `all` anybody; `user` anybody signed in; `staff`; `admin`; `service` the named services; `provider` a webhook:
    the body reaches the handler unread, and the handler proves where it comes from.
    `uses_token=False` is for routes of everybody that look at no token, so that an expired one does no harm there.
    `transaction=False` is for processes that call other services between transactions of their own.
    """
    extra: dict[str, Any] = {"x-access": rule, "x-idempotency": idempotency if rule != "provider" else "none"}
    if not transaction:
        extra["x-transaction"] = "own"
    if not uses_token:
        extra["x-token"] = "unused"
    if callers:
        extra["x-callers"] = list(callers)
    if max_body is not None:
        extra["x-max-body"] = max_body
    if rule in ("user", "staff", "admin"):
        extra["security"] = [{"bearer": []}]
    elif rule == "service":
        extra["security"] = [{"service": []}]
    else:
        extra["security"] = [{}, {"bearer": []}] if rule == "all" and uses_token else []
    return extra


class UnitOfWork:
    """The transaction of one request, begun when somebody first asks for its session."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._context: Any = None
        self._session: AsyncSession | None = None

    async def session(self) -> AsyncSession:
        """The session of this request's transaction."""
        if self._session is None:
            self._context = self._database.transaction()
            self._session = await self._context.__aenter__()
        return self._session

    async def finish(self, error: BaseException | None) -> None:
        """Commit, or roll back when there was an error."""
        if self._context is None:
            return
        context, self._context = self._context, None
        if error is None:
            await context.__aexit__(None, None, None)
            return
        try:
            await context.__aexit__(type(error), error, error.__traceback__)
        except BaseException as raised:
            if raised is not error:
                raise


class StrictRequest(Request):
    """A request whose body was decoded strictly, once."""

    decoded: Any = None

    async def json(self) -> Any:
        """What `decode_json` made of the body."""
        return self.decoded


Handle = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRoute(APIRoute):
    """The order of checks in the module's docstring."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Every route of a service is asked for every request: what does not match must cost little."""
        if scope["type"] != "http" or not self.path_regex.match(scope["path"]):
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(self) -> Handle:
        """Wrap FastAPI's handler. Raises TypeError for a route that declares no rule."""
        declared = self.openapi_extra or {}
        rule = declared.get("x-access")
        if rule not in (*_RANK, "service", "provider"):
            raise TypeError(f"{self.path} declares no access rule")
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        keyed = declared["x-idempotency"] != "none" and "POST" in (self.methods or ()) and rule != "service"
        in_one_transaction = "x-transaction" not in declared
        described = (row["name"] for row in declared.get("parameters", ()) if row["in"] == "query")
        parameters = frozenset((*_query_parameters(self.dependant), *described))

        async def answer(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            service: Service = request.app.state.service
            await _authorise(request, service, declared)
            if rule != "provider":
                await _read_body(request, declared.get("x-max-body") or service.settings.max_body, expected=takes_body)
                _refuse_unknown(request, parameters)
            key = _key(request, service, declared) if keyed else None
            work = request.state.work = UnitOfWork(service.database)
            try:
                if key is not None and in_one_transaction:
                    response = await _once(request, work, key, handle)
                else:
                    response = await handle(request)
            except BaseException as error:
                await work.finish(error)
                raise
            await work.finish(None)
            return response

        return _with_database_problems(answer)


def _with_database_problems(answer: Handle) -> Handle:
    """A database that is away is 503, one that is contended 409; both after everything was rolled back."""

    async def guarded(request: Request) -> Response:
        try:
            return await answer(request)
        except Exception as error:
            if is_contention(error):
                raise Busy("Somebody else is changing the same thing; repeat the request.") from error
            if is_outage(error):
                get_logger().warning("database away", error=type(error).__name__)
                raise Unavailable("The database does not answer; repeat in a moment.") from error
            raise

    return guarded


def _query_parameters(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from (info.alias or name for name, info in model.model_fields.items())
        else:
            yield field.alias
    for needed in dependant.dependencies:
        yield from _query_parameters(needed)


def _refuse_unknown(request: Request, known: frozenset[str]) -> None:
    """FastAPI passes over parameters that a route does not name; a misspelt filter must not read as none."""
    query: bytes = request.scope["query_string"]
    if query:
        given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        message = f"is no parameter of this route, which takes {', '.join(sorted(known)) or 'none'}"
        if unknown := [name for name in given if name not in known]:
            raise InputInvalid([FieldError(name, "extra_forbidden", message, "parameter") for name in unknown])


async def _authorise(request: Request, service: "Service", declared: dict[str, Any]) -> None:
    rule = declared["x-access"]
    request.state.principal = None
    if rule == "provider" or (rule == "all" and declared.get("x-token") == "unused"):
        return
    token = _bearer(request)
    if rule == "service":
        caller = await _verified(service.service_tokens, token)
        if not isinstance(caller, ServicePrincipal) or caller.service not in declared.get("x-callers", ()):
            raise RoleRequired("This route is for other services only.")
        return
    if token is None:
        if rule == "all":
            return
        raise TokenMissing("Sign in and send the access token as a Bearer token.")
    principal = await _verified(service.tokens, token)
    if not isinstance(principal, Principal):
        raise TokenInvalid
    if _RANK_OF_ROLE[principal.role] < _RANK[rule]:
        raise RoleRequired(f"This route is for {rule}.")
    request.state.principal = principal


def _bearer(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenInvalid("Send the token as `Authorization: Bearer <token>`.")
    return token.strip()


async def _verified(verifier: TokenVerifier, token: str | None) -> Principal | ServicePrincipal:
    if token is None:
        raise TokenMissing("Send a token as `Authorization: Bearer <token>`.")
    return await verifier.verify_with_newest_keys(token)


async def _read_body(request: StrictRequest, limit: int, *, expected: bool) -> None:
    headers = request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    length = headers.get("content-length", "")
    announced = int(length[:18]) if length.isdecimal() else 0
    if expected and not is_json and (kind or announced):
        raise UnsupportedMediaType("Send the body as application/json.")
    if announced > limit:
        raise ContentTooLarge(f"Send at most {limit} bytes.", limit=limit)
    chunks, size = [], 0
    # The announced length may be missing or a lie, so what arrives is counted.
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise ContentTooLarge(f"Send at most {limit} bytes.", limit=limit)
    body = request._body = b"".join(chunks)  # noqa: SLF001 - what Request.body() would store
    if expected and body:
        if not is_json:
            raise UnsupportedMediaType("Send the body as application/json.")
        try:
            request.decoded = decode_json(body)
        except Unreadable as error:
            raise InputInvalid([FieldError("", "json_invalid", str(error))]) from error


def _key(request: Request, service: "Service", declared: dict[str, Any]) -> str | None:
    key = idempotency.read_key(request.headers.get("idempotency-key"))
    if key is None and declared["x-idempotency"] == "required":
        raise IdempotencyKeyRequired("Send an Idempotency-Key, the same one when you repeat this request.")
    request.state.idempotency_key = key
    if key is None or service.caller_of(request) is None:
        return None
    return key


async def _once(
    request: StrictRequest,
    work: UnitOfWork,
    key: str,
    handle: Handle,
) -> Response:
    service: Service = request.app.state.service
    attempt = idempotency.Attempt(
        caller=str(service.caller_of(request)),
        route=f"{request.method} {request.url.path}",
        key=key,
        fingerprint=idempotency.fingerprint(request.url.query.encode(), await request.body()),
    )
    session = await work.session()
    stored = await idempotency.claim(session, attempt)
    if stored is not None:
        return stored
    response = await handle(request)
    await idempotency.remember(session, attempt, response)
    return response


class Router(APIRouter):
    """Routes of which each declares who may call it."""

    def __init__(self, **options: Any) -> None:
        options |= {"route_class": StrictRoute, "redirect_slashes": False}
        # Clients that are made from the document name their methods so.
        super().__init__(generate_unique_id_function=lambda route: route.name, **options)


def caller_from_token(request: Request) -> str | None:
    """The caller of an idempotency key where only signed-in people are known."""
    principal: Principal | None = request.state.principal
    return f"user:{principal.user_id}" if principal else None


async def _session(request: Request) -> AsyncSession:
    session: AsyncSession = await request.state.work.session()
    return session


async def _caller(request: Request) -> Principal:
    principal: Principal | None = request.state.principal
    if principal is None:
        raise TokenMissing("Sign in and send the access token as a Bearer token.")
    return principal


async def _maybe_caller(request: Request) -> Principal | None:
    principal: Principal | None = request.state.principal
    return principal


async def _database(request: Request) -> Database:
    database: Database = request.app.state.service.database
    return database


async def _idempotency_key(request: Request) -> str | None:
    key: str | None = getattr(request.state, "idempotency_key", None)
    return key


Session = Annotated[AsyncSession, Depends(_session)]
"""The session of the request's one transaction."""
Caller = Annotated[Principal, Depends(_caller)]
MaybeCaller = Annotated[Principal | None, Depends(_maybe_caller)]
Db = Annotated[Database, Depends(_database)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
"""The caller's key, for processes that derive their own ids from it."""
