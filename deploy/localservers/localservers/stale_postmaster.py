"""What an earlier server left in its folder, and how it is made to leave.

Where the kernel cannot tie a server to its starter (macOS), a killed starter leaves its server running.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT

_STOP_WITHIN = 10.0


@dataclass(frozen=True)
class Postmaster:
    pid: int
    status: str


def read(cluster: Path) -> Postmaster | None:
    """The pid file that PostgreSQL keeps: the pid on line 1, its status on line 8."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].isdigit():
        return None
    return Postmaster(pid=int(lines[0]), status=lines[7].strip() if len(lines) > 7 else "")


def stop(cluster: Path) -> None:
    """Ends a server that still serves this folder. The caller holds the folder's lock, so nobody needs it."""
    left = read(cluster)
    if left is None or not _is_alive(left.pid):
        return  # PostgreSQL itself tidies up after a dead server
    if str(cluster) not in _command_line(left.pid):
        # The number was given to a stranger since; PostgreSQL would take that one for a live server.
        (cluster / "postmaster.pid").unlink()
        return
    for signal in (SIGINT, SIGQUIT, SIGKILL):
        os.kill(left.pid, signal)
        deadline = time.monotonic() + _STOP_WITHIN
        while time.monotonic() < deadline:
            if not _is_alive(left.pid):
                return
            time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_line(pid: int) -> str:
    proc = Path("/proc") / str(pid) / "cmdline"
    if proc.exists():
        return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout
