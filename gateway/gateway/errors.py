"""What the gateway itself refuses, each with a stable code and a sentence that says what to do next."""

from typing import ClassVar

from chassis.problems import (
    BadRequest,
    ContentTooLarge,
    Forbidden,
    MethodNotAllowed,
    Problem,
    RoleRequired,
    RouteNotFound,
    TokenInvalid,
    TokenMissing,
    TooManyRequests,
    Unavailable,
)


class RequestMalformed(BadRequest):
    """The bytes sent are not an HTTP/1.1 request: check the client that wrote them."""

    code = "request_malformed"
    title = "Not an HTTP request"


class HostRefused(BadRequest):
    """A request names exactly one `Host`, and it is one that this shop answers to (setting `GATEWAY_HOSTS`)."""

    code = "host_refused"
    title = "Host refused"


class FramingRefused(BadRequest):
    """The length of the body is unclear: send either one `Content-Length` or `Transfer-Encoding: chunked`."""

    code = "framing_refused"
    title = "Unclear body length"


class HeaderRefused(BadRequest):
    """A header is malformed, or stands twice where only one is possible: check what the client sends."""

    code = "header_refused"
    title = "Header refused"


class PathRefused(BadRequest):
    """The path could be read in two ways (dots, double slashes, encoded separators): write it plainly."""

    code = "path_refused"
    title = "Path refused"


class TargetTooLong(Problem):
    """The URL is longer than 4 KiB: send what is long in the body."""

    status = 414
    code = "target_too_long"
    title = "URL too long"


class HeadTooLarge(Problem):
    """The request has more than 64 headers, or more than 16 KiB of them: send fewer; cookies are often the cause."""

    status = 431
    code = "head_too_large"
    title = "Headers too large"


class ExpectationRefused(Problem):
    """`Expect` is not supported: send the request again without it."""

    status = 417
    code = "expectation_refused"
    title = "Expectation refused"


class RequestTooSlow(Problem):
    """The request did not arrive in time: send it again, faster or in smaller parts."""

    status = 408
    code = "request_timeout"
    title = "Request too slow"


class OriginRefused(Forbidden):
    """A browser page of another site asked for this. Its origin must be listed in `CORS_ORIGINS`,
    or the request must carry its credentials in headers instead of a cookie.
    """

    code = "origin_refused"
    title = "Origin refused"


class UpstreamUnavailable(Unavailable):
    """A part of the shop does not answer. Nothing is lost: repeat after `Retry-After` seconds."""

    code = "upstream_unavailable"
    title = "A part of the shop does not answer"
    members: ClassVar = {"upstream": {"type": "string", "description": "The service that does not answer."}}


class Overloaded(Unavailable):
    """A part of the shop has as many requests under way as it takes: repeat after `Retry-After` seconds."""

    code = "overloaded"
    title = "Too busy"


class NotReady(Unavailable):
    """The gateway cannot check access tokens yet: repeat after `Retry-After` seconds."""

    code = "not_ready"
    title = "Not ready yet"


class UpstreamTimeout(Problem):
    """No answer in time. It may still have happened: look before you repeat, or repeat with the same
    `Idempotency-Key`.
    """

    status = 504
    code = "upstream_timeout"
    title = "No answer in time"


class UpstreamFailed(Problem):
    """A part of the shop ended the connection. It may still have happened: look before you repeat, or repeat
    with the same `Idempotency-Key`.
    """

    status = 502
    code = "upstream_failed"
    title = "No usable answer"


PROBLEMS: tuple[type[Problem], ...] = (
    RequestMalformed, HostRefused, FramingRefused, HeaderRefused, PathRefused, TargetTooLong, HeadTooLarge,
    ExpectationRefused, RequestTooSlow, OriginRefused, UpstreamUnavailable, Overloaded, NotReady, UpstreamTimeout,
    UpstreamFailed, RouteNotFound, MethodNotAllowed, ContentTooLarge, TokenMissing, TokenInvalid, RoleRequired,
    TooManyRequests,
)  # fmt: skip
"""Everything the gateway may answer by itself."""
