"""What the faults have found so far: the fault and the seed that showed it. Every full run begins with them."""

KNOWN: tuple[tuple[str, int], ...] = ()
"""Name of the fault, seed."""
