"""Several processes of one service behind one upstream: requests go round, and past one that is gone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chassis.clients import FAREWELL, Upstream, UpstreamFailure, UpstreamRequest, UpstreamResponse, UpstreamUnreachable

LEAVING = 5.0
"""Seconds for which a process that said farewell is passed over: by then it is gone, or back."""
REST = 1.0
"""Seconds for which a process that did not answer is passed over; doubled with each further failure."""
LONGEST_REST = 15.0


@dataclass(slots=True, eq=False)
class _Place:
    upstream: Upstream
    failures: int = 0
    rests_until: float = 0.0


class BalancedUpstream:
    """Implements `Upstream` over others.

    What never left is sent to the next one, whatever the method. An answer that broke off is the caller's to judge:
    repeated, the request goes elsewhere, since the place that failed rests.
    """

    def __init__(self, upstreams: Sequence[Upstream], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = [_Place(upstream) for upstream in upstreams]
        self._clock = clock
        self._turn = 0

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """The answer of the first that can be reached. Raises UpstreamFailure."""
        *others, last = self._in_turn()
        for place in others:
            try:
                return await self._send(place, request)
            except UpstreamUnreachable:
                continue
        return await self._send(last, request)

    async def close(self) -> None:
        """Close all of them."""
        for place in self._places:
            await place.upstream.close()

    def _in_turn(self) -> list[_Place]:
        """Those that work, each beginning as often as the others; those that rest are the last resort."""
        self._turn = (self._turn + 1) % len(self._places)
        turned = self._places[self._turn :] + self._places[: self._turn]
        now = self._clock()
        return sorted(turned, key=lambda place: place.rests_until > now)

    async def _send(self, place: _Place, request: UpstreamRequest) -> UpstreamResponse:
        try:
            response = await place.upstream.send(request)
        except UpstreamFailure:
            place.rests_until = self._clock() + min(REST * 2**place.failures, LONGEST_REST)
            place.failures = min(place.failures + 1, 10)
            raise
        place.failures, place.rests_until = 0, 0.0
        if FAREWELL in response.headers:
            place.rests_until = self._clock() + LEAVING
        return response
