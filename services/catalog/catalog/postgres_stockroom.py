"""Stock in PostgreSQL: the statements are in `claims.py` and `levels.py`."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from catalog import claims, levels
from catalog.claims import Claim, Status, Wanted
from catalog.levels import Entry, Level, Move
from catalog.offers import refresh_offers
from catalog.stockroom import OpenStockroom, Stockroom
from chassis.database import Database
from chassis.events import Event
from chassis.outbox import record


@dataclass(frozen=True, slots=True)
class PostgresStockroom:
    """Implements `Stockroom` in a session's transaction."""

    session: AsyncSession

    async def open_claim(self, order_id: UUID) -> Claim:
        """Locks the row."""
        return await claims.open_claim(self.session, order_id)

    async def find_claim(self, order_id: UUID) -> Claim | None:
        """Locks the row."""
        return await claims.find_claim(self.session, order_id)

    async def transition(
        self,
        claim: Claim,
        status: Status,
        *,
        cause: str,
        items: Wanted | None = None,
        hold: int | None = None,
        is_confirmed: bool = False,
        is_closed: bool = False,
    ) -> None:
        """One statement, which goes with the commit."""
        claims.transition(
            self.session,
            claim,
            status,
            cause=cause,
            items=items,
            hold=hold,
            is_confirmed=is_confirmed,
            is_closed=is_closed,
        )

    async def lock_levels(self, variant_ids: Iterable[UUID]) -> dict[UUID, Level]:
        """Locks the rows in the order of their ids."""
        return await levels.lock_levels(self.session, variant_ids)

    async def commit_held(self, held: Wanted, *, order_id: UUID) -> None:
        """One statement, which locks the rows in the order of their ids."""
        await levels.commit_held(self.session, held, order_id=order_id)

    async def move_levels(self, moves: Mapping[UUID, Move]) -> None:
        """One statement."""
        await levels.move_levels(self.session, moves)

    async def enter_ledger(self, entries: Sequence[Entry]) -> None:
        """One statement."""
        await levels.enter_ledger(self.session, entries)

    async def refresh_offers(self, product_ids: Collection[UUID]) -> None:
        """Locks the products, which come last in the order of locks."""
        await refresh_offers(self.session, product_ids, lock=True)

    async def record(self, event: Event, *, subject: UUID, sequence: int, correlation_id: UUID | None = None) -> None:
        """A row of the outbox."""
        await record(self.session, event, subject=subject, sequence=sequence, correlation_id=correlation_id)

    async def unconfirmed_holds(self, *, older_than: float, skip: int = 0) -> list[tuple[UUID, int]]:
        """By a partial index."""
        return await claims.unconfirmed_holds(self.session, older_than=older_than, skip=skip)

    async def overdue_holds(self, *, older_than: float, skip: int = 0) -> list[UUID]:
        """By a partial index."""
        return await claims.overdue_holds(self.session, older_than=older_than, skip=skip)


def stockroom_of(database: Database) -> OpenStockroom:
    """Opens a transaction of the database."""

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Stockroom]:
        async with database.transaction() as session:
            yield PostgresStockroom(session)

    return transaction
