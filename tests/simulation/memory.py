"""Tables in memory, with transactions that can be undone.

A row is replaced and never changed, so what a transaction must remember is the row that was there before. Nobody else
runs between a transaction's first write and its end (`interleaving.py`), as nobody gets past a row lock in PostgreSQL.
"""

from collections.abc import Hashable
from typing import Any, NoReturn, TypeVar

import asyncpg

Row = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)
_NOTHING: Any = object()


class Transaction:
    """What was done in memory, and how to undo it; and what is published and remembered when it is kept."""

    def __init__(self, refused: list[str]) -> None:
        self._refused = refused
        self._undo: list[tuple[Any, Any, Any]] = []
        self.events: list[tuple[Any, Any, Any, Any]] = []
        self.received: list[tuple[str, str]] = []

    def put(self, table: dict[Key, Any], key: Key, row: Any) -> None:
        """Write a row."""
        self._undo.append((table, key, table.get(key, _NOTHING)))
        table[key] = row

    def add(self, lines: list[Any], line: Any) -> None:
        """Add a line to a history."""
        self._undo.append((lines, None, None))
        lines.append(line)

    def change(self, table: dict[Key, Row], key: Key, **changes: Any) -> None:
        """Write some columns of a row."""
        self.put(table, key, {**table[key], **changes})

    @property
    def has_written(self) -> bool:
        """Whether it holds locks."""
        return bool(self._undo)

    def refuse(self, constraint: str) -> NoReturn:
        """As PostgreSQL refuses a row. No decision may come to this, so it is remembered beyond the rollback."""
        self._refused.append(constraint)
        raise asyncpg.CheckViolationError(constraint)

    def roll_back(self) -> None:
        """As if nothing had happened."""
        for table, key, before in reversed(self._undo):
            if key is None:
                table.pop()
            elif before is _NOTHING:
                del table[key]
            else:
                table[key] = before
        self._undo.clear()
