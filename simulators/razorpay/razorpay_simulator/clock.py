"""Virtual time: real time plus an offset that tests move forward and that survives a restart."""

import time

from razorpay_simulator.store import Store


class Clock:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.offset = float(store.recall("clock_offset") or 0)

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds
        self._store.remember("clock_offset", repr(self.offset))
