"""Refusals told to clients as RFC 9457 problem documents.

Problem
├── BadRequest 400
├── Unauthenticated 401      TokenMissing, TokenInvalid
├── Forbidden 403            RoleRequired
├── NotFound 404             RouteNotFound
├── Conflict 409
├── PreconditionFailed 412
├── ContentTooLarge 413
├── UnsupportedMediaType 415
├── Unprocessable 422        InputInvalid
├── TooManyRequests 429
├── InternalError 500
└── Unavailable 503

Every service derives its own refusals from these, with a stable `code` and a `detail` that says what to do next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50
"""Wrong values told at once: a small request may hold thousands, and each costs more here than it did there."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong value: where it stands, a stable code, and a sentence."""

    pointer: str
    code: str
    message: str
    where: str = "pointer"
    """`pointer` (JSON pointer into the body) or `parameter` (name of a query, path or header value)."""

    def document(self) -> dict[str, str]:
        """The member of `errors` that a client reads."""
        return {self.where: self.pointer, "code": self.code, "message": self.message}


class Problem(Exception):
    """A refusal that a client can understand and act on."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"
    members: ClassVar[Mapping[str, Any]] = {}
    """What its documents hold besides the members of every problem: name → JSON schema."""

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions

    def document(self, *, instance: str, request_id: str) -> dict[str, Any]:
        """The members of the problem document, RFC 9457 §3."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": request_id,
            **self.extensions,
        }

    def response(self, *, instance: str, request_id: str) -> Response:
        """The HTTP answer; problems are never cached."""
        body = msgspec.json.encode(self.document(instance=instance, request_id=request_id))
        headers = {"cache-control": "no-store", **self.headers}
        return Response(body, status_code=self.status, media_type=MEDIA_TYPE, headers=headers)

    @classmethod
    def entry(cls) -> dict[str, Any]:
        """This kind of problem as a row of the table of codes."""
        text = " ".join((cls.__doc__ or cls.title).split())
        row = {"code": cls.code, "status": cls.status, "title": cls.title, "description": text}
        return row | ({"members": dict(cls.members)} if cls.members else {})


class BadRequest(Problem):
    """The request cannot be understood as it stands: `detail` says what to change."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class IdempotencyKeyRequired(BadRequest):
    """The route changes something that must happen once: send an `Idempotency-Key` of 1 to 128 visible characters."""

    code = "idempotency_key_required"
    title = "Idempotency-Key required"


class IdempotencyKeyInvalid(BadRequest):
    """An `Idempotency-Key` has 1 to 128 visible ASCII characters: send one such, a UUID for instance."""

    code = "idempotency_key_invalid"
    title = "Idempotency-Key invalid"


class CursorInvalid(BadRequest):
    """The cursor is not one that this list handed out for this order and these filters: start again without it."""

    code = "cursor_invalid"
    title = "Cursor invalid"


class Unauthenticated(Problem):
    """Nobody is signed in, or the token is not good."""

    status = 401
    code = "token_missing"
    title = "Sign in first"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: Any) -> None:
        challenge = {"www-authenticate": 'Bearer realm="haat"'}
        super().__init__(detail, headers={**challenge, **(headers or {})}, **extensions)


class TokenMissing(Unauthenticated):
    """This route needs an access token: sign in and send it as `Authorization: Bearer …`."""


class TokenInvalid(Unauthenticated):
    """The access token is malformed, expired, forged or revoked: refresh it, or sign in again."""

    code = "token_invalid"
    title = "Token invalid"

    def __init__(self, detail: str = "Refresh the access token, or sign in again.") -> None:
        super().__init__(detail, headers={"www-authenticate": 'Bearer realm="haat", error="invalid_token"'})


class Forbidden(Problem):
    """You are known, but may not do this: `detail` says who may."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class RoleRequired(Forbidden):
    """The route is for another role than yours: sign in as somebody who has it."""

    code = "role_required"
    title = "Role required"


class NotFound(Problem):
    """There is no such thing, or it is not yours: check the id."""

    status = 404
    code = "not_found"
    title = "Not found"


class RouteNotFound(NotFound):
    """No route has this path: see /docs for those that exist."""

    code = "route_not_found"
    title = "No such route"


class MethodNotAllowed(Problem):
    """The path exists, but not with this method: see the `Allow` header."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class Conflict(Problem):
    """The present state does not allow it."""

    status = 409
    code = "conflict"
    title = "Conflict"


class Busy(Conflict):
    """Somebody else is changing the same thing right now: repeat the request in a moment."""

    code = "busy"
    title = "Changed by somebody else at the same time"


class PreconditionFailed(Problem):
    """The thing has changed since it was read: read it again, then repeat the change with the new ETag."""

    status = 412
    code = "precondition_failed"
    title = "Changed in the meantime"


class ContentTooLarge(Problem):
    """The body is larger than this route takes: send less, or in parts."""

    status = 413
    code = "body_too_large"
    title = "Body too large"
    members: ClassVar = {"limit": {"type": "integer", "description": "How many are allowed."}}


class UnsupportedMediaType(Problem):
    """The body is not in the format this route takes: send `Content-Type: application/json`."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class Unprocessable(Problem):
    """Understood, but not acceptable."""

    status = 422
    code = "unprocessable"
    title = "Not acceptable"


class InputInvalid(Unprocessable):
    """Some values are missing, unknown, of the wrong type or out of range; `errors` lists them with their places, the
    first fifty where there are more.
    """

    code = "input_invalid"
    title = "Input invalid"

    def __init__(self, errors: list[FieldError]) -> None:
        count = f"{len(errors)} values need" if len(errors) != 1 else "One value needs"
        super().__init__(f"{count} correction; see `errors`.", errors=[item.document() for item in errors[:MAX_ERRORS]])


class IdempotencyKeyReused(Unprocessable):
    """This `Idempotency-Key` was used for another request: choose a new key for a new intention."""

    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"


class TooManyRequests(Problem):
    """Slow down: wait as many seconds as `Retry-After` says."""

    status = 429
    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_after: int, **extensions: Any) -> None:
        super().__init__(detail, headers={"retry-after": str(retry_after)}, **extensions)


class InternalError(Problem):
    """A mistake of ours. Nothing was changed; tell us the request id if it happens again."""


class Unavailable(Problem):
    """Something needed for the answer is down or overloaded: repeat after `Retry-After` seconds."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, detail: str, *, retry_after: int = 2, **extensions: Any) -> None:
        super().__init__(detail, headers={"retry-after": str(retry_after)}, **extensions)


GENERIC: tuple[type[Problem], ...] = (
    BadRequest, IdempotencyKeyRequired, IdempotencyKeyInvalid, CursorInvalid, TokenMissing, TokenInvalid,
    Forbidden, RoleRequired, NotFound, RouteNotFound, MethodNotAllowed, Busy, PreconditionFailed, ContentTooLarge,
    UnsupportedMediaType, InputInvalid, IdempotencyKeyReused, TooManyRequests, InternalError, Unavailable,
)  # fmt: skip
"""The problems that any service may answer."""


def table(problems: tuple[type[Problem], ...]) -> list[dict[str, Any]]:
    """The table of codes: the generic ones and the given ones, once each, by code."""
    rows = {problem.code: problem.entry() for problem in (*GENERIC, *problems)}
    return [rows[code] for code in sorted(rows)]
