"""How often a caller may ask. A sliding allowance per key, kept as one number each (GCRA), in this process only."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.routes import LimitClass

MAX_KEYS = 100_000

Key = tuple[str, object]


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many requests in so many seconds; after a burst of all of them they come back one by one."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Allowance":
        """Read `count/seconds`, as the settings write it. Raises ValueError."""
        match = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,5})", text)
        if match is None:
            raise ValueError(f"{text!r} is not like 60/60, a count and a number of seconds")
        return cls(int(match[1]), float(match[2]))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands after a request was counted."""

    is_allowed: bool
    limit: int
    remaining: int
    reset: int
    """Seconds until the whole allowance is back."""
    retry_after: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The RateLimit fields of an answer."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset),
        ]


class Limits:
    """The counters of one process."""

    def __init__(self, allowances: Mapping[LimitClass, Allowance], *, bad_tokens: Allowance) -> None:
        self._allowances = dict(allowances)
        self._bad_tokens = bad_tokens
        self._full_at: dict[Key, float] = {}

    def charge(self, limit: LimitClass, caller: object, now: float) -> Standing | None:
        """Count one request; None for classes without a limit."""
        allowance = self._allowances.get(limit)
        if allowance is None:
            return None
        return self._take((limit.value, caller), allowance, now)

    def charge_bad_token(self, household: str, now: float) -> Standing:
        """Count one token that was no good: checking a forged one costs more than sending it."""
        return self._take(("bad token", household), self._bad_tokens, now)

    def refusal_for_bad_tokens(self, household: str, now: float) -> Standing | None:
        """Where an address stands that has sent too many bad tokens; None for any other."""
        full_at = self._full_at.get(("bad token", household))
        if full_at is None:
            return None
        standing = self._standing(self._bad_tokens, full_at + self._step(self._bad_tokens), now)
        return None if standing.is_allowed else standing

    def _take(self, key: Key, allowance: Allowance, now: float) -> Standing:
        full_at = max(self._full_at.get(key, now), now) + self._step(allowance)
        standing = self._standing(allowance, full_at, now)
        if standing.is_allowed:
            if len(self._full_at) >= MAX_KEYS and key not in self._full_at:
                self._make_room(now)
            self._full_at[key] = full_at
        return standing

    @staticmethod
    def _step(allowance: Allowance) -> float:
        return allowance.seconds / allowance.count

    def _standing(self, allowance: Allowance, full_at: float, now: float) -> Standing:
        # A hair of tolerance: the sum of many steps is not exactly the period.
        left = allowance.seconds - (full_at - now) + 1e-6
        return Standing(
            is_allowed=left >= 0,
            limit=allowance.count,
            remaining=max(0, int(left / self._step(allowance))),
            reset=max(0, math.ceil(full_at - now)),
            retry_after=max(1, math.ceil(-left)),
        )

    def _make_room(self, now: float) -> None:
        """Forget whoever has the whole allowance back; under a flood of new callers, the oldest tenth as well."""
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        for key in list(self._full_at)[: max(0, len(self._full_at) - MAX_KEYS + MAX_KEYS // 10)]:
            del self._full_at[key]
