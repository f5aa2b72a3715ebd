"""What the policy and the shells tell each other. Bodies are not among it: shells count bytes against the plan."""

from dataclasses import dataclass, field
from enum import StrEnum

from chassis.auth import Principal
from chassis.problems import Problem
from gateway.cache import Fill, Stored
from gateway.cache_control import Lifetime
from gateway.headers import AnswerHead, Headers
from gateway.routes import Route


@dataclass(slots=True)
class Head:
    """A request's head as it came; `target` is the raw path with its query."""

    method: str
    target: bytes
    headers: Headers
    http_version: str = "1.1"
    peer: str = ""
    """The address at the other end of the connection."""


@dataclass(slots=True)
class Context:
    """What is known about a request so far, for its answer, its log line and the metrics."""

    request_id: str
    route: Route | None = None
    principal: Principal | None = None
    headers: Headers = field(default_factory=list)
    """Headers that every answer to this request carries."""
    cache: str = ""
    """What the cache had for it, if it was asked: hit, joined, stale, confirmed, spare or miss."""
    may_wait: bool = True
    """For keys; not when it did already."""


@dataclass(slots=True)
class Read:
    """A public read, which may be answered from the cache."""

    key: bytes
    if_none_match: bytes | None
    asked_after: float
    """Takes an answer for which the service was asked after this moment: when the client wants it fresh, its own."""
    with_body: bool
    """False for HEAD."""
    stale: Stored | None = None
    """What is kept but too old to be sent without a word from the service."""
    fill: Fill | None = None
    """Set while this request asks for everybody."""
    joins: int = 0
    """How often it waited for the answer to another request."""


@dataclass(slots=True)
class Plan:
    """How to forward one request."""

    context: Context
    route: Route
    method: str
    target: bytes
    headers: Headers
    body_length: int | None
    """None when only its end will tell."""
    answer_body: bool
    """False for HEAD: the service is asked with GET, and its body dropped."""
    read: Read | None = None
    attempt: int = 1


class Need(StrEnum):
    """What a decision waits for."""

    KEYS = "keys"
    """A fresh key set: the token names a key we do not know."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Obtain this, then ask again."""

    need: Need


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer with this; no service is asked."""

    context: Context
    head: AnswerHead
    body: bytes = b""
    refresh: Plan | None = None
    """Send this on afterwards, with no client waiting: the answer was on its last legs."""


@dataclass(frozen=True, slots=True)
class Join:
    """The same question is on its way already: wait until it is over, and ask on_joined."""

    plan: Plan
    fill: Fill


@dataclass(frozen=True, slots=True)
class Keep:
    """Read the answer to its end and hand it to on_answer, which says what the client gets."""

    status: int
    headers: Headers
    lifetime: Lifetime | None
    """None when the service confirmed what is kept, and wants it kept no longer."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with this problem."""

    context: Context
    problem: Problem
    head: AnswerHead
    body: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """Send it on."""

    plan: Plan


Step = Refuse | Serve | Forward | Wait | Join
"""What to do with a request."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send it once more."""


class Failure(StrEnum):
    """Why there is no answer to hand on."""

    UNREACHABLE = "unreachable"
    """Nothing was sent."""
    TIMED_OUT = "timed_out"
    BROKEN = "broken"
    BODY_TOO_LARGE = "body_too_large"
    """The client sent more than the route takes, whatever it had announced."""
    BODY_TOO_SLOW = "body_too_slow"
    """The client stopped sending."""


class Outcome(StrEnum):
    """How an exchange with a service ended."""

    ANSWERED = "answered"
    FAILED = "failed"
    CUT_SHORT = "cut_short"
    """The answer's head was sent on, but not all of its body came."""
    ABANDONED = "abandoned"
    """The client went away."""
