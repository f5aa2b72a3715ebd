"""Input taken literally: one JSON decode that refuses what JSON readers disagree on, and types that never coerce.

`"3"` is not 3, `true` is not 1, duplicate keys and NaN are refused, and text that PostgreSQL could not store
(NUL, lone surrogates) never reaches it. Query and path values, being text, are parsed by exact patterns.
"""

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NoReturn, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_DEPTH = 20
MAX_AMOUNT = 1_000_000_000
"""Ten million rupees in paise: 50 items of 99 such amounts still fit a BIGINT."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Unreadable(ValueError):
    """The text is not JSON as RFC 8259 means it, or is JSON on which readers disagree."""


def decode_json(body: bytes) -> Any:
    """Decode a body once, strictly.

    Raises Unreadable for bad UTF-8, NaN and Infinity, numbers beyond a double, duplicate keys, NUL and lone
    surrogates in text, and nesting deeper than 20.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_bounded_int,
        )
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable("The body is not valid JSON.") from error
    _check(value, depth=0)
    return value


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Unreadable("An object names the same key twice.")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not a JSON number.")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Unreadable("A number is too large.")
    return number


def _bounded_int(text: str) -> int:
    if len(text) > 20:
        raise Unreadable("A number is too large.")
    return int(text)


def _check(value: Any, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unreadable("The body is nested too deeply.")
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise Unreadable("A text holds a NUL or half a surrogate pair.")
    elif isinstance(value, dict):
        for key, member in value.items():
            _check(key, depth=depth + 1)
            _check(member, depth=depth + 1)
    elif isinstance(value, list):
        for member in value:
            _check(member, depth=depth + 1)


def _id(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value)
    raise PydanticCustomError("uuid", "must be a UUID in its canonical text form")


def _time(value: Any) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise PydanticCustomError("time", "must be a time like 2026-11-22T10:00:00Z (RFC 3339)")


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with Z, to the microsecond where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _query_integer(value: Any) -> Any:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise PydanticCustomError("integer", "must be a whole number in plain digits")
        return int(value)
    return value


def _query_boolean(value: Any) -> Any:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise PydanticCustomError("boolean", "must be true or false")
        return value == "true"
    return value


def _storable(value: Any) -> Any:
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise PydanticCustomError("text", "must not hold a NUL or half a surrogate pair")
    return value


Id = Annotated[UUID, BeforeValidator(_id)]
Time = Annotated[
    datetime,
    BeforeValidator(_time),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT, description="Minor units (paise).", examples=[149900])]
Quantity = Annotated[int, Field(ge=1, le=99, examples=[2])]
QueryBool = Annotated[bool, BeforeValidator(_query_boolean)]
QueryText = Annotated[str, StringConstraints(max_length=200), BeforeValidator(_storable)]


def query_int(minimum: int, maximum: int) -> Any:
    """A whole number in a query or path, written in plain digits; bounded, so that it fits its column."""
    return Annotated[int, Field(ge=minimum, le=maximum), BeforeValidator(_query_integer)]


QueryInt = query_int(-(2**31), 2**31 - 1)


def text(minimum: int, maximum: int, pattern: str | None = None) -> Any:
    """A text type of bounded length; leading and trailing spaces do not count towards it and are dropped."""
    bounds = StringConstraints(min_length=minimum, max_length=maximum, pattern=pattern, strip_whitespace=True)
    return Annotated[str, bounds, BeforeValidator(_storable)]


Choice = TypeVar("Choice", bound=StrEnum)


def one_of(enum: type[Choice]) -> Any:
    """An enum given as its text: strict models would otherwise want the member itself."""
    names = ", ".join(enum)

    def read(value: Any) -> Choice:
        if isinstance(value, str) and value in enum._value2member_map_:
            return enum(value)
        raise PydanticCustomError("choice", "must be one of {names}", {"names": names})

    return Annotated[enum, BeforeValidator(read)]


class RequestBody(BaseModel):
    """A body that a client sends: exact types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class QueryParams(BaseModel):
    """Query parameters as one model, so that unknown ones are refused: `Annotated[MyQuery, Query()]`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Answer(BaseModel):
    """A body that a client receives. Built from keyword arguments or from attributes.

    What has a default is sent all the same, so the document calls it required.
    """

    model_config = ConfigDict(
        from_attributes=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )
