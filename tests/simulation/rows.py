"""Where the rows of a simulated shop are kept: a port with two implementations, in memory here, PostgreSQL beside."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from catalog.levels import Level
from catalog.stockroom import Stockroom
from chassis.events import Event
from orders.known_orders import KnownOrders
from orders.models import Order
from orders.order_book import OrderBook
from payments.ledger import Ledger
from tests.simulation.clock import Clock
from tests.simulation.memory import Transaction
from tests.simulation.memory_ledger import LedgerTables, MemoryLedger
from tests.simulation.memory_orders import MemoryOrderBook, OrderTables, Pause
from tests.simulation.memory_stock import MemoryStockroom, StockTables


@dataclass(eq=False)
class Letter:
    """An event on its way to one consumer."""

    id: str
    type: str
    subject: str
    sequence: int
    data: dict[str, Any]


@dataclass(frozen=True)
class Books:
    """Every row of three services."""

    orders: OrderTables
    stock: StockTables
    ledger: LedgerTables
    refused: list[str] = field(default_factory=list)
    """Constraints that a decision ran into."""


class Rows(Protocol):
    """What a simulated shop needs of whoever keeps its rows."""

    are_read_for_nothing: bool
    """So cheap to read that they can be checked after every step."""

    def orders(self, pause: Pause) -> AbstractAsyncContextManager[OrderBook]:
        """A transaction of orders; `pause` is awaited after a read that locks nothing."""
        ...

    def stock(self) -> AbstractAsyncContextManager[Stockroom]:
        """A transaction of catalog."""
        ...

    def ledger(self) -> AbstractAsyncContextManager[Ledger]:
        """A transaction of payments."""
        ...

    async def known(self, user_id: UUID, order_id: UUID) -> KnownOrders:
        """A read of orders without a transaction."""
        ...

    async def read(self, order_id: UUID) -> Order | None:
        """A read of orders without a transaction."""
        ...

    async def receive(self, book: Any, consumer: str, letter: Letter) -> bool:
        """Note an event in the consumer's inbox, in the transaction of this book; whether it is new."""
        ...

    async def published(self, service: str) -> list[Letter]:
        """What the service's commits have published since the last look."""
        ...

    async def books(self) -> Books:
        """Every committed row."""
        ...

    async def show_time(self, clock: Clock) -> None:
        """Let the rows be compared with this time from now on."""
        ...


class MemoryRows:
    """Rows in memory. A planted bug is another class for one of the books."""

    are_read_for_nothing = True

    def __init__(
        self,
        clock: Clock,
        levels: list[Level],
        *,
        order_book: type[MemoryOrderBook] = MemoryOrderBook,
        stockroom: type[MemoryStockroom] = MemoryStockroom,
        ledger: type[MemoryLedger] = MemoryLedger,
    ) -> None:
        self._books = Books(OrderTables(clock), StockTables(clock, levels), LedgerTables(clock))
        self._order_book, self._stockroom, self._ledger = order_book, stockroom, ledger
        self._published: dict[str, list[Letter]] = {"orders": [], "catalog": [], "payments": []}
        self._inbox: set[tuple[str, str]] = set()
        self._count = 0

    @asynccontextmanager
    async def orders(self, pause: Pause) -> AsyncIterator[OrderBook]:
        """Undone when the block raises."""
        transaction = Transaction(self._books.refused)
        try:
            yield self._order_book(self._books.orders, transaction, pause)
        except BaseException:
            transaction.roll_back()
            raise
        self._commit("orders", transaction)

    @asynccontextmanager
    async def stock(self) -> AsyncIterator[Stockroom]:
        """Undone when the block raises."""
        transaction = Transaction(self._books.refused)
        try:
            yield self._stockroom(self._books.stock, transaction)
        except BaseException:
            transaction.roll_back()
            raise
        self._commit("catalog", transaction)

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[Ledger]:
        """Undone when the block raises."""
        transaction = Transaction(self._books.refused)
        try:
            yield self._ledger(self._books.ledger, transaction)
        except BaseException:
            transaction.roll_back()
            raise
        self._commit("payments", transaction)

    def _commit(self, service: str, transaction: Transaction) -> None:
        self._inbox.update(transaction.received)
        for event, subject, sequence, _ in transaction.events:
            self._published[service].append(self._letter(event, subject, sequence))

    def _letter(self, event: Event, subject: UUID, sequence: int) -> Letter:
        self._count += 1
        return Letter(str(self._count), event.type, str(subject), sequence, event.model_dump(mode="json"))

    async def known(self, user_id: UUID, order_id: UUID) -> KnownOrders:
        """From the committed rows."""
        return self._books.orders.known(user_id, order_id)

    async def read(self, order_id: UUID) -> Order | None:
        """From the committed rows."""
        return self._books.orders.copy(order_id)

    async def receive(self, book: Any, consumer: str, letter: Letter) -> bool:
        """Kept with the commit."""
        received = (consumer, letter.id)
        if received in self._inbox:
            return False
        book.transaction.received.append(received)
        return True

    async def published(self, service: str) -> list[Letter]:
        """And forgotten."""
        found, self._published[service] = self._published[service], []
        return found

    async def books(self) -> Books:
        """As they are."""
        return self._books

    async def show_time(self, clock: Clock) -> None:
        """It is the same clock."""
