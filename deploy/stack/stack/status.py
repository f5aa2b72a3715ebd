"""`make stack-status`: every process of a running stack, and whether it is well."""

import time
from typing import Any

import msgspec
import psutil

from embedded.home import Home
from stack.process import is_healthy
from stack.replacing import REPORT


def print_status(home: Home) -> int:
    """A line for each process; 0 when all are well."""
    report = home.path / REPORT
    if not report.exists():
        print(f"No stack is open on {home.path}.")
        return 1
    document = msgspec.json.decode(report.read_bytes())
    print(f"Gateway {document['gateway']}   Razorpay {document['simulator']}\n")
    print(f"{'process':<18} {'pid':>8} {'up':>8} {'ends':>5}  state")
    states = [_print_part(part) for part in document["parts"]]
    return 0 if all(states) else 1


def _print_part(part: dict[str, Any]) -> bool:
    up, state = "–", "down"
    try:
        process = psutil.Process(part["pid"])
        up, state = _duration(time.time() - process.create_time()), "up"
    except (psutil.Error, TypeError):
        pass
    if state == "up" and "health_url" in part:
        state = "ready" if is_healthy(part["health_url"]) else "not ready"
    print(f"{part['name']:<18} {part['pid'] or '–':>8} {up:>8} {part['ends']:>5}  {state}")
    return state in ("ready", "up")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
