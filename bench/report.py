"""Results as people read them, and as the next benchmark compares itself with them."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.browsing import Figures

Rounds = dict[str, list[Figures]]
"""The figures of every round, by the name of the measurement."""

PARTS = ("application", "postgres", "simulator", "total")
COMMAND = "make bench"
FIRST, LATE = "list page 1", "list page 1,000"

_WHAT_IS_COUNTED = (
    "CPU in milliseconds per request (per order for a checkout), from /proc, over the processes named; the load "
    "programs are not counted. Parts are those of the round with the least total. Rates depend on what else the "
    "machine did, and are orders of magnitude."
)
_HEAD = "| request | application | PostgreSQL | simulator | total, least | total, middle | requests/s, about |"
_RULE = "|---|---:|---:|---:|---:|---:|---:|"


def write(folder: Path | None, *, name: str, shop: Rounds, catalog: Rounds, gateway: dict[str, Any]) -> str:
    """The report as text; also written as `<name>.md` and `<name>.json` when there is a folder."""
    machine = _machine()
    text = _report(machine, shop=shop, catalog=catalog, gateway=gateway)
    if folder is not None:
        folder.mkdir(exist_ok=True)
        place = folder / (name or str(machine["date"]))
        document = {"machine": machine, "shop": shop, "catalog": catalog, "gateway": gateway}
        place.with_suffix(".md").write_text(text)
        place.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    return text


def _report(machine: dict[str, Any], *, shop: Rounds, catalog: Rounds, gateway: dict[str, Any]) -> str:
    idle = shop.pop("idle", [])
    lines = [
        f"# Benchmark of {machine['date']}",
        "",
        f"`{COMMAND}` at revision {machine['revision']}, 100,000 products.",
        (
            f"{machine['cpus']} CPUs ({machine['cpu']}), {machine['system']}, {machine['versions']}; load average "
            f"{machine['load_average']} at the end."
        ),
        "",
        _WHAT_IS_COUNTED,
        "",
        "## The whole shop behind its gateway (`make run`)",
        "",
        *_table(shop),
        "",
        f"Page 1,000 costs {_ratio(shop):.2f} × page 1 (budget 1.3).",
        *(f"An open shop without visitors uses {each['cpu_ms_per_second']} ms per second." for each in idle[:1]),
        (
            "A checkout is counted from the first add to cart until the order is paid and all events are worked off, "
            "by four shoppers at once who have signed in before; asking whether the order is paid is counted too "
            f"({_looks(shop)} times per order). The row with sign-in adds the password check, slow on purpose."
        ),
        "",
        "## Catalog as a process of its own, asked directly",
        "",
        *_table(catalog),
        "",
        f"Page 1,000 costs {_ratio(catalog):.2f} × page 1 (budget 1.3).",
        "",
        "## The gateway's own CPU per request, as a process of its own before a stub",
        "",
        "| answer | CPU ms, least of the rounds | requests/s, about |",
        "|---|---:|---:|",
        *(
            f"| {size} | {found['cpu_ms_per_request']:.3f} | {found['requests_per_second']} |"
            for size, found in gateway["answers"].items()
        ),
        "",
    ]
    return "\n".join(lines)


def _table(rounds: Rounds) -> list[str]:
    return [_HEAD, _RULE, *(_row(name, figures) for name, figures in rounds.items())]


def _row(name: str, figures: list[Figures]) -> str:
    best = min(figures, key=lambda found: found["cpu_ms"]["total"])
    parts = [f"{best['cpu_ms'][part]:.2f}" for part in PARTS]
    middle = median(found["cpu_ms"]["total"] for found in figures)
    rate = max(found["requests_per_second"] for found in figures)
    return f"| {name} | {' | '.join(parts)} | {middle:.2f} | {rate} |"


def _ratio(rounds: Rounds) -> float:
    first, late = (median(found["cpu_ms"]["total"] for found in rounds[name]) for name in (FIRST, LATE))
    return float(late / first)


def _looks(rounds: Rounds) -> float:
    return float(median(found["looks_per_order"] for found in rounds["checkout"]))


def _machine() -> dict[str, Any]:
    described = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in described if line.startswith("model name")]
    packages = ("fastapi", "uvicorn", "sqlalchemy", "asyncpg")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "revision": _git("rev-parse", "--short=12", "HEAD") + ("" if _is_clean() else " with changes"),
        "cpu": models[0] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "versions": f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages),
        "load_average": Path("/proc/loadavg").read_text().split()[0],
    }


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip() or "unknown"  # noqa: S607 - our own arguments, the caller's git


def _is_clean() -> bool:
    return not _git("status", "--porcelain", "--untracked-files=no").replace("unknown", "")
