"""The stock of an order: held while it is placed, committed when it is paid, given back when it closes unpaid.

| #   | from → to                                            | trigger                                   |
|-----|------------------------------------------------------|-------------------------------------------|
| R1  | nothing, held, released → held (shortage: released)  | `hold`, until an order event was seen     |
| R1b | the same → held, confirmed, or commit_failed         | `on_order_placed`                         |
| R2  | held → committed or commit_failed                    | `on_order_paid`                           |
| R3  | held → released, closed                              | `on_order_closed`                         |
| R3b | held, unconfirmed → released                         | `release`, naming the hold it saw         |
| R4  | nothing → released, closed                           | `on_order_closed` came first              |
| R5  | nothing, released, expired, commit_failed → as R2    | `on_order_paid`                           |
| R6  | committed → returned, closed                         | `on_order_closed` by a cancellation       |
| R7  | held, confirmed → expired                            | `expire`, its order is closed or lost     |

The event, not the PUT, is the truth: `order.placed` and `order.paid` carry the order's items, and the reservation is
made equal to them. Any other event in any other state changes nothing; a closed reservation ignores everything.
Every step locks the reservation first, then stock levels in the order of variant ids (`stockroom.py`).
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from catalog.claims import Claim, Status, Wanted
from catalog.errors import ReservationDecided
from catalog.events import MissingStock, StockCommitFailed, StockCommitted, StockReleased, StockReturned
from catalog.levels import Level, Move
from catalog.stockroom import Stockroom, move_stock
from chassis.events import Event
from chassis.telemetry import get_logger


@dataclass(frozen=True, slots=True)
class Shortage:
    """What cannot be supplied of one variant."""

    variant_id: UUID
    wanted: int
    available: int
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """Everything asked for is held; `levels` are the variants in the order asked."""

    hold: int
    levels: tuple[Level, ...]


async def hold(room: Stockroom, *, order_id: UUID, wanted: Wanted) -> Held | list[Shortage]:
    """R1: hold all of it, or nothing. Raises ReservationDecided once an event of the order was seen.

    A shortage is an outcome to be committed, not an exception: what was held before must not stay held.
    """
    claim = await room.open_claim(order_id)
    if claim.is_decided:
        raise ReservationDecided("The order was placed or closed already; read it by its id.")
    levels, shortages = await _take(room, claim, wanted, only_sellable=True)
    status = Status.RELEASED if shortages else Status.HELD
    await room.transition(claim, status, cause="put", items=wanted, hold=claim.hold + 1)
    return shortages or Held(claim.hold + 1, tuple(levels[variant_id] for variant_id in wanted))


async def release(room: Stockroom, *, order_id: UUID, hold: int, cause: str = "release") -> bool:
    """R3b: give back the hold its sender saw, unless it was confirmed or taken over; whether it was given back."""
    claim = await room.find_claim(order_id)
    if claim is None or claim.status is not Status.HELD or claim.hold != hold or claim.is_decided:
        return False
    await _give_back(room, claim)
    await room.transition(claim, Status.RELEASED, cause=cause)
    return True


async def on_order_placed(room: Stockroom, *, order_id: UUID, items: Wanted) -> bool:
    """R1b: the order exists, so its hold is confirmed, made anew, or has failed. False: nothing to do."""
    claim = await room.open_claim(order_id)
    if claim.is_decided:
        return False
    # A hold that is what the order says touches no level: only the reservation is confirmed.
    _, shortages = await _take(room, claim, items) if claim.held != items else ({}, [])
    status = Status.COMMIT_FAILED if shortages else Status.HELD
    await room.transition(claim, status, cause="order.placed", items=items, is_confirmed=True)
    if shortages:
        await _announce_failure(room, claim, cause="placed", shortages=shortages)
    return True


async def on_order_paid(room: Stockroom, *, order_id: UUID, items: Wanted) -> bool:
    """R2, R5: the stock leaves the shelf, from the hold or, where that is gone, from what is there."""
    claim = await room.open_claim(order_id)
    if claim.is_closed or claim.status in (Status.COMMITTED, Status.RETURNED):
        return False
    shortages: list[Shortage] = []
    if claim.held == items:
        await room.commit_held(items, order_id=order_id)
    else:
        _, shortages = await _take(room, claim, items, leave_shelf=True)
    status = Status.COMMIT_FAILED if shortages else Status.COMMITTED
    await room.transition(claim, status, cause="order.paid", items=items, is_confirmed=True)
    if shortages:
        await _announce_failure(room, claim, cause="paid", shortages=shortages)
    else:
        await _announce(room, claim, StockCommitted(order_id=order_id))
    return True


async def on_order_closed(room: Stockroom, *, order_id: UUID, by: Literal["cancelled", "expired"]) -> bool:
    """R3, R4, R6: whatever the order still has comes back, and nothing after it counts."""
    claim = await room.open_claim(order_id)
    if claim.is_closed:
        return False
    status = claim.status
    event: Event | None = None
    if claim.status is Status.HELD:
        await _give_back(room, claim)
        status, event = Status.RELEASED, StockReleased(order_id=order_id)
    elif claim.status is Status.COMMITTED and by == "cancelled":
        await _return(room, claim)
        status, event = Status.RETURNED, StockReturned(order_id=order_id)
    elif claim.status is Status.COMMITTED:
        get_logger().error("paid order expired: its stock stays committed", order_id=str(order_id))
    await room.transition(claim, status, cause=f"order.{by}", is_confirmed=True, is_closed=True)
    if event is not None:
        await _announce(room, claim, event)
    return True


async def expire(room: Stockroom, *, order_id: UUID) -> bool:
    """R7: a confirmed hold whose order is closed or lost, though no event said so; whether it was given back."""
    claim = await room.find_claim(order_id)
    if claim is None or claim.status is not Status.HELD or claim.decided_by is None or claim.is_closed:
        return False
    await _give_back(room, claim)
    await room.transition(claim, Status.EXPIRED, cause="expired_hold", is_confirmed=True)
    return True


async def _take(
    room: Stockroom, claim: Claim, wanted: Wanted, *, only_sellable: bool = False, leave_shelf: bool = False
) -> tuple[dict[UUID, Level], list[Shortage]]:
    """Give back what the claim holds and take what is wanted, all of it or nothing.

    `only_sellable`: a withdrawn variant counts as missing; an order that exists is supplied nevertheless.
    """
    own = claim.held
    levels = await room.lock_levels({*own, *wanted})
    shortages = []
    for variant_id, quantity in wanted.items():
        level = levels.get(variant_id)
        if level is None or (only_sellable and not level.is_sellable):
            shortages.append(Shortage(variant_id, quantity, 0, is_unknown=True))
        elif level.available + own.get(variant_id, 0) < quantity:
            shortages.append(Shortage(variant_id, quantity, level.available + own.get(variant_id, 0)))
    taken = {} if shortages else wanted
    moves = {}
    for variant_id in levels:
        back, quantity = own.get(variant_id, 0), taken.get(variant_id, 0)
        if leave_shelf and quantity:
            moves[variant_id] = Move(-quantity, -back, "committed", order_id=claim.order_id)
        else:
            moves[variant_id] = Move(reserved=quantity - back)
    levels = await move_stock(room, locked=levels, moves=moves)
    return levels, shortages


async def _give_back(room: Stockroom, claim: Claim) -> None:
    levels = await room.lock_levels(claim.items)
    moves = {key: Move(reserved=-quantity) for key, quantity in claim.items.items()}
    await move_stock(room, locked=levels, moves=moves)


async def _return(room: Stockroom, claim: Claim) -> None:
    levels = await room.lock_levels(claim.items)
    moves = {key: Move(quantity, kind="returned", order_id=claim.order_id) for key, quantity in claim.items.items()}
    await move_stock(room, locked=levels, moves=moves)


async def _announce(room: Stockroom, claim: Claim, event: Event) -> None:
    await room.record(event, subject=claim.order_id, sequence=claim.version + 1, correlation_id=claim.order_id)


async def _announce_failure(
    room: Stockroom, claim: Claim, *, cause: Literal["placed", "paid"], shortages: list[Shortage]
) -> None:
    missing = [MissingStock(variant_id=s.variant_id, wanted=s.wanted, available=s.available) for s in shortages]
    await _announce(room, claim, StockCommitFailed(order_id=claim.order_id, cause=cause, shortages=missing))
