"""What happens by the passing of virtual time, always in the order of its deadlines."""

from razorpay_simulator import refunds
from razorpay_simulator.capture import authorize, release
from razorpay_simulator.instruments import failure
from razorpay_simulator.paying import fail
from razorpay_simulator.provider import Provider


def advance(provider: Provider, seconds: float) -> None:
    """Move the clock. Each deadline on the way is met at its own instant, not at the end of the leap."""
    settle_due(provider, until=provider.clock.now() + seconds)
    provider.clock.advance(seconds)
    provider.wake_courier()


def settle_due(provider: Provider, *, until: float) -> None:
    while (deadline := provider.store.next_deadline) is not None and deadline <= until:
        with provider.store.transaction():
            taken = provider.store.take_deadline(until)
            if taken is not None:
                due_at, kind, subject = taken
                _meet(provider, kind, subject=subject, at=due_at)


def _meet(provider: Provider, kind: str, *, subject: str, at: float) -> None:
    if kind == "settle_refund":
        processed = provider.variants.refund_outcome == "processed"
        refunds.settle(provider, provider.refund(subject), processed=processed, at=at)
        return
    payment = provider.payment(subject)
    match kind:
        case "give_up" if payment.status == "created":
            fail(provider, payment, failure("payment_timed_out"), at=at)
        case "bank_says_yes" if payment.status in ("created", "failed") and not payment.released:
            authorize(provider, payment, at=at)
        case "release":
            release(provider, payment, at=at)
