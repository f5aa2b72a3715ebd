"""The paths that orders, reservations, payments and refunds may take, as the checkout design lists them.

Written down a second time on purpose: the services keep tables of their own, and these are what they are held to.
"""

from collections.abc import Iterable, Iterator

Step = tuple[str | None, str]
"""From where to where; None is the beginning."""

ORDER_MOVES: dict[str, set[Step]] = {
    "T1": {(None, "awaiting_payment")},
    "T2": {(None, "paid")},
    "T3": {("awaiting_payment", "paid")},
    "T4": {("awaiting_payment", "closing")},
    "T4b": {("closing", "closing")},
    "T5": {("closing", "paid")},
    "T6": {("closing", "cancelled")},
    "T7": {("closing", "expired"), ("closing", "cancelled")},
    "T8": {("paid", "cancelled")},
    "T9": {("paid", "cancelled")},
    "T10": {("paid", "shipped"), ("shipped", "delivered")},
}
STAY = {"T11", "T12", "T13", "T14"}
"""Moves that leave the order where it is."""

RESERVATION: set[Step] = {
    *((before, after) for before in (None, "held", "released") for after in ("held", "released", "commit_failed")),
    *((before, "committed") for before in (None, "held", "released", "expired", "commit_failed")),
    *((before, "commit_failed") for before in ("expired", "commit_failed")),
    ("held", "expired"),
    ("committed", "returned"),
    # A closed reservation keeps its state: what closes it is noted as a step from the state to itself.
    *((state, state) for state in ("released", "expired", "commit_failed", "committed")),
}

PAYMENT: set[Step] = {
    (None, "new"),
    (None, "closed"),
    ("new", "creating"),
    ("new", "closed"),
    ("creating", "new"),
    ("creating", "creating"),
    *(("creating", after) for after in ("open", "closing", "closed", "settled")),
    *(("open", after) for after in ("closing", "closed", "settled")),
    *(("closing", after) for after in ("closed", "settled")),
    ("closed", "settled"),
}

REFUND: set[Step] = {
    (None, "requested"),
    ("requested", "submitted"),
    ("submitted", "processed"),
    ("submitted", "failed"),
}


def wrong_steps(visited: Iterable[str], *, allowed: set[Step]) -> Iterator[str]:
    """The steps along these states that the table does not list."""
    before: str | None = None
    for after in visited:
        if (before, after) not in allowed:
            yield f"{before or 'nothing'} → {after}"
        before = after
