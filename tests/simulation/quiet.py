"""When something will happen by itself: a shop is quiet once there is nothing of the kind."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from catalog.claims import Status as ReservationStatus
from orders.models import Status as OrderStatus
from payments.models import PaymentStatus, RefundStatus
from tests.simulation.provider import SimulatedProvider
from tests.simulation.rows import Books
from tests.simulation.shop import Settings

UNDER_WAY = (PaymentStatus.CREATING, PaymentStatus.OPEN, PaymentStatus.CLOSING)
NOT_FINAL = (RefundStatus.REQUESTED, RefundStatus.SUBMITTED)
SOON = timedelta(seconds=1)


def next_due(
    books: Books, provider: SimulatedProvider, settings: Settings, *, deadline: datetime | None
) -> datetime | None:
    """The first moment at which something is due, which may have passed; None when all is quiet."""
    moments = [] if deadline is None else [deadline]
    moments += _of_orders(books, settings)
    moments += [row["next_ask_at"] for row in books.ledger.payments.values() if row["status"] in UNDER_WAY]
    moments += [row["next_try_at"] for row in books.ledger.refunds.values() if row["status"] in NOT_FINAL]
    moments += _of_holds(books, settings)
    if _has_unseen_money(books, provider):
        moments.append(books.orders.clock.now + SOON)
    return min(moments, default=None)


def _of_orders(books: Books, settings: Settings) -> Iterator[datetime]:
    for order in books.orders.orders.values():
        if order["status"] is OrderStatus.AWAITING_PAYMENT:
            yield order["deadline"]
        elif order["status"] is OrderStatus.CLOSING:
            yield order["closing_since"] + timedelta(seconds=settings.orders.closing_limit)


def _of_holds(books: Books, settings: Settings) -> Iterator[datetime]:
    for reservation in books.stock.reservations.values():
        if reservation.claim.status is not ReservationStatus.HELD:
            continue
        if reservation.confirmed_at is None:
            yield reservation.touched_at + timedelta(seconds=settings.catalog.orphan_hold_after)
        elif reservation.claim.is_closed:
            yield books.orders.clock.now + SOON


def _has_unseen_money(books: Books, provider: SimulatedProvider) -> bool:
    """Something that the provider knows and payments does not yet."""
    known = {row["provider_payment_id"]: row for row in books.ledger.attempts.values()}
    for payment in provider.all_payments():
        ours = known.get(payment.id)
        if payment.order_id not in books.ledger.provider_orders:
            continue
        if payment.captured and (ours is None or not ours["captured"]):
            return True
    return any(row["refunds_seen"] > row["refunds_checked"] and row["captured"] for row in known.values())
