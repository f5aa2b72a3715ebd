"""Several processes of a service: the loss of one is nobody's trouble as long as another answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from chassis.balancing import LEAVING, REST, BalancedUpstream
from chassis.clients import (
    FAREWELL,
    UpstreamBroken,
    UpstreamFailure,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamUnreachable,
)


@dataclass
class Process:
    """One that answers with its name, until it is told to fail."""

    name: str
    failure: UpstreamFailure | None = None
    is_leaving: bool = False
    asked: int = 0

    async def send(self, _request: UpstreamRequest) -> UpstreamResponse:
        self.asked += 1
        if self.failure is not None:
            raise self.failure

        async def body() -> AsyncIterator[bytes]:
            yield self.name.encode()

        async def close() -> None:
            return

        return UpstreamResponse(200, [FAREWELL] if self.is_leaving else [], body(), close)

    async def close(self) -> None:
        return


@dataclass
class Replicas:
    first: Process = field(default_factory=lambda: Process("first"))
    second: Process = field(default_factory=lambda: Process("second"))
    now: float = 0.0

    def __post_init__(self) -> None:
        self.upstream = BalancedUpstream([self.first, self.second], clock=lambda: self.now)

    async def ask(self, method: str = "GET") -> str:
        return (await (await self.upstream.send(UpstreamRequest(method, b"/"))).read()).decode()


@pytest.fixture
def replicas() -> Replicas:
    return Replicas()


async def test_requests_go_round(replicas: Replicas) -> None:
    assert sorted([await replicas.ask() for _ in range(4)]) == ["first", "first", "second", "second"]


async def test_what_never_left_goes_to_another_whatever_the_method(replicas: Replicas) -> None:
    replicas.first.failure = UpstreamUnreachable("refused")
    assert {await replicas.ask("POST") for _ in range(4)} == {"second"}
    assert replicas.first.asked == 1, "it is passed over for a while"


async def test_what_may_have_happened_is_not_repeated_here_and_goes_elsewhere_when_the_caller_repeats_it(
    replicas: Replicas,
) -> None:
    replicas.first.failure = replicas.second.failure = UpstreamBroken("in the middle")
    with pytest.raises(UpstreamBroken):
        await replicas.ask("POST")
    assert replicas.first.asked + replicas.second.asked == 1

    with pytest.raises(UpstreamBroken):
        await replicas.ask("GET")
    assert replicas.first.asked == replicas.second.asked == 1


async def test_one_that_came_back_gets_its_share_again(replicas: Replicas) -> None:
    replicas.first.failure = UpstreamUnreachable("refused")
    for _ in range(2):
        await replicas.ask()
    replicas.first.failure = None
    replicas.now += REST
    assert "first" in {await replicas.ask() for _ in range(2)}


async def test_when_all_are_gone_each_is_still_asked(replicas: Replicas) -> None:
    replicas.first.failure = replicas.second.failure = UpstreamUnreachable("refused")
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await replicas.ask()
    assert replicas.first.asked == replicas.second.asked == 3


async def test_one_that_said_farewell_gets_no_more_until_it_is_back(replicas: Replicas) -> None:
    replicas.first.is_leaving = True
    assert [await replicas.ask() for _ in range(6)].count("first") == 1
    replicas.second.failure = UpstreamUnreachable("refused")
    assert await replicas.ask() == "first", "rather than nobody"
    replicas.first.is_leaving, replicas.second.failure = False, None
    replicas.now += LEAVING
    assert {await replicas.ask() for _ in range(2)} == {"first", "second"}
