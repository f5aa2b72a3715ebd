"""What orders listens to: event → what orders reads of it → what happens. Anything that changes nothing is counted."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.events import Reader, Subscription
from orders import payment_outcome as payment
from orders import stock_outcome as stock
from orders.order_book import OrderBook
from orders.postgres_orders import PostgresOrderBook

Process = Callable[[OrderBook, Any], Awaitable[bool]]
"""Applies an event; whether it changed anything."""

LISTENS_TO: tuple[tuple[str, type[Reader], Process], ...] = (
    ("stock.committed.v1", stock.StockAnswer, stock.on_stock_committed),
    ("stock.commit_failed.v1", stock.CommitFailed, stock.on_commit_failed),
    ("stock.released.v1", stock.StockAnswer, stock.on_stock_released),
    ("stock.returned.v1", stock.StockAnswer, stock.on_stock_returned),
    ("payment.captured.v1", payment.PaymentCaptured, payment.on_payment_captured),
    ("payment.failed.v1", payment.PaymentFailed, payment.on_payment_failed),
    ("payment.intent_closed.v1", payment.IntentClosed, payment.on_intent_closed),
    ("refund.submitted.v1", payment.RefundReport, payment.on_refund_submitted),
    ("refund.processed.v1", payment.RefundReport, payment.on_refund_processed),
    ("refund.failed.v1", payment.RefundReport, payment.on_refund_failed),
)


def subscriptions(on_no_effect: Callable[[str], None]) -> tuple[Subscription, ...]:
    """The table for the inbox; `on_no_effect` is told the type of each event that changed nothing."""
    return tuple(
        Subscription(event, reader, _counting(event, process, on_no_effect)) for event, reader, process in LISTENS_TO
    )


def _counting(
    event: str, process: Process, on_no_effect: Callable[[str], None]
) -> Callable[[AsyncSession, Any], Awaitable[None]]:
    async def handle(session: AsyncSession, read: Any) -> None:
        if not await process(PostgresOrderBook(session), read):
            on_no_effect(event)

    return handle
