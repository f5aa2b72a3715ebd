"""The language services speak to each other: events, their envelope on the wire, and the port of the bus.

An event is written to the outbox in the transaction that made it true, carried by a bus at least once, and applied
once by the consumer's inbox. Two buses implement the port, and one suite of tests holds for both.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, PrivateAttr
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.cancellation import is_stray

LADDER = (5.0, 30.0, 300.0, 1800.0)
"""Seconds between the attempts at a message that fails; after the last it is parked."""

PREFETCH = 10
"""Messages one consumer handles at the same time."""

DRAIN = 20.0
"""Seconds that handlers under way get when consuming stops."""


class Event(BaseModel):
    """A fact that a service tells the others; its fields are the `data` of the envelope.

    Within a major version fields are only added.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    """Literal and versioned: "order.placed.v1"."""
    required: ClassVar[bool] = True
    """Somebody must be bound; an optional one that nobody listens to is done."""

    _was_told_before: bool = PrivateAttr(default=False)

    @property
    def was_told_before(self) -> bool:
        """Whether this is no news; only news is counted."""
        return self._was_told_before

    def again(self) -> Self:
        """The same fact, told once more to whoever asks for it."""
        repeated = self.model_copy()
        repeated._was_told_before = True  # noqa: SLF001 - its own
        return repeated


class Reader(BaseModel):
    """A consumer's own view of an event: it names what it needs and ignores the rest."""

    model_config = ConfigDict(frozen=True, extra="ignore")


AnyReader: TypeAlias = type[Reader]


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a service does about one type of event: `handler` runs once per event, in one transaction."""

    type: str
    reader: AnyReader
    handler: Callable[[AsyncSession, Any], Awaitable[None]]


class Envelope(msgspec.Struct, kw_only=True, frozen=True):
    """CloudEvents 1.0, structured mode.

    The extension `sequence` is a string that sorts as the number does (extensions/sequence.md), so on the wire it is
    padded to the nineteen digits of a BIGINT; here it is a number.
    """

    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    sequence: int
    data: dict[str, Any]
    correlationid: str
    causationid: str | None = None
    traceparent: str | None = None
    specversion: Literal["1.0"] = "1.0"
    datacontenttype: Literal["application/json"] = "application/json"

    def encode(self) -> bytes:
        """The body of the message."""
        fields = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.json.encode({**fields, "sequence": f"{self.sequence:019}"})

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a message; raises Poison when it is none of ours."""
        try:
            fields = msgspec.json.decode(body, type=dict[str, Any])
            return msgspec.convert({**fields, "sequence": int(fields["sequence"])}, cls)
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise Poison(f"The message is not an event envelope: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way: `body` is the finished envelope, headers are for people who look into the broker."""

    type: str
    id: UUID
    body: bytes
    required: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


class Unroutable(Exception):
    """A required event has no consumer; the outbox keeps it."""


class PublishFailed(Exception):
    """The bus did not confirm. The message may have arrived, so it is published again under the same id."""


class Poison(Exception):
    """No later attempt can succeed with this message: it is parked at once."""


class NotYet(Exception):
    """What the event needs has not happened yet: it is tried again later."""


class Unavailable(Exception):
    """The consumer's own infrastructure is down: consuming pauses, and no attempt is counted."""


class NotParked(Exception):
    """No parked message has this id."""


OnBound: TypeAlias = Callable[[], Awaitable[None]]

Handler: TypeAlias = Callable[[bytes, int], Awaitable[None]]
"""Takes a body and the number of the attempt, from 1. Returning acknowledges; see `judge` for what raising does."""


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that was given up, with the reason."""

    id: UUID
    type: str
    attempts: int
    error: str
    parked_at: datetime | None
    body: bytes


class Parked(Protocol):
    """The parked messages of one consumer, for operators."""

    async def count(self) -> int:
        """How many; an alarm when not zero."""

    async def list(self, limit: int = 100) -> Sequence[ParkedMessage]:
        """The oldest ones."""

    async def show(self, id: UUID) -> ParkedMessage:
        """One of them. Raises NotParked."""

    async def replay(self, id: UUID) -> None:
        """Deliver it again, from the first attempt. Raises NotParked."""

    async def drop(self, id: UUID) -> None:
        """Give it up for good. Raises NotParked."""


class Consuming(Protocol):
    """A subscription that runs."""

    async def stop(self) -> None:
        """Take no more messages and let the handlers under way finish, for at most DRAIN seconds."""


class Bus(Protocol):
    """Carries messages from publishers to durable queues, one per consumer, at least once and in no promised order."""

    async def start(self) -> None:
        """Begin to connect; returns at once, also when the broker is away."""

    async def stop(self) -> None:
        """Stop consuming, then publishing."""

    def is_ready(self) -> bool:
        """Whether everything asked for is connected and bound."""

    async def publish(self, message: Message) -> None:
        """Returns once the message is safe. Raises Unroutable (required, and nobody is bound) or PublishFailed."""

    async def subscribe(self, consumer: str, types: Iterable[str], handler: Handler) -> Consuming:
        """Bind the consumer's durable queue to these types and handle what arrives."""

    async def listen(self, name: str, types: Iterable[str], handler: Handler, *, on_bound: OnBound) -> Consuming:
        """Hear these types while connected, each replica for itself; what is missed is not kept.

        `on_bound` runs each time the queue has been bound, at start and after each reconnect, before the first
        message: the place to fetch what may have been missed.
        """

    async def waiting(self, consumer: str) -> int:
        """How many messages the consumer has yet to take, those that wait for their next attempt among them."""

    def parked(self, consumer: str) -> Parked:
        """The messages that the consumer gave up."""


@dataclass(frozen=True, slots=True)
class Handled:
    """Acknowledge."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Acknowledge once the next attempt is safely scheduled."""

    delay: float
    error: str


@dataclass(frozen=True, slots=True)
class Park:
    """Acknowledge once the message is safely parked."""

    error: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Give the message back and take no other for a while."""

    error: str


Verdict: TypeAlias = Handled | Retry | Park | Pause


async def judge(handler: Handler, body: bytes, *, attempt: int, ladder: Sequence[float]) -> Verdict:
    """Run a handler and say what becomes of its message: the one rule that both buses follow."""
    try:
        await handler(body, attempt)
    except Poison as poison:
        return Park(_storable(str(poison)))
    except Unavailable as outage:
        return Pause(str(outage))
    except (Exception, asyncio.CancelledError) as error:  # whatever a handler raises, its message must go somewhere
        if isinstance(error, asyncio.CancelledError) and not is_stray(error):
            raise
        text = _storable("".join(traceback.format_exception_only(error)).strip())
        return Retry(ladder[attempt - 1], text) if attempt <= len(ladder) else Park(text)
    return Handled()


def _storable(text: str) -> str:
    """An error may quote what PostgreSQL and UTF-8 refuse, and must not be lost for it."""
    return text[:2000].replace("\0", "").encode("utf-8", "replace").decode()
