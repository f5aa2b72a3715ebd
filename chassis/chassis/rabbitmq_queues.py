"""What a consumer owns at the broker, as data.

The consumer declares it with each connection; a broker's definitions file holds the same, so that queues are bound
before the first event leaves, whichever service comes up first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chassis.rabbitmq_connection import DEAD, EVENTS


@dataclass(frozen=True, slots=True)
class QueueDeclaration:
    """A durable queue, and the exchange it is fed by under `key`."""

    name: str
    arguments: dict[str, Any]
    exchange: str
    key: str


def exchanges_of(consumer: str) -> dict[str, str]:
    """Names and types of the exchanges a consumer needs."""
    return {EVENTS: "topic", DEAD: "direct", f"{consumer}.retry": "direct"}


def incoming(consumer: str) -> str:
    """The queue that the consumer handles."""
    return f"{consumer}.in"


def queues_of(consumer: str, ladder: Sequence[float]) -> list[QueueDeclaration]:
    """Its queues; the one it consumes comes last, when all it leads to is there."""
    again, arrives = f"{consumer}.retry", incoming(consumer)
    # Looking at a parked message counts as a delivery, and none may be dropped for that.
    parked = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    steps = [
        QueueDeclaration(
            name=step_of(consumer, delay),
            arguments={"x-message-ttl": round(delay * 1000), **_dead_letters(again, arrives)},
            exchange=again,
            key=step_of(consumer, delay),
        )
        for delay in ladder
    ]
    return [
        QueueDeclaration(f"{consumer}.parked", parked, exchange=DEAD, key=consumer),
        *steps,
        QueueDeclaration(arrives, {"x-delivery-limit": 20, **_dead_letters(DEAD, consumer)}, again, arrives),
    ]


def step_of(consumer: str, delay: float) -> str:
    """The queue in which messages wait so long for their next attempt."""
    return f"{consumer}.retry.{_label(delay)}"


def _dead_letters(exchange: str, key: str) -> dict[str, Any]:
    """A replicated queue whose expired or refused messages are not lost on their way to `exchange`."""
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-routing-key": key,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _label(delay: float) -> str:
    """5 s → "5s", 300 s → "5m", 20 ms → "20ms"."""
    if delay >= 60 and delay % 60 == 0:
        return f"{delay / 60:.0f}m"
    return f"{delay:.0f}s" if delay >= 1 else f"{delay * 1000:.0f}ms"
