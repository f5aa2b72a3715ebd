"""Learning what the provider really did, whoever says it first.

- `verify_handshake`: the shopper's browser brings the provider's signature.
- `observe_webhook`: the provider calls (`webhooks.py` has stored it by then).
- `ask_provider`: we ask, because nobody called.

All three end in `attempts.apply_observation`, so any order, repetition or loss of them ends in the same state.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.database import Database
from chassis.telemetry import get_logger
from payments.attempts import apply_observation
from payments.errors import SignatureInvalid
from payments.models import Payment, ProviderOrder
from payments.provider import OutcomeUnknown, Provider, ProviderError, ProviderPayment, as_payment


async def verify_handshake(
    database: Database, provider: Provider, payment: Payment, *, order: str, attempt: str, signature: str
) -> None:
    """Record what the checkout's signature proves: that this attempt at our order was authorised.

    The signature says nothing about amount or capture, so the provider is asked as well; when it does not answer,
    what is proven stands, and webhook or poll bring the rest. Raises SignatureInvalid.
    """
    async with database.transaction() as session:
        ours = await session.get(ProviderOrder, order)
    if ours is None or ours.payment_id != payment.id:
        raise SignatureInvalid("The provider order does not belong to this payment.")
    if not provider.proves_handshake(order_id=order, payment_id=attempt, signature=signature):
        raise SignatureInvalid("Send the three values exactly as the checkout returned them.")
    proven = ProviderPayment(
        id=attempt,
        order_id=order,
        status="authorized",
        amount=payment.amount,
        currency=payment.currency,
        captured=False,
        amount_refunded=0,
        method=None,
        error_code=None,
        error_description=None,
        raw={"id": attempt, "order_id": order, "status": "authorized"},
    )
    try:
        seen = await provider.payment(attempt)
    except ProviderError as error:
        get_logger().warning("handshake not confirmed", payment_id=str(payment.id), error=str(error))
        seen = proven
    async with database.transaction() as session:
        await apply_observation(session, seen if seen.order_id == order else proven, source="handshake")


async def observe_webhook(session: AsyncSession, entity: dict[str, Any]) -> UUID:
    """Apply the payment inside a webhook; the attempt's id.

    Raises UnknownProviderOrder (not ours, or not yet), OutcomeUnknown (no payment at all).
    """
    attempt = await apply_observation(session, as_payment(entity), source="webhook")
    return attempt.id


async def ask_provider(database: Database, provider: Provider, payment_id: UUID) -> int:
    """Ask for every attempt at every provider order of a payment; how many there are. Raises ProviderError."""
    async with database.transaction() as session:
        orders = select(ProviderOrder.provider_order_id).where(ProviderOrder.payment_id == payment_id)
        known = list(await session.scalars(orders))
    count = 0
    for provider_order_id in known:
        attempts = await provider.payments_of(provider_order_id)
        if any(attempt.order_id != provider_order_id for attempt in attempts):
            raise OutcomeUnknown("the provider answered with attempts of another order")
        count += len(attempts)
        for seen in attempts:
            async with database.transaction() as session:
                await apply_observation(session, seen, source="poll")
    return count
