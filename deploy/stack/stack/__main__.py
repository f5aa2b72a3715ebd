"""`make stack`, `make stack-status`, `make stack-restart` and `make events`."""

import argparse
import sys
import time

from embedded.doors import PortRefused
from embedded.home import Home, NotOurFolder, ShopIsOpen
from stack.events import ALL, operate
from stack.topology import SERVICES

FOLDER = ".haat-stack"


def main() -> int:
    """Do what the command line says; 0 when it worked."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="stack")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="open the shop")
    commands.add_parser("status", help="tell how its processes are")
    operating = commands.add_parser("events", help="look at given-up messages, replay or drop them, publish again")
    operating.add_argument("service", choices=[*(part.name for part in SERVICES), ALL])
    operating.add_argument("do", nargs=argparse.REMAINDER, help="list, show, replay, drop or republish")
    restart = commands.add_parser("restart", help="replace the processes of a part, one after the other")
    restart.add_argument("name", help="a part, such as catalog, or one of its processes, such as catalog-1")
    restart.add_argument("--release", help="the program that they run from now on, in place of the part's own")
    arguments = parser.parse_args()
    home = Home.from_environment(default=FOLDER)
    if arguments.command == "status":
        from stack.status import print_status

        return print_status(home)
    if arguments.command == "events":
        return operate(home, arguments.service, arguments.do)
    if arguments.command == "restart":
        from stack.replacing import replace

        return replace(home, arguments.name, release=arguments.release)
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
