"""The port to stock and to what orders claim of it, and the one way to move stock.

A `Stockroom` is what can be read and written in one transaction. `postgres_stockroom.py` implements it; the simulation
of the whole checkout (tests/simulation) has a second implementation in memory, and one suite of tests holds for both.

Every process that moves stock passes through here, so two of them never wait for each other in a circle. The order
is: the reservation's row, stock levels by variant id, products by id. Whoever changes a product starts with the
product and takes no stock level after it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from catalog.claims import Claim, Status, Wanted
from catalog.events import StockChanged
from catalog.levels import Entry, Level, Move
from chassis.events import Event


class Stockroom(Protocol):
    """Reservations, stock levels and their ledger within one transaction."""

    async def open_claim(self, order_id: UUID) -> Claim:
        """The order's reservation, made if there is none, locked."""
        ...

    async def find_claim(self, order_id: UUID) -> Claim | None:
        """The order's reservation, locked, if there is one."""
        ...

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
        """Write the new state, one version higher, and its line of history, at the latest with the commit.

        With `items` the reservation is about these from now on; without, about what it was about.
        A cause that is an order's event is remembered as what decided; `put` touches; what is confirmed keeps the
        moment at which it first was.
        """
        ...

    async def lock_levels(self, variant_ids: Iterable[UUID]) -> dict[UUID, Level]:
        """The levels, locked until the transaction ends, by variant id; unknown variants are absent."""
        ...

    async def commit_held(self, held: Wanted, *, order_id: UUID) -> None:
        """Let what is reserved leave the shelf, with its lines of the ledger; what is available stays what it was."""
        ...

    async def move_levels(self, moves: Mapping[UUID, Move]) -> None:
        """Add to the counters of locked levels; where what is available changes, its version rises."""
        ...

    async def enter_ledger(self, entries: Sequence[Entry]) -> None:
        """Write lines of the ledger."""
        ...

    async def refresh_offers(self, product_ids: Collection[UUID]) -> None:
        """Work out what the product list shows of these products."""
        ...

    async def record(self, event: Event, *, subject: UUID, sequence: int, correlation_id: UUID | None = None) -> None:
        """Publish an event when this transaction commits."""
        ...

    async def unconfirmed_holds(self, *, older_than: float, skip: int = 0) -> list[tuple[UUID, int]]:
        """Order ids and holds that no order has confirmed and no request has touched for so many seconds.

        At most `BATCH` of them, the oldest first, leaving out the first `skip`.
        """
        ...

    async def overdue_holds(self, *, older_than: float, skip: int = 0) -> list[UUID]:
        """Orders whose confirmed hold is older than so many seconds, as above."""
        ...


OpenStockroom = Callable[[], AbstractAsyncContextManager[Stockroom]]
"""Opens a transaction: committed at the end of the block, rolled back when it raises."""


async def move_stock(room: Stockroom, *, locked: Mapping[UUID, Level], moves: Mapping[UUID, Move]) -> dict[UUID, Level]:
    """Apply moves to locked levels: counters, ledger, `stock.changed`, and the offers that sold out or came back."""
    moving = {key: move for key, move in sorted(moves.items()) if move.on_hand or move.reserved}
    if not moving:
        return dict(locked)
    await room.move_levels(moving)
    after = {key: _moved(locked[key], move) for key, move in moving.items()}
    entries = [Entry(key, move, after[key].on_hand) for key, move in moving.items() if move.kind is not None]
    if entries:
        await room.enter_ledger(entries)
    changed = [level for level in after.values() if level.available != locked[level.variant_id].available]
    for level in changed:
        await announce_stock(room, level)
    # Only where a variant sold out or came back can the product's offer be another one.
    turned = {
        level.product_id for level in changed if bool(level.available) != bool(locked[level.variant_id].available)
    }
    if turned:
        await room.refresh_offers(turned)
    return {**locked, **after}


def _moved(level: Level, move: Move) -> Level:
    return replace(
        level,
        on_hand=level.on_hand + move.on_hand,
        reserved=level.reserved + move.reserved,
        stock_version=level.stock_version + (move.on_hand != move.reserved),
    )


async def announce_stock(room: Stockroom, level: Level) -> None:
    """Tell the others what is available now."""
    event = StockChanged(
        variant_id=level.variant_id,
        product_id=level.product_id,
        available=level.available,
        stock_version=level.stock_version,
    )
    await room.record(event, subject=level.variant_id, sequence=level.stock_version)
