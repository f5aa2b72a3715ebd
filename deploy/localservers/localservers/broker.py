"""What a test may do to a RabbitMQ, wherever it came from."""

from abc import ABC, abstractmethod


class BrokerUnavailable(Exception):
    """Why one source of brokers has none to give; the next one is asked."""


class BrokerIsNotOurs(Exception):
    def __init__(self, source: str) -> None:
        super().__init__(f"This broker is not ours to stop, pause or command: {source}.")


class RunningBroker(ABC):
    """`kill` is a crash and `stop` a clean end; `restart` follows either."""

    amqp_url: str
    version: str
    source: str

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Ends the broker for good and removes what it stored."""

    @abstractmethod
    def kill(self) -> None: ...

    @abstractmethod
    def restart(self) -> None:
        """Starts it again on the same port with the same data, stopping it first where it runs."""

    @abstractmethod
    def pause(self) -> None:
        """Freezes it with its connections open, as a machine under memory pressure does."""

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def ctl(self, *args: str) -> str:
        """Runs rabbitmqctl against it and returns what it printed."""


class GivenBroker(RunningBroker):
    """The one that TEST_AMQP_URL names."""

    def __init__(self, amqp_url: str) -> None:
        self.amqp_url = amqp_url
        self.version = "of an unknown version"
        self.source = "TEST_AMQP_URL"

    def stop(self) -> None:
        raise BrokerIsNotOurs(self.source)

    def close(self) -> None:
        """It goes on: somebody else started it."""

    def kill(self) -> None:
        raise BrokerIsNotOurs(self.source)

    def restart(self) -> None:
        raise BrokerIsNotOurs(self.source)

    def pause(self) -> None:
        raise BrokerIsNotOurs(self.source)

    def resume(self) -> None:
        raise BrokerIsNotOurs(self.source)

    def ctl(self, *_args: str) -> str:
        raise BrokerIsNotOurs(self.source)
