"""What a client sees of a payment."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import db_now
from chassis.money import Money
from payments.errors import PaymentNotFound
from payments.models import Attempt, Payment, PaymentStatus, ProviderOrder, Refund, RefundStatus
from payments.opening import Lease
from payments.payment_rows import NO_CURRENCY
from payments.schemas import AttemptAnswer, AttemptError, CheckoutAnswer, PaymentAnswer, PaymentState, RefundAnswer
from payments.settings import PaymentsSettings

_PUBLIC: dict[PaymentStatus, PaymentState] = {
    PaymentStatus.NEW: "preparing",
    PaymentStatus.CREATING: "preparing",
    PaymentStatus.OPEN: "open",
    PaymentStatus.CLOSING: "closing",
    PaymentStatus.CLOSED: "closed",
}


async def find_payment(session: AsyncSession, payment_id: UUID, *, user_id: UUID | None) -> Payment:
    """A payment of this user, or anybody's for staff (None). Raises PaymentNotFound."""
    payment = await session.get(Payment, payment_id)
    if payment is None or not _may_see(payment, user_id):
        raise PaymentNotFound("There is no such payment among yours.")
    return payment


async def payment_of_order(session: AsyncSession, order_id: UUID, *, user_id: UUID | None) -> Payment | None:
    """The payment of an order, if this user may see it."""
    payment = await session.scalar(select(Payment).where(Payment.order_id == order_id))
    if payment is None or not _may_see(payment, user_id):
        return None
    return payment


def _may_see(payment: Payment, user_id: UUID | None) -> bool:
    """A tombstone is nobody's; staff (None) see all else, also what was taken for an order that is lost."""
    if user_id is None:
        return payment.currency != NO_CURRENCY
    return payment.user_id == user_id


async def describe(session: AsyncSession, payment: Payment, settings: PaymentsSettings) -> PaymentAnswer:
    """The payment with its attempts, refunds and, while it can be paid, what checkout.js needs."""
    found = select(Attempt).where(Attempt.payment_id == payment.id).order_by(Attempt.first_seen_at, Attempt.id)
    attempts = (await session.scalars(found)).all()
    # Nothing can have been refunded before the first attempt, which is when most checkouts are read.
    refunds = await _refunds(session, payment) if attempts else []
    captured = sum(attempt.captured for attempt in attempts)
    refunded = sum(refund.amount for refund in refunds if refund.status is RefundStatus.PROCESSED)
    return PaymentAnswer(
        id=payment.id,
        order_id=payment.order_id,
        status=_status(payment, captured=captured, refunded=refunded),
        amount=Money.of(payment.amount, payment.currency),
        captured=Money.of(captured, payment.currency),
        refunded=Money.of(refunded, payment.currency),
        provider="razorpay",
        checkout=await _checkout_of(session, payment, settings),
        attempts=[_attempt(attempt) for attempt in attempts],
        refunds=[describe_refund(refund, payment.currency) for refund in refunds],
    )


def describe_opened(lease: Lease, provider_order_id: str, settings: PaymentsSettings) -> PaymentAnswer:
    """A payment at the moment it was opened, from what is in hand: there are no attempts yet."""
    amount, nothing = Money.of(lease.amount, lease.currency), Money.of(0, lease.currency)
    return PaymentAnswer(
        id=lease.payment_id,
        order_id=lease.order_id,
        status=_PUBLIC[PaymentStatus.OPEN],
        amount=amount,
        captured=nothing,
        refunded=nothing,
        provider="razorpay",
        checkout=_checkout(provider_order_id, amount=amount, expires_at=lease.pay_by, settings=settings),
        attempts=[],
        refunds=[],
    )


def _status(payment: Payment, *, captured: int, refunded: int) -> PaymentState:
    if payment.status is not PaymentStatus.SETTLED:
        return _PUBLIC[payment.status]
    if refunded == 0:
        return "captured"
    return "refunded" if refunded >= captured else "partially_refunded"


async def _checkout_of(session: AsyncSession, payment: Payment, settings: PaymentsSettings) -> CheckoutAnswer | None:
    if payment.status is not PaymentStatus.OPEN or payment.pay_by is None:
        return None
    orders = select(ProviderOrder.provider_order_id).where(
        ProviderOrder.payment_id == payment.id, db_now() < payment.pay_by
    )
    provider_order_id = await session.scalar(orders.order_by(ProviderOrder.first_seen_at).limit(1))
    if provider_order_id is None:
        return None
    amount = Money.of(payment.amount, payment.currency)
    return _checkout(provider_order_id, amount=amount, expires_at=payment.pay_by, settings=settings)


def _checkout(
    provider_order_id: str, *, amount: Money, expires_at: datetime, settings: PaymentsSettings
) -> CheckoutAnswer:
    page = settings.simulator_page_url
    return CheckoutAnswer(
        key_id=settings.razorpay_key_id,
        razorpay_order_id=provider_order_id,
        amount=amount,
        currency=amount.currency,
        expires_at=expires_at,
        page_url=f"{page}/{provider_order_id}" if page else None,
    )


def _attempt(attempt: Attempt) -> AttemptAnswer:
    error = None
    if attempt.error_code or attempt.error_description:
        error = AttemptError(code=attempt.error_code, description=attempt.error_description)
    return AttemptAnswer(
        provider_payment_id=attempt.provider_payment_id,
        status=attempt.outcome,
        method=attempt.method,
        amount=Money.of(attempt.amount, attempt.currency),
        error=error,
        created_at=attempt.first_seen_at,
    )


async def describe_refunds(session: AsyncSession, payment: Payment) -> list[RefundAnswer]:
    """Every refund of a payment, oldest first."""
    return [describe_refund(refund, payment.currency) for refund in await _refunds(session, payment)]


async def _refunds(session: AsyncSession, payment: Payment) -> Sequence[Refund]:
    refunds = (
        select(Refund)
        .join(Attempt, Attempt.id == Refund.attempt_id)
        .where(Attempt.payment_id == payment.id)
        .order_by(Refund.created_at, Refund.id)
    )
    return (await session.scalars(refunds)).all()


def describe_refund(refund: Refund, currency: str) -> RefundAnswer:
    """One refund."""
    return RefundAnswer(
        id=refund.id,
        amount=Money.of(refund.amount, currency),
        status=refund.status,
        reason=refund.reason,
        created_at=refund.created_at,
    )
