"""Keyset pagination: a cursor says where the last page ended, so page 1,000 costs what page 1 costs."""

import base64
import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from pydantic import ConfigDict

from chassis.problems import CursorInvalid
from chassis.strict import Answer, QueryBool, QueryParams, QueryText, query_int

COUNT_CAP = 10_000
"""`?count=true` counts no further than this."""

CursorValue = str | int | bool | float | UUID | datetime | None


class PageQuery(QueryParams):
    """The parameters that every list understands."""

    limit: query_int(1, 100) = 50  # type: ignore[valid-type]  # a type made for these bounds
    """Items of one page."""
    cursor: QueryText | None = None
    """`next_cursor` of the page before; none for the first page. Repeat the same filters with it."""
    count: QueryBool = False
    """Whether to tell the `total` too, counted to 10,000 and no further."""


class PageAnswer(Answer):
    """What the page of a list tells besides its `items`, which each list declares itself."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""
    total: int | None = None
    """How many items there are in all, counted to 10,000; only with `count=true`."""
    total_is_capped: bool | None = None
    """Whether there are more than `total` says; only with `count=true`."""


def encode_cursor(scope: str, *values: CursorValue) -> str:
    """An opaque cursor for the sort key of a page's last row, bound to `scope` (route, order and filters)."""
    payload = msgspec.json.encode([_mark(scope), *values])
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()


def decode_cursor(text: str, scope: str, *types: Any) -> tuple[Any, ...]:
    """The values inside a cursor, each of its type. Raises CursorInvalid for anything not made for `scope`."""
    try:
        payload = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        mark, *values = msgspec.json.decode(payload, type=tuple[(str, *types)])  # type: ignore[valid-type]  # the types are values here, as msgspec wants them
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise CursorInvalid("Start again without a cursor.") from error
    if mark != _mark(scope) or not all(map(_fits_a_column, values)):
        raise CursorInvalid("The cursor belongs to another list; start again without it.")
    return tuple(values)


def _fits_a_column(value: CursorValue) -> bool:
    """A cursor is no secret: somebody may have written into it what PostgreSQL would refuse."""
    match value:
        case str():
            return "\x00" not in value
        case int():
            return -(2**63) <= value < 2**63
        case datetime():
            return value.tzinfo is not None and 1 < value.year < 9999
    return True


def _mark(scope: str) -> str:
    return hashlib.blake2b(scope.encode(), digest_size=6).hexdigest()
