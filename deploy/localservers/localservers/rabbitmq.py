"""A real RabbitMQ for tests, from whatever the machine has: never skipped, never guessed."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from localservers.broker import BrokerUnavailable, GivenBroker, RunningBroker
from localservers.rabbitmq_in_docker import start_in_docker
from localservers.rabbitmq_node import LocalNode, start_node
from localservers.rabbitmq_programs import installed_programs, unpacked_programs

Broker = TypeVar("Broker", bound=RunningBroker)


class NoRabbitMQ(Exception):
    def __init__(self, reasons: list[str]) -> None:
        super().__init__(
            "No RabbitMQ could be provided: install rabbitmq-server (Debian, Ubuntu: apt install "
            "rabbitmq-server; macOS: brew install rabbitmq), start Docker, or set TEST_AMQP_URL. "
            f"Tried: {'; '.join(reasons)}."
        )


def provide_lasting_rabbitmq(cache: Path, *, data: Path, definitions: Path) -> LocalNode:
    """One that keeps what it stores in `data`, and knows its users and queues from `definitions` before it listens.

    Never in a container, whose files would belong to somebody else.
    """
    return _first_of(
        (
            lambda: start_node(installed_programs(), data=data, definitions=definitions),
            lambda: start_node(unpacked_programs(cache), data=data, definitions=definitions),
        )
    )


def provide_rabbitmq(cache: Path, *, private: bool = False) -> RunningBroker:
    """The best broker to be had. `private` asks for one that may be killed, whatever TEST_AMQP_URL says.

    `cache` is a folder that outlives the run, for programs that had to be unpacked.
    """
    given = os.environ.get("TEST_AMQP_URL")
    if given and not private:
        return GivenBroker(given)
    return _first_of(
        (
            start_in_docker,
            lambda: start_node(installed_programs()),
            lambda: start_node(unpacked_programs(cache)),
        )
    )


def _first_of(sources: Iterable[Callable[[], Broker]]) -> Broker:
    reasons: list[str] = []
    for start in sources:
        try:
            return start()
        except BrokerUnavailable as reason:
            reasons.append(str(reason))
    raise NoRabbitMQ(reasons)
