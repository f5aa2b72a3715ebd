"""Learning what the provider really did, whoever says it first.

- `verify_handshake`: the shopper's browser brings the provider's signature.
- `observe_webhook`: the provider calls (`webhooks.py` has stored it by then).
- `ask_provider`: we ask, because nobody called.

All three end in `attempts.apply_observation`, so any order, repetition or loss of them ends in the same state.
"""

import asyncio
from typing import Any
from uuid import UUID

from chassis.telemetry import get_logger
from payments.attempts import apply_observation, rank_of
from payments.errors import SignatureInvalid
from payments.ledger import Ledger, OpenLedger
from payments.models import Payment, Rank
from payments.provider import OutcomeUnknown, Provider, ProviderError, ProviderPayment, as_payment

ANSWER_EXPECTED_WITHIN = 3.0
"""Seconds that the shopper waits for the provider's word."""


async def verify_handshake(
    open_ledger: OpenLedger, provider: Provider, payment: Payment, *, order: str, attempt: str, signature: str
) -> None:
    """Record what the checkout's signature proves: that this attempt at our order was authorised.

    The signature says nothing about amount or capture, so the provider is asked as well; when it does not answer
    soon, what is proven stands, and webhook or poll bring the rest. Raises SignatureInvalid.
    """
    async with open_ledger() as ledger:
        ours = await ledger.payment_id_at(order)
    if ours != payment.id:
        raise SignatureInvalid("The provider order does not belong to this payment.")
    if not provider.proves_handshake(order_id=order, payment_id=attempt, signature=signature):
        raise SignatureInvalid("Send the three values exactly as the checkout returned them.")
    seen = ProviderPayment(
        id=attempt,
        order_id=order,
        status="authorized",
        amount=payment.amount,
        currency=payment.currency,
        raw={"id": attempt, "order_id": order, "status": "authorized"},
    )
    try:
        async with asyncio.timeout(ANSWER_EXPECTED_WITHIN):
            told = await provider.payment(attempt)
        # An answer from before the authorisation takes nothing away from the proof.
        if told.order_id == order and rank_of(told) >= Rank.AUTHORIZED:
            seen = told
    except (ProviderError, TimeoutError) as error:
        get_logger().warning("handshake not confirmed", payment_id=str(payment.id), error=repr(error))
    async with open_ledger() as ledger:
        await apply_observation(ledger, seen, source="handshake")


async def observe_webhook(ledger: Ledger, entity: Any) -> None:
    """Apply the payment inside a webhook.

    Raises UnknownProviderOrder (not ours, or not yet), OutcomeUnknown (no payment at all).
    """
    await apply_observation(ledger, as_payment(entity), source="webhook")


async def ask_provider(open_ledger: OpenLedger, provider: Provider, payment_id: UUID) -> None:
    """Ask for every attempt at every provider order of a payment. Raises ProviderError."""
    async with open_ledger() as ledger:
        known = await ledger.provider_orders(payment_id)
    for provider_order_id in known:
        attempts = await provider.payments_of(provider_order_id)
        if any(attempt.order_id != provider_order_id for attempt in attempts):
            raise OutcomeUnknown("the provider answered with attempts of another order")
        for seen in attempts:
            async with open_ledger() as ledger:
                await apply_observation(ledger, seen, source="poll")
