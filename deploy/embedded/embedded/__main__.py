"""`make run`, `make reset` and `make seed`."""

import argparse
import sys
import time

from embedded.doors import Doors, PortRefused
from embedded.home import Home, NotOurFolder, ShopIsOpen


def main() -> int:
    """Do what the command line says; 0 when it worked."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="embedded")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="open the shop")
    commands.add_parser("reset", help="wipe its data")
    commands.add_parser("seed", help="fill the catalogue").add_argument("--size", type=int, default=300)
    arguments = parser.parse_args()
    home = Home.from_environment()
    try:
        if arguments.command == "reset":
            return _reset(home)
        if arguments.command == "seed":
            from embedded.seeding import seed

            return seed(home, arguments.size)
        return _run(home, started)
    except (NotOurFolder, PortRefused, ShopIsOpen) as refusal:
        return _refuse(str(refusal))


def _reset(home: Home) -> int:
    print("Wiped." if home.wipe() else "Nothing to wipe.")
    return 0


def _run(home: Home, started: float) -> int:
    doors = Doors.from_environment()
    home.prepare()
    from embedded.opening import open_shop

    with home.alone():
        return open_shop(home, doors, started=started)


def _refuse(why: str) -> int:
    print(why, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
