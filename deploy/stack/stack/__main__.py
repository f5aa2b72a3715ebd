"""`make stack` and `make stack-status`."""

import argparse
import sys
import time

from embedded.doors import PortRefused
from embedded.home import Home, NotOurFolder, ShopIsOpen

FOLDER = ".haat-stack"


def main() -> int:
    """Do what the command line says; 0 when it worked."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="stack")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="open the shop")
    commands.add_parser("status", help="tell how its processes are")
    arguments = parser.parse_args()
    home = Home.from_environment(default=FOLDER)
    if arguments.command == "status":
        from stack.status import print_status

        return print_status(home)
    from stack.choices import ChoiceRefused, Choices

    try:
        choices = Choices.from_environment()
        home.prepare()
        with home.alone():
            from stack.opening import open_stack

            return open_stack(home, choices, started=started)
    except (ChoiceRefused, NotOurFolder, PortRefused, ShopIsOpen) as refusal:
        print(refusal, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
