"""Waiting for what happens by events: look again and again, never longer than a deadline, never blindly."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

BETWEEN_LOOKS = 0.05


class NeverHappened(AssertionError):
    """The deadline passed."""


async def eventually(look: Callable[[], Awaitable[Found]], *, what: str, within: float = 15.0) -> Found:
    """The first true answer of `look`. Raises NeverHappened, naming the last answer."""
    deadline = time.monotonic() + within
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NeverHappened(f"{what} did not happen within {within:g} s; the last look found {found!r}")
        await asyncio.sleep(BETWEEN_LOOKS)


def soon(look: Callable[[], Found], *, what: str, within: float = 15.0) -> Found:
    """The same for what needs no event loop, such as processes that start and end."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NeverHappened(f"{what} did not happen within {within:g} s; the last look found {found!r}")
        time.sleep(BETWEEN_LOOKS)
