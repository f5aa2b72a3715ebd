"""A crash point kills the process it was meant for, at the passing it was meant for, and is nothing in a real shop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from chassis.settings import ServiceSettings

PASSES = """
import os, pathlib, sys
folder, order = sys.argv[1:]
pathlib.Path(folder, str(os.getpid())).write_text(order)
from chassis.crash_points import crash_point
for name in ("commit.before", "commit.after") * 3:
    print(name, flush=True)
    crash_point(name)
"""


def passes(folder: Path, order: str, **environment: str) -> tuple[int, int]:
    """Exit status and how many passings were begun."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HAAT_")}
    ended = subprocess.run(
        [sys.executable, "-c", PASSES, str(folder), order],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, len(ended.stdout.splitlines())


@pytest.mark.parametrize(("order", "passings"), [("commit.before 1", 1), ("commit.before 3", 5), ("commit.after 2", 4)])
def test_it_dies_at_the_passing_it_was_told(tmp_path: Path, order: str, passings: int) -> None:
    assert passes(tmp_path, order, HAAT_CRASH_POINTS=str(tmp_path)) == (-signal.SIGKILL, passings)
    (told,) = tmp_path.iterdir()
    assert told.suffix == ".fired", "whoever waits for the fault sees that it happened"


@pytest.mark.parametrize(
    "environment", [{}, {"HAAT_CRASH_POINTS": ""}, {"HAAT_CRASH_POINTS": ".", "HAAT_ENV": "production"}]
)
def test_a_real_shop_passes_by_its_crash_points(tmp_path: Path, environment: dict[str, str]) -> None:
    if environment.get("HAAT_CRASH_POINTS"):
        environment = {**environment, "HAAT_CRASH_POINTS": str(tmp_path)}
    assert passes(tmp_path, "commit.before 1", **environment) == (0, 6)


def test_production_does_not_start_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAAT_CRASH_POINTS", "/tmp/points")
    with pytest.raises(ValidationError, match="HAAT_CRASH_POINTS"):
        ServiceSettings.model_validate({"env": "production"})
