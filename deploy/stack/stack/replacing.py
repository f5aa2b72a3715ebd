"""`make stack-restart PART=catalog`: one process after the other ends politely and comes back, as in a rolling update.

SIGTERM has it take leave; the supervisor starts it again at once, from the code as it is now. The next one's turn
comes when it is ready, so with two of each nobody who buys notices.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from embedded.home import Home
from stack.process import is_healthy

REPORT = "stack.json"
RELEASES = "releases"
GONE_WITHIN = 60.0
READY_WITHIN = 120.0
LOOK_EVERY = 0.1

Row = Mapping[str, Any]


class NotReplaced(Exception):
    """It did not end, or did not come back."""


def release_of(home: Home, name: str) -> Path:
    """The file that may name the program which a process runs in place of its part's own."""
    return home.path / RELEASES / name


def replace(home: Home, wanted: str, *, release: str | None = None) -> int:
    """Replace every process of a part, or the one of that name; 0 when all came back.

    `release` is the program that they run from now on, until `make reset`: another release of the same part.
    """
    chosen = [row for row in _parts(home) if wanted in (row["name"], row["name"].split("-")[0]) and "health_url" in row]
    if not chosen:
        print(f"Nothing called {wanted} runs on {home.path}; `make stack-status` lists what does.", file=sys.stderr)
        return 1
    for row in chosen:
        if release is not None:
            place = release_of(home, row["name"])
            place.parent.mkdir(exist_ok=True)
            place.write_text(release)
        try:
            print(_replaced(home, row), flush=True)
        except NotReplaced as failure:
            print(failure, file=sys.stderr)
            return 1
    return 0


def _replaced(home: Home, row: Row) -> str:
    """One of them. What became of it, in a line. Raises NotReplaced."""
    name, began = row["name"], time.monotonic()
    os.kill(row["pid"], signal.SIGTERM)
    while (now := _part(home, name))["pid"] == row["pid"]:
        _wait(began, GONE_WITHIN, f"{name} did not end within {GONE_WITHIN:.0f} s.")
    ended = time.monotonic()
    while not is_healthy(now["health_url"]):
        _wait(ended, READY_WITHIN, f"{name} was not ready within {READY_WITHIN:.0f} s; the log is {home.log}.")
    ready = time.monotonic()
    return f"{name:<16} took leave in {ended - began:4.1f} s, ready again after {ready - ended:4.1f} s"


def _wait(since: float, within: float, failure: str) -> None:
    if time.monotonic() - since > within:
        raise NotReplaced(failure)
    time.sleep(LOOK_EVERY)


def _part(home: Home, name: str) -> Row:
    return next(row for row in _parts(home) if row["name"] == name)


def _parts(home: Home) -> list[Row]:
    report = home.path / REPORT
    if not report.exists():
        return []
    parts: list[Row] = msgspec.json.decode(report.read_bytes())["parts"]
    return parts
