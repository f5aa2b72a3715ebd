"""Statements that run for every request and every message, sent by the driver itself.

SQLAlchemy's asynchronous way to send a statement costs some 100 µs of Python more than asyncpg's. What is sent through
the driver's connection commits and rolls back with the rest of the session's transaction.
"""

import re
from collections.abc import Iterable
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.transactions import TRANSACTION, Transaction


async def driver_connection(session: AsyncSession) -> asyncpg.Connection:
    """Asyncpg's connection, in the transaction of this session. Not to be kept beyond it."""
    transaction: Transaction = session.info[TRANSACTION]
    return await transaction.driver()


async def begin_with(session: AsyncSession, statement: str) -> str:
    """Begin the session's transaction with a statement of literals, in one round trip; what it did: "INSERT 0 1"."""
    transaction: Transaction = session.info[TRANSACTION]
    return await transaction.begin_with(statement)


def end_with(session: AsyncSession, statement: str, *values: object) -> None:
    """Let the commit take a statement along, after those before it, all in one round trip. What it does is not told.

    Its `$1`, `$2` become literals of the values: where nothing else tells the type, it is to be cast, as `$1::uuid[]`.
    """
    filled = re.sub(r"\$(\d+)", lambda place: _literal(values[int(place[1]) - 1]), statement)
    session.info[TRANSACTION].last_statements.append(filled)


def row_of_literals(values: Iterable[object]) -> str:
    """A row of values in a statement without parameters. Raises TypeError for other types."""
    return f"({', '.join(map(_literal, values))})"


def _literal(value: object) -> str:
    """Texts go as hexadecimal digits, so that none is ever read as SQL."""
    match value:
        case None:
            return "NULL"
        case list():
            return f"ARRAY[{', '.join(map(_literal, value))}]"
        case int():
            return str(value)
        case UUID():
            return f"'{value}'"
        case bytes():
            return f"decode('{value.hex()}', 'hex')"
        case str():
            return f"convert_from(decode('{value.encode().hex()}', 'hex'), 'UTF8')"
    raise TypeError(type(value))
