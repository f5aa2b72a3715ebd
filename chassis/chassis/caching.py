"""Finished answers for hot reads: bytes and a tag, no model in between (RFC 9110 §8.8, §13)."""

import re
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chassis.problems import BadRequest

encode = msgspec.json.Encoder(decimal_format="number").encode


class Encoded(NamedTuple):
    """A JSON document ready to send, with its entity tag (without quotes)."""

    body: bytes
    etag: str

    def response(self, request: Request, *, cache_control: str = "no-store") -> Response:
        """The answer, or 304 when the client already holds this version."""
        tag = f'"{self.etag}"'
        headers = {"etag": tag, "cache-control": cache_control}
        known = request.headers.get("if-none-match")
        if known is not None and is_known(known, tag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type="application/json", headers=headers)


def encoded(document: Any, etag: str) -> Encoded:
    """Encode structs, dicts and lists once."""
    return Encoded(encode(document), etag)


def is_known(header: str, tag: str) -> bool:
    """Whether an If-None-Match names this tag: the weak comparison of RFC 9110 §13.1.2."""
    if header.strip() == "*":
        return True
    return any(known.strip().removeprefix("W/") == tag.removeprefix("W/") for known in header.split(","))


def if_match(request: Request) -> str | None:
    """The tag a careful client believes to be changing, without quotes; None when it does not say."""
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    found = re.fullmatch(r'\s*"([\x21\x23-\x7e]{1,100})"\s*', header)
    if not found:
        raise BadRequest('Send If-Match as one strong tag in quotes, as the ETag came, e.g. "3.17".')
    return found[1]
