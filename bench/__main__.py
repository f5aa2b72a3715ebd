"""`make bench`: what requests cost on a shop of 100,000 products, written to `bench/results/`.

The shop runs as `make run` starts it, on a data folder of its own (HAAT_BENCH_DATA, or .haat-bench) that is filled
once and kept. Load programs are processes of their own. CPU is counted, since the machine may be shared: each
measurement is repeated, and the smallest and the middle value are kept.

    python -m bench                      everything, three rounds
    python -m bench --rounds 1 --scale 0.2 --no-write      a quick look
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import gateway_cpu
from bench.browsing import Figures
from bench.catalog_alone import catalog_alone
from bench.load import Task, measure
from bench.report import Rounds, write
from embedded.databases import POSTGRES_SETTINGS
from localservers.postgres import PostgresServer
from tests.patience import soon
from tests.shop_process import ShopProcess

PRODUCTS = 100_000


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of requests")
    parser.add_argument("--name", default="", help="of the files with the results; the date when not given")
    parser.add_argument("--no-write", action="store_true", help="print the results only")
    chosen = parser.parse_args()
    shop = _filled_shop(Path(os.environ.get("HAAT_BENCH_DATA") or ".haat-bench").absolute())
    rounds = _shop_rounds(shop, rounds=chosen.rounds, scale=chosen.scale)
    alone = _catalog_rounds(shop, rounds=chosen.rounds, scale=chosen.scale)
    gateway = gateway_cpu.measure(seconds=5 * chosen.scale, connections=16, rounds=chosen.rounds)
    folder = None if chosen.no_write else Path(__file__).parent / "results"
    print(write(folder, name=chosen.name, shop=rounds, catalog=alone, gateway=gateway))


def _filled_shop(folder: Path) -> ShopProcess:
    """A closed shop with its many products, made at the first run."""
    shop = ShopProcess(folder=folder, data=folder / "data")
    filled = folder / f"filled-with-{PRODUCTS}"
    if not filled.exists():
        with _open(shop):
            pass
        environment = {**os.environ, "HAAT_DATA": str(shop.data)}
        seed = [sys.executable, "-m", "embedded", "seed", "--size", str(PRODUCTS)]
        subprocess.run(seed, env=environment, check=True)
        filled.touch()
    return shop


@contextmanager
def _open(shop: ShopProcess) -> Iterator[int]:
    """The open shop's process id."""
    process = shop.launch()
    try:
        soon(lambda: "make reset" in shop.printed or process.poll() is not None, what="The opening", within=120)
        if process.poll() is not None:
            raise SystemExit(f"The shop did not open: {shop.complaints}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _shop_rounds(shop: ShopProcess, *, rounds: int, scale: float) -> Rounds:
    found: Rounds = defaultdict(list)
    with _open(shop) as pid:
        for number in range(rounds):
            for what in ("idle", "reading", "adding", "checkout", "checkout with sign-in"):
                task = Task(what=what, base_url=shop.gateway, simulator=shop.simulator, pid=pid, scale=scale)
                _keep(found, asyncio.run(measure(task)), progress=f"round {number + 1} of {rounds}, shop")
    return found


def _catalog_rounds(shop: ShopProcess, *, rounds: int, scale: float) -> Rounds:
    found: Rounds = defaultdict(list)
    server = PostgresServer(shop.data / "postgres", settings=POSTGRES_SETTINGS)
    server.start()
    try:
        assert server.pid is not None
        with catalog_alone(shop.database_url("catalog")) as (base_url, pid):
            for number in range(rounds):
                task = Task(what="reading", base_url=base_url, pid=pid, postgres=server.pid, scale=scale)
                _keep(found, asyncio.run(measure(task)), progress=f"round {number + 1} of {rounds}, catalog alone")
    finally:
        server.stop()
    return found


def _keep(rounds: Rounds, found: dict[str, Figures], *, progress: str) -> None:
    print(f"{progress}: {', '.join(found)}", file=sys.stderr)
    for name, figures in found.items():
        rounds[name].append(figures)


if __name__ == "__main__":
    main()
