"""What a fault is to the run: a name, and a way to bring it about that says how it was seen to have happened."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from tests.faults.stage import Stage

Bring: TypeAlias = Callable[[Stage, random.Random], Awaitable[str]]
"""Brings the fault about and ends it; returns the evidence. Raises NeverFired when there is none."""


class NeverFired(AssertionError):
    """The fault did not happen, so that nothing was proven."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the run."""

    name: str
    bring: Bring
    parks: frozenset[UUID] = field(default_factory=frozenset)
    """Ids of the messages that end among the parked ones by it, and are dropped by the operators' command."""
