"""Answers to public reads, kept for as long as they are true (RFC 9111).

An answer is used until its lifetime is over, until something it names has changed, until somebody wrote through this
door, or until room is needed. One that was still on its way when that happened may be older than the change: whoever
asked gets it, and it is not kept.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.headers import Headers

NAMED = re.compile(rb'"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')
OVERHEAD = 1024
"""Bytes an answer takes beside its question and its body."""
PER_NAME = 128
"""Bytes more for each thing it names."""
PER_NAMED = 256
"""Bytes that each thing takes which is named at all."""
PASSED = 10.0
"""Seconds for which nobody waits for an answer that could not be kept the last time."""
MAX_PASSED = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """An answer that is kept, with its times on the monotonic clock."""

    headers: Headers
    body: bytes
    etag: bytes | None
    names: frozenset[bytes]
    """The ids that stand in it: what it rests on."""
    asked_at: float
    confirmed_at: float
    fresh_until: float
    usable_until: float
    """Until then it may be sent while it is being confirmed (RFC 5861 §3)."""
    spare_until: float
    """Until then it may be sent when the service fails (RFC 5861 §4)."""

    @property
    def size(self) -> int:
        """Bytes it takes, nearly, beside its question."""
        return len(self.body) + OVERHEAD + len(self.names) * PER_NAME


def named_in(body: bytes) -> frozenset[bytes]:
    """Every id in a JSON document."""
    return frozenset(NAMED.findall(body))


@dataclass(slots=True, eq=False)
class Fill:
    """A question that is on its way to a service, and whoever waits for the same answer."""

    key: bytes
    asked_at: float
    on_over: list[Callable[[], None]] = field(default_factory=list)
    is_over: bool = False
    is_outdated: bool = False
    changed: set[bytes] = field(default_factory=set)
    """What changed since it was asked."""


class Cache:
    """The answers of one gateway process, the least used of which go when they take more than `capacity` bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._kept: OrderedDict[bytes, Stored] = OrderedDict()
        self._naming: dict[bytes, set[bytes]] = {}
        self._fills: dict[bytes, Fill] = {}
        self._passed: OrderedDict[int, float] = OrderedDict()
        """By hash: questions may be long, and a clash only means that somebody does not wait."""

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: bytes) -> Stored | None:
        """What is kept under a key, however old."""
        stored = self._kept.get(key)
        if stored is not None:
            self._kept.move_to_end(key)
        return stored

    def is_passed(self, key: bytes, now: float) -> bool:
        """Whether an answer under this key could lately not be kept, so that nobody should wait for the next."""
        return self._passed.get(hash(key), now) > now

    def under_way(self, key: bytes) -> Fill | None:
        """Who is asking this now."""
        return self._fills.get(key)

    def begin(self, key: bytes, now: float) -> Fill:
        """Somebody asks, for everybody else too. From now on changes count against the answer."""
        fill = self._fills[key] = Fill(key, asked_at=now)
        return fill

    def keep(self, fill: Fill, stored: Stored) -> bool:
        """The answer came. Whether it was kept; not when what it rests on changed meanwhile."""
        self._drop(fill.key)
        if not fill.is_outdated and fill.changed.isdisjoint(stored.names):
            self._add(fill.key, stored)
            while self.size > self.capacity:
                self._drop(next(iter(self._kept)))
        self.end(fill)
        return fill.key in self._kept

    def pass_by(self, fill: Fill, now: float) -> None:
        """An answer came that must not be kept: drop the older one, and for a moment let requests go side by side."""
        self._drop(fill.key)
        passed = hash(fill.key)
        self._passed[passed] = now + PASSED
        self._passed.move_to_end(passed)
        if len(self._passed) > MAX_PASSED:
            self._passed.popitem(last=False)
        self.end(fill)

    def end(self, fill: Fill) -> None:
        """The question is over, with or without an answer; those who waited for it ask again."""
        if fill.is_over:
            return
        fill.is_over = True
        del self._fills[fill.key]
        for wake in fill.on_over:
            wake()

    def forget(self, name: bytes) -> None:
        """Something has changed: no answer that names it is used again."""
        for fill in self._fills.values():
            fill.changed.add(name)
        for key in list(self._naming.get(name, ())):
            self._drop(key)

    def forget_all(self) -> None:
        """Anything may have changed."""
        for fill in self._fills.values():
            fill.is_outdated = True
        self._kept.clear()
        self._naming.clear()
        self.size = 0

    def _add(self, key: bytes, stored: Stored) -> None:
        self._kept[key] = stored
        self.size += len(key) + stored.size
        for name in stored.names:
            keys = self._naming.get(name)
            if keys is None:
                keys = self._naming[name] = set()
                self.size += PER_NAMED
            keys.add(key)

    def _drop(self, key: bytes) -> None:
        stored = self._kept.pop(key, None)
        if stored is None:
            return
        self.size -= len(key) + stored.size
        for name in stored.names:
            keys = self._naming[name]
            keys.discard(key)
            if not keys:
                del self._naming[name]
                self.size -= PER_NAMED
