"""What the faults have found so far: the fault and the seed that showed it. Every full run begins with them."""

KNOWN: tuple[tuple[str, int], ...] = (
    # Messages that were being handled stayed unanswered, and nobody handled them any more.
    ("PostgreSQL stands still", 11),
)
"""Name of the fault, seed."""
