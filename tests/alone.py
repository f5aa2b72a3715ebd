"""Each service as its own team has it: installed without the others, then checked, built and tested; two at a time.

`make test` runs the tests of the services here and nowhere else, so that proving independence costs no second run.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = ("install", "lint", "build", "test")
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one service."""

    service: str
    failed_at: str
    """The step, or nothing when all went well."""
    output: str
    seconds: float

    def told(self) -> str:
        """One line when all went well, everything otherwise."""
        if self.failed_at:
            return f"{self.output}\n{self.service} alone: `{self.failed_at}` failed"
        tests = next((line for line in reversed(self.output.splitlines()) if " passed" in line), "no tests")
        return f"{self.service} alone: installed, checked, built; {tests.partition(' in ')[0]} ({self.seconds:.0f} s)"


def tried(service: str) -> Outcome:
    """Go through the steps until one fails."""
    began = time.monotonic()
    output = ""
    failed_at = ""
    for command in commands(service):
        done = subprocess.run(
            command,
            cwd=ROOT / "services" / service,
            env={**os.environ, "MAKEFLAGS": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        output += done.stdout
        if done.returncode != 0:
            failed_at = " ".join(command)
            break
    return Outcome(service, failed_at, output, time.monotonic() - began)


def commands(service: str) -> list[list[str]]:
    """The steps, and between them the proof that nothing else of ours is there."""
    others = [name for name in (*services(), "gateway", "embedded", "stack") if name != service]
    absent = (
        f"from importlib.util import find_spec as f; found = [n for n in {others} if f(n)]; assert not found, found"
    )
    install, *rest = (["make", "--no-print-directory", step] for step in STEPS)
    return [install, [".venv/bin/python", "-I", "-c", absent], *rest]


def services() -> list[str]:
    """All of them, first those with the most tests, so that none is left over at the end."""
    folders = [makefile.parent for makefile in (ROOT / "services").glob("*/Makefile")]
    sizes = {folder.name: sum(test.stat().st_size for test in folder.glob("tests/*.py")) for folder in folders}
    return sorted(sizes, key=lambda name: -sizes[name])


def main(chosen: list[str]) -> int:
    """0 when each of them stands alone."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = 0
        for outcome in pool.map(tried, chosen or services()):
            print(outcome.told(), flush=True)
            failures += bool(outcome.failed_at)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
