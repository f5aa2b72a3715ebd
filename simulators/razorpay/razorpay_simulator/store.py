"""The ledger on disk: SQLite in WAL mode, so that whatever was answered survives a killed process."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from razorpay_simulator.records import Delivery, Event, Order, Payment, Refund, RefundKey, Webhook

Record = TypeVar("Record", Order, Payment, Refund, RefundKey, Webhook, Event, Delivery)
Value = str | int | float | None


class Table(Generic[Record]):
    """Records of one kind as JSON documents, beside the few columns they are looked up by."""

    def __init__(
        self, connection: sqlite3.Connection, kind: type[Record], *, name: str, columns: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._connection = connection
        self._columns: tuple[str, ...] = ("id", *columns)
        self._decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(kind)
        names, marks = ", ".join(self._columns), ", ".join("?" for _ in self._columns)
        changes = ", ".join(f"{column} = excluded.{column}" for column in (*columns, "document"))
        self._select = f"SELECT document FROM {name}"  # noqa: S608 - the name is a constant of this module
        self._upsert = (
            f"INSERT INTO {name} ({names}, document) VALUES ({marks}, ?) "  # noqa: S608 - as above
            f"ON CONFLICT (id) DO UPDATE SET {changes}"
        )

    def create(self) -> None:
        columns = "".join(f", {column}" for column in self._columns[1:])
        self._connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self.name} "
            f"(position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE{columns}, document BLOB NOT NULL)"
        )
        for column in self._columns[1:]:
            self._connection.execute(f"CREATE INDEX IF NOT EXISTS {self.name}_{column} ON {self.name} ({column})")

    def get(self, id: str) -> Record | None:
        row = self._connection.execute(f"{self._select} WHERE id = ?", (id,)).fetchone()
        return None if row is None else self._decoder.decode(row[0])

    def save(self, record: Record) -> None:
        keys: list[Value] = [getattr(record, column) for column in self._columns]
        self._connection.execute(self._upsert, (*keys, msgspec.json.encode(record)))

    def delete(self, id: str) -> None:
        self._connection.execute(f"DELETE FROM {self.name} WHERE id = ?", (id,))  # noqa: S608 - as above

    def where(self, condition: str = "TRUE", values: Sequence[Value] = (), *, order: str = "position") -> list[Record]:
        rows = self._connection.execute(f"{self._select} WHERE {condition} ORDER BY {order}", values)
        return [self._decoder.decode(row[0]) for row in rows]


class Store:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection = self.connection
        self.orders = Table(connection, Order, name="orders", columns=("receipt", "created_at"))
        self.payments = Table(connection, Payment, name="payments", columns=("order_id", "status", "created_at"))
        self.refunds = Table(connection, Refund, name="refunds", columns=("payment_id", "created_at"))
        self.refund_keys = Table(connection, RefundKey, name="refund_keys")
        self.webhooks = Table(connection, Webhook, name="webhooks")
        self.events = Table(connection, Event, name="events")
        self.deliveries = Table(connection, Delivery, name="deliveries", columns=("status", "due_at", "webhook_id"))
        self.next_deadline: float | None = None

    @classmethod
    def open(cls, folder: Path) -> "Store":
        folder.mkdir(parents=True, exist_ok=True)
        store = cls(folder / "ledger.sqlite3")
        connection = store.connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA busy_timeout = 5000")
        with store.transaction():
            for table in store._tables():
                table.create()
            connection.execute("CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS deadlines "
                "(position INTEGER PRIMARY KEY, due_at REAL NOT NULL, kind TEXT NOT NULL,"
                " subject TEXT NOT NULL)"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS deadlines_due_at ON deadlines (due_at)")
        store._look_ahead()
        return store

    def _tables(
        self,
    ) -> tuple[
        Table[Order]
        | Table[Payment]
        | Table[Refund]
        | Table[RefundKey]
        | Table[Webhook]
        | Table[Event]
        | Table[Delivery],
        ...,
    ]:
        return (
            self.orders,
            self.payments,
            self.refunds,
            self.refund_keys,
            self.webhooks,
            self.events,
            self.deliveries,
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. A transaction inside another one is part of it."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            self._look_ahead()
            raise
        self.connection.execute("COMMIT")

    def snapshot(self) -> "Store":
        """The ledger as it is now, and as it will look through this store however much is written later."""
        past = Store(self.path)
        past.connection.execute("PRAGMA query_only = ON")
        past.connection.execute("BEGIN")
        past.connection.execute("SELECT count(*) FROM memory").fetchone()
        return past

    def close(self) -> None:
        self.connection.close()

    def remember(self, name: str, value: str) -> None:
        self.connection.execute(
            "INSERT INTO memory VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def recall(self, name: str) -> str | None:
        row = self.connection.execute("SELECT value FROM memory WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def schedule(self, kind: str, *, subject: str, due_at: float) -> None:
        self.connection.execute(
            "INSERT INTO deadlines (due_at, kind, subject) VALUES (?, ?, ?)", (due_at, kind, subject)
        )
        self.next_deadline = due_at if self.next_deadline is None else min(due_at, self.next_deadline)

    def take_deadline(self, until: float) -> tuple[float, str, str] | None:
        """Remove and return the earliest deadline that is not after `until`."""
        if self.next_deadline is None or self.next_deadline > until:
            return None
        row = self.connection.execute(
            "DELETE FROM deadlines WHERE position = "
            "(SELECT position FROM deadlines WHERE due_at <= ? ORDER BY due_at, position LIMIT 1) "
            "RETURNING due_at, kind, subject",
            (until,),
        ).fetchone()
        self._look_ahead()
        return None if row is None else (float(row[0]), str(row[1]), str(row[2]))

    def _look_ahead(self) -> None:
        row = self.connection.execute("SELECT min(due_at) FROM deadlines").fetchone()
        self.next_deadline = None if row[0] is None else float(row[0])
