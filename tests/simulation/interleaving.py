"""One thread, many things under way: each runs until it pauses, and a schedule chooses who goes on.

A `Fiber` is a request, a delivery or a run of a job. It may pause where a real one may be overtaken: before a
transaction, after a read that locks nothing, before and after a call to somebody else. Between the first lock of a
transaction and its end nothing pauses, since nobody else would get at the same rows.
"""

from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

PAUSED: Any = object()
"""What a coroutine yields to give way."""


class Crash(BaseException):
    """The process of a service dies: no `except Exception` of it runs, and what was not committed is gone."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self.service = service


class GiveWay:
    """Await it to let the schedule choose who goes on."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield PAUSED


@dataclass(eq=False)
class Fiber:
    """Something under way in one service."""

    name: str
    service: str
    work: Coroutine[Any, Any, None]
    since: datetime
    patience: float = 20.0
    """Seconds of virtual time that it may be under way: requests and transactions have time-outs."""
    in_transaction: bool = field(default=False, init=False)


class Advance:
    """Await it to run a fiber until it pauses (False) or ends (True); what it raises is raised here.

    What it awaits besides, a database say, is handed on to the event loop.
    """

    def __init__(self, fiber: Fiber, *, crash: bool = False) -> None:
        self._fiber = fiber
        self._error: BaseException | None = Crash(fiber.service) if crash else None

    def __await__(self) -> Generator[Any, Any, bool]:
        work, value = self._fiber.work, None
        while True:
            error, self._error = self._error, None
            try:
                yielded = work.throw(error) if error is not None else work.send(value)
            except StopIteration:
                return True
            if yielded is PAUSED:
                return False
            try:
                value = yield yielded
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the fiber's
                self._error = raised
