"""What operators do about events: look at messages that a service gave up, and publish again what a broker lost.

python -m orders events list
python -m orders events show | replay | drop ID
python -m orders events republish --since 2h | 2026-11-23T09:00:00Z [--type order.paid.v1]
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from chassis.database import Database
from chassis.events import Bus, NotParked, ParkedMessage, PublishFailed
from chassis.outbox import republish
from chassis.settings import ServiceSettings

CONNECTED_WITHIN = 10.0
"""Seconds until a broker that does not answer is called unreachable."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class BrokerUnreachable(Exception):
    """There is no use in waiting longer."""


def parse(arguments: Sequence[str], *, service: str) -> argparse.Namespace:
    """The command line after `events`; exits with a usage message when it makes no sense."""
    parser = argparse.ArgumentParser(prog=f"python -m {service} events")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the messages that were given up, oldest first")
    listing.add_argument("--limit", type=int, default=100)
    for name, what in (
        ("show", "one of them, with its error and body"),
        ("replay", "deliver it again, from the first attempt"),
        ("drop", "give it up for good"),
    ):
        commands.add_parser(name, help=what).add_argument("id", type=UUID)
    again = commands.add_parser("republish", help="publish again, for a broker that lost its data")
    again.add_argument("--since", type=moment, required=True, help="a time with its zone, or how long ago: 90m, 2h, 7d")
    again.add_argument("--type", action="append", default=[], help="only events of this type; may be repeated")
    return parser.parse_args(arguments)


def moment(text: str) -> datetime:
    """`2h` ago, or a time with its zone. Raises ArgumentTypeError."""
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a time nor a duration such as 2h") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} names no zone; write {text}Z for UTC")
    return time


async def run(settings: ServiceSettings, bus: Bus, arguments: argparse.Namespace) -> int:
    """Do what was parsed; the exit status."""
    try:
        if arguments.command == "republish":
            count = await _republish(settings, since=arguments.since, types=arguments.type)
            _say(f"{count} events go out again; consumers that had them ignore them.")
        else:
            await bus.start()
            try:
                await _on_parked(settings.service, bus, arguments)
            finally:
                await bus.stop()
    except (NotParked, PublishFailed, BrokerUnreachable) as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0


async def _republish(settings: ServiceSettings, *, since: datetime, types: Sequence[str]) -> int:
    """The relay of the running service does the rest."""
    database = Database(settings)
    await database.start()
    try:
        async with database.transaction() as session:
            return await republish(session, since=since, types=types)
    finally:
        await database.stop()


async def _on_parked(service: str, bus: Bus, arguments: argparse.Namespace) -> None:
    await _connected(bus)
    parked = bus.parked(service)
    if arguments.command == "list":
        for message in await parked.list(arguments.limit):
            _say(_line(message))
    elif arguments.command == "show":
        _say(_whole(await parked.show(arguments.id)))
    elif arguments.command == "replay":
        await parked.replay(arguments.id)
        _say(f"{arguments.id} is delivered again.")
    else:
        await parked.drop(arguments.id)
        _say(f"{arguments.id} is gone.")


async def _connected(bus: Bus) -> None:
    try:
        async with asyncio.timeout(CONNECTED_WITHIN):
            while not bus.is_ready():  # noqa: ASYNC110 - the port of the bus has no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise BrokerUnreachable(f"The broker does not answer within {CONNECTED_WITHIN:.0f} s.") from None


def _line(message: ParkedMessage) -> str:
    when = message.parked_at.isoformat(timespec="seconds") if message.parked_at else "at an unknown time"
    reason = message.error.splitlines()[0] if message.error else ""
    return f"{message.id}  {message.type}  {when}  attempts {message.attempts}  {reason}"


def _whole(message: ParkedMessage) -> str:
    try:
        body = msgspec.json.format(message.body.decode(), indent=2)
    except (UnicodeDecodeError, msgspec.DecodeError):
        body = repr(message.body)
    return f"{_line(message)}\n\n{message.error}\n\n{body}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
