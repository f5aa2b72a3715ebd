"""Stock in memory: a second implementation of `catalog.stockroom`, with the constraints of the tables."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from catalog.claims import BATCH, Claim, Status, Wanted
from catalog.levels import Entry, Level, Move
from chassis.events import Event
from tests.simulation.clock import Clock
from tests.simulation.memory import Transaction


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation with its items."""

    claim: Claim
    touched_at: datetime
    confirmed_at: datetime | None = None


class StockTables:
    """The committed rows."""

    def __init__(self, clock: Clock, levels: Iterable[Level]) -> None:
        self.clock = clock
        self.reservations: dict[UUID, Reservation] = {}
        self.history: list[tuple[UUID, str | None, str, str, int]] = []
        self.levels = {level.variant_id: level for level in levels}
        self.movements: list[tuple[UUID, str, int, int]] = []


class MemoryStockroom:
    """Implements `Stockroom`."""

    def __init__(self, tables: StockTables, transaction: Transaction) -> None:
        self.tables = tables
        self.transaction = transaction

    async def open_claim(self, order_id: UUID) -> Claim:
        """Made if there is none."""
        found = self.tables.reservations.get(order_id)
        if found is None:
            found = Reservation(Claim(order_id, Status.RELEASED, 0, 0, None, False, {}), self.tables.clock.now)
            self.transaction.put(self.tables.reservations, order_id, found)
        return found.claim

    async def find_claim(self, order_id: UUID) -> Claim | None:
        """If there is one."""
        found = self.tables.reservations.get(order_id)
        return found.claim if found else None

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
        """As the statement does."""
        found, now = self.tables.reservations[claim.order_id], self.tables.clock.now
        hold = claim.hold if hold is None else hold
        after = replace(
            found.claim,
            status=status,
            hold=hold,
            version=found.claim.version + 1,
            is_closed=is_closed,
            decided_by=cause if cause.startswith("order.") else found.claim.decided_by,
            items=found.claim.items if items is None else dict(items),
        )
        touched_at = now if cause == "put" else found.touched_at
        confirmed_at = (found.confirmed_at or now) if is_confirmed else None
        self.transaction.put(self.tables.reservations, claim.order_id, Reservation(after, touched_at, confirmed_at))
        before = claim.status.value if claim.version else None
        self.transaction.add(self.tables.history, (claim.order_id, before, status.value, cause, hold))

    async def lock_levels(self, variant_ids: Iterable[UUID]) -> dict[UUID, Level]:
        """In the order of their ids."""
        return {key: self.tables.levels[key] for key in sorted(set(variant_ids)) if key in self.tables.levels}

    async def commit_held(self, held: Wanted, *, order_id: UUID) -> None:
        """What is reserved leaves the shelf."""
        for key, quantity in sorted(held.items()):
            self._move(key, on_hand=-quantity, reserved=-quantity)
            on_hand = self.tables.levels[key].on_hand
            self.transaction.add(self.tables.movements, (key, "committed", -quantity, on_hand))

    async def move_levels(self, moves: Mapping[UUID, Move]) -> None:
        """Added to the counters."""
        for key, move in moves.items():
            self._move(key, on_hand=move.on_hand, reserved=move.reserved)

    def _move(self, variant_id: UUID, *, on_hand: int, reserved: int) -> None:
        level = self.tables.levels[variant_id]
        after = replace(
            level,
            on_hand=level.on_hand + on_hand,
            reserved=level.reserved + reserved,
            stock_version=level.stock_version + (on_hand != reserved),
        )
        if not 0 <= after.reserved <= after.on_hand:
            self.transaction.refuse("ck_stock_levels_never_oversold")
        self.transaction.put(self.tables.levels, variant_id, after)

    async def enter_ledger(self, entries: Sequence[Entry]) -> None:
        """Lines of the ledger."""
        for entry in entries:
            line = (entry.variant_id, str(entry.move.kind), entry.move.on_hand, entry.on_hand)
            self.transaction.add(self.tables.movements, line)

    async def refresh_offers(self, product_ids: Collection[UUID]) -> None:
        """There is no product list here."""

    async def record(self, event: Event, *, subject: UUID, sequence: int, correlation_id: UUID | None = None) -> None:
        """Published with the commit."""
        self.transaction.events.append((event, subject, sequence, correlation_id or subject))

    async def unconfirmed_holds(self, *, older_than: float, skip: int = 0) -> list[tuple[UUID, int]]:
        """Sorted as the statement does."""
        since = self.tables.clock.now - timedelta(seconds=older_than)
        found = [
            row
            for row in self.tables.reservations.values()
            if row.claim.status is Status.HELD and row.confirmed_at is None and row.touched_at < since
        ]
        found.sort(key=lambda row: (row.touched_at, row.claim.order_id))
        return [(row.claim.order_id, row.claim.hold) for row in found[skip:][:BATCH]]

    async def overdue_holds(self, *, older_than: float, skip: int = 0) -> list[UUID]:
        """Sorted as the statement does."""
        since = self.tables.clock.now - timedelta(seconds=older_than)
        found = [
            (row.confirmed_at, row.claim.order_id)
            for row in self.tables.reservations.values()
            if row.claim.status is Status.HELD and row.confirmed_at is not None and row.confirmed_at < since
        ]
        return [order_id for _, order_id in sorted(found)[skip:][:BATCH]]
