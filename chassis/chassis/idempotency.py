"""Idempotency-Key: the same request again gets the first answer again (IETF draft-ietf-httpapi-idempotency-key-header).

The key's row is written in the transaction of the effect itself. A second request with the same key waits on the
unique index until the first has committed, then replays its answer, or, when the first was rolled back, runs.
So there is no "in flight" state that a crash could leave behind.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from sqlalchemy import Column, DateTime, Index, LargeBinary, MetaData, SmallInteger, Table, Text, delete, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from chassis.plain_sql import driver_connection
from chassis.problems import Busy, IdempotencyKeyInvalid, IdempotencyKeyReused

KEPT = timedelta(hours=48)
REPLAYED_HEADERS = ("content-type", "location", "etag")
_NAME = "idempotency_keys"


def idempotency_table(metadata: MetaData) -> Table:
    """Keys and the answers that were given for them."""
    if _NAME in metadata.tables:
        return metadata.tables[_NAME]
    return Table(
        _NAME,
        metadata,
        Column("caller", Text, primary_key=True),
        Column("route", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("status", SmallInteger),
        Column("headers", LargeBinary),
        Column("body", LargeBinary),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )


KEYS = idempotency_table(MetaData())


def read_key(header: str | None) -> str | None:
    """The key without the optional quotes of the draft. Raises IdempotencyKeyInvalid."""
    if header is None:
        return None
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", key):
        raise IdempotencyKeyInvalid("Send 1 to 128 visible ASCII characters as Idempotency-Key.")
    return key


def fingerprint(*parts: bytes) -> bytes:
    """What makes two requests the same: method, path and body."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One use of a key."""

    caller: str
    route: str
    key: str
    fingerprint: bytes


async def claim(session: AsyncSession, attempt: Attempt) -> Response | None:
    """Take the key for this transaction; the stored answer when it was used before.

    Raises IdempotencyKeyReused when it was used for something else.
    """
    connection = await driver_connection(session)
    name = (attempt.caller, attempt.route, attempt.key)
    if await connection.fetchval(_CLAIM, *name, attempt.fingerprint):
        return None
    stored = await connection.fetchrow(_STORED, *name)
    if stored is None:
        raise Busy("This key has just been forgotten; repeat the request.")
    if stored["fingerprint"] != attempt.fingerprint:
        raise IdempotencyKeyReused("This key was used for another request; choose a new one.")
    headers = msgspec.json.decode(stored["headers"])
    answer = Response(stored["body"], status_code=stored["status"], headers=headers)
    answer.headers["idempotency-replayed"] = "true"
    return answer


async def remember(session: AsyncSession, attempt: Attempt, response: Response) -> None:
    """Keep the answer; it becomes visible with the effect, in the same commit."""
    headers = {name: response.headers[name] for name in REPLAYED_HEADERS if name in response.headers}
    answer = (response.status_code, msgspec.json.encode(headers), bytes(response.body))
    connection = await driver_connection(session)
    await connection.execute(_REMEMBER, attempt.caller, attempt.route, attempt.key, *answer)


_CLAIM = """
INSERT INTO idempotency_keys (caller, route, key, fingerprint) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING true"""

_STORED = """
SELECT fingerprint, status, headers, body FROM idempotency_keys WHERE caller = $1 AND route = $2 AND key = $3"""

_REMEMBER = """
UPDATE idempotency_keys SET status = $4, headers = $5, body = $6 WHERE caller = $1 AND route = $2 AND key = $3"""


async def forget_old(session: AsyncSession) -> int:
    """Delete keys older than 48 hours. Returns how many."""
    result = await session.execute(delete(KEYS).where(KEYS.c.created_at < func.clock_timestamp() - KEPT))
    return int(result.rowcount)  # type: ignore[attr-defined]  # a DELETE's result is a CursorResult
