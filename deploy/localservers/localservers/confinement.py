"""How a server is started so that it never outlives us and never runs as root.

On Linux the kernel signals the server when the thread that started it ends, however it ends. That is why
servers are started from the main thread: a pool thread ends early and would take its server along.
"""

import os
import pwd
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from signal import Signals

NOBODY = 65_534
_AS_NOBODY_INSIDE = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
# Nobody may not enter root's home or a temporary folder of root's, and one of them holds the programs or the data.
_PASS_CLOSED_FOLDERS = ("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override")


class MustStartFromMainThread(Exception):
    def __init__(self) -> None:
        super().__init__("Start servers from the main thread: the kernel stops them when their thread ends.")


@dataclass(frozen=True)
class Confinement:
    """The words to put before a command, and whether its files must belong to another user."""

    prefix: tuple[str, ...]
    gives_files_away: bool = False

    def hand_over(self, folder: Path) -> None:
        """Lets the confined server write where it must."""
        if self.gives_files_away:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def require_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise MustStartFromMainThread


def dies_with_us(signal: Signals) -> Confinement:
    """For servers that may run as any user, root too."""
    if sys.platform != "linux" or shutil.which("setpriv") is None:
        return Confinement(prefix=())
    return Confinement(prefix=(*_deathly(signal), *_unless_orphaned()))


def dies_with_us_unprivileged(signal: Signals) -> Confinement:
    """For servers that refuse to run as root.

    A user namespace is the first choice: inside it the server believes to be nobody, while its files stay
    root's and a virtual environment below a closed home folder stays readable. Containers often forbid it.
    """
    deathly = dies_with_us(signal)
    if os.geteuid() != 0 and _user_has_a_name():
        return deathly
    if _user_namespaces_work():
        return Confinement(prefix=(*_AS_NOBODY_INSIDE, *deathly.prefix))
    if os.geteuid() != 0:
        return deathly
    as_nobody = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *_PASS_CLOSED_FOLDERS)
    prefix = (*_deathly(signal), *as_nobody, *_unless_orphaned()) if deathly.prefix else ("setpriv", *as_nobody)
    return Confinement(prefix=prefix, gives_files_away=True)


def _deathly(signal: Signals) -> tuple[str, ...]:
    return ("setpriv", "--pdeathsig", signal.name.removeprefix("SIG"))


def _unless_orphaned() -> tuple[str, ...]:
    """Who was killed before the kernel was told to signal the server left it another parent: it must not start."""
    return ("sh", "-c", 'test "$PPID" = "$0" && exec "$@"', str(os.getpid()))


def _user_has_a_name() -> bool:
    """PostgreSQL refuses a user id that the system does not list, which containers like to hand out."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


@cache
def _user_namespaces_work() -> bool:
    try:
        trial = subprocess.run([*_AS_NOBODY_INSIDE, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return trial.returncode == 0
