"""`make test-restore`: a busy shop loses its databases and its broker, and comes back from what an operator has kept.

Each rehearsal follows "Back up and restore" of deploy/README.md, command by command. The shop sells before the backup,
while it is taken, and after it, so that the provider knows of money that no backup has heard of. Then PostgreSQL and
RabbitMQ go with all their files, the backup takes their place, and the shop must come to rest: every invariant holds,
and whatever was paid pays an order, is named, or has gone back.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.faults.stage import HASTE
from tests.restore.backups import Backup, BaseBackup, Dumps
from tests.restore.rehearsal import begun
from tests.shop_process import ShopProcess
from tests.with_stack import stack_in


def main() -> int:
    """0 when nothing that could be kept was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.restore")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--only", default="", help="rehearsals whose name has this in it")
    parser.add_argument("--folder", help="where the shop's data and log are kept; a temporary folder otherwise")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # whoever ends us finds no stack left behind
    kept = nullcontext(arguments.folder) if arguments.folder else tempfile.TemporaryDirectory(prefix="haat ")
    with kept as folder:
        process = stack_in(Path(folder))
        backups: list[Backup] = [BaseBackup(Path(folder) / "of one moment"), Dumps(Path(folder) / "of five moments")]
        try:
            process.open(**HASTE)
            chosen = [backup for backup in backups if arguments.only in backup.name]
            return asyncio.run(_all(process, chosen, seed=arguments.seed))
        finally:
            process.kill()


async def _all(process: ShopProcess, backups: Sequence[Backup], *, seed: int) -> int:
    began = time.monotonic()
    async with begun(process, seed) as rehearsal:
        for backup in backups:
            backup.folder.mkdir()
            await rehearsal.of(backup)
    for complaint in rehearsal.complaints[:50]:
        print(complaint)
    seconds = time.monotonic() - began
    told = f"{len(backups)} rehearsals in {seconds:.0f} s, seed {seed}"
    print(f"{told}; {len(rehearsal.complaints) or 'no'} complaints")
    return 1 if rehearsal.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
