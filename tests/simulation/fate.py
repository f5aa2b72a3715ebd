"""Chance: every choice of a schedule comes from one seeded die, so that the same seed makes the same schedule."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from tests.simulation.interleaving import GiveWay

Choice = TypeVar("Choice")

LIKELIHOOD = {
    "pause": 0.25,
    "die before commit": 0.01,
    "die after commit": 0.02,
    "acknowledgement lost": 0.06,
    "repeated": 0.05,
    "unreachable": 0.04,
    "question lost": 0.03,
    "answer lost": 0.06,
    "stale": 0.05,
    "neighbour away": 0.03,
    "neighbour's answer lost": 0.03,
}


APPETITES = (0.3, 1.0, 1.0, 2.5)
"""How much more or less often than usual something happens in a schedule."""


class Fate:
    """The die of one schedule."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.die = Random(seed)
        self._likelihood = {what: usual * self.choose(APPETITES) for what, usual in LIKELIHOOD.items()}
        """Each schedule has troubles of its own: all of them a little would hide what needs much of one."""
        self.is_kind = False
        """Nothing goes wrong any more."""

    def step(self, number: int) -> None:
        """Each step has a die of its own, so that a schedule can be told again without some of its steps."""
        self.die.seed(self._seed * 1_000_003 + number + 1)

    def strikes(self, what: str) -> bool:
        """Whether this goes wrong now."""
        return not self.is_kind and self.die.random() < self._likelihood[what]

    async def pause(self) -> None:
        """Perhaps somebody else goes first."""
        if self.strikes("pause"):
            await GiveWay()

    def choose(self, among: Sequence[Choice]) -> Choice:
        """One of these."""
        return among[int(self.die.random() * len(among))]
