"""Named moments at which a test may have a process killed: around each commit, publish, acknowledgement and call.

In a shop this is nothing: `crash_point` is an empty function, chosen at import. Where HAAT_CRASH_POINTS names a folder,
each passing looks there for a file named like this process's id. It says at which point, and at which passing of it
counted from now, the process dies: `publish.after 3`. A process started again has another id, and lives.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FIRED = ".fired"
"""What is added to the file's name by the process that dies of it."""


def _pass_by(_name: str) -> None:
    """Do nothing, as cheaply as possible."""


def _deadly(folder: Path) -> Callable[[str], None]:
    sentence = folder / str(os.getpid())
    passed: Counter[tuple[str, ...]] = Counter()

    def crash_point(name: str) -> None:
        with suppress(FileNotFoundError):
            point, number = told = tuple(sentence.read_text().split())
            passed[told] += point == name
            if passed[told] >= int(number):
                sentence.rename(sentence.with_suffix(FIRED))
                os.kill(os.getpid(), signal.SIGKILL)

    return crash_point


_folder = os.environ.get("HAAT_CRASH_POINTS") if os.environ.get("HAAT_ENV") != "production" else None

crash_point: Callable[[str], None] = _deadly(Path(_folder)) if _folder else _pass_by
"""Pass this by, or die here."""
