"""Keeps everything running that was started, and writes down how it fares."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from chassis.settings import SettingsRefused

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds before a start is repeated; doubled each time."""
STEADY_AFTER = 30.0
"""Seconds after which earlier ends are forgiven."""
LOOK_EVERY = 0.1


class Kept(Protocol):
    """Something with a life of its own."""

    name: str

    @property
    def pid(self) -> int | None: ...

    @property
    def is_running(self) -> bool: ...

    def start(self) -> None:
        """Start, or start again."""


class EndsTooOften(Exception):
    """A part that never got ready."""


@dataclass
class Watch:
    """One of them, and its history."""

    kept: Kept
    started_at: float
    ends: int = 0
    pause: float = FIRST_PAUSE
    due: float | None = None

    def look(self, now: float) -> bool:
        """Start it again when it ended and its pause is over; whether anything changed.

        One that ended as it was asked to is started at once: it is being replaced.
        """
        if self.kept.is_running:
            if now - self.started_at > STEADY_AFTER:
                self.pause = FIRST_PAUSE
            return False
        if self.due is None:
            self.ends += 1
            self.due = now
            if not getattr(self.kept, "ended_well", False):
                self.due += self.pause
                self.pause = min(self.pause * 2, LONGEST_PAUSE)
            return True
        if now < self.due:
            return False
        self.kept.start()
        self.started_at, self.due = time.monotonic(), None
        return True


@dataclass
class Supervisor:
    """All of them. One loop, in the thread that started them."""

    report: Path
    facts: dict[str, Any]
    """What the report says about the whole."""
    watches: list[Watch] = field(default_factory=list)

    def start(self, *all_kept: Kept) -> None:
        """Start these, and keep them from now on."""
        for kept in all_kept:
            kept.start()
        self.adopt(*all_kept)

    def adopt(self, *all_kept: Kept) -> None:
        """Keep what runs already."""
        self.watches += [Watch(kept, time.monotonic()) for kept in all_kept]
        self._write_report()

    def wait(self, until: Callable[[], bool], *, within: float, what: str, patience: int = 3) -> None:
        """Keep them alive until this is so. Raises SettingsRefused, EndsTooOften and TimeoutError."""
        deadline = time.monotonic() + within
        while not until():
            self.look()
            for watch in self.watches:
                if refused := getattr(watch.kept, "refused", ""):
                    raise SettingsRefused(refused)
                if watch.ends > patience:
                    raise EndsTooOften(f"{watch.kept.name} ended {watch.ends} times")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} took more than {within:.0f} s")
            time.sleep(LOOK_EVERY / 2)

    def keep(self) -> None:
        """Until somebody interrupts."""
        while True:
            self.look()
            time.sleep(LOOK_EVERY)

    def look(self) -> None:
        """Once at each."""
        now = time.monotonic()
        changed = [watch.look(now) for watch in self.watches]
        if any(changed):
            self._write_report()

    def _write_report(self) -> None:
        parts = [
            {"name": watch.kept.name, "pid": watch.kept.pid, "ends": watch.ends, **described(watch.kept)}
            for watch in self.watches
        ]
        unfinished = self.report.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode({**self.facts, "parts": parts})))
        unfinished.replace(self.report)


def described(kept: Kept) -> dict[str, str]:
    """Where to ask it how it is, when it can be asked."""
    health_url = getattr(kept, "health_url", None)
    return {"health_url": health_url} if health_url else {}


def ready(processes: Sequence[Any]) -> Callable[[], bool]:
    """Whether all of these said once that they are ready."""
    waiting = list(processes)

    def are_ready() -> bool:
        waiting[:] = [process for process in waiting if not process.is_ready()]
        return not waiting

    return are_ready
