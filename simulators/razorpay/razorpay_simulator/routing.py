"""Which function answers which URL. The name of an API route is what the fault menu knows it by."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from razorpay_simulator.provider import Provider
from razorpay_simulator.wire import Answer, Request

Operation = Callable[[Provider, Request], Answer]


class Route(Struct, frozen=True, kw_only=True):
    name: str
    method: str
    path: str
    operation: Operation
    after_webhooks: bool = False

    @property
    def is_api(self) -> bool:
        return self.path.startswith(("/v1/", "/v2/"))


class Router:
    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_shape: dict[tuple[str, int], list[tuple[list[str], Route]]] = {}
        for route in routes:
            segments = route.path.split("/")
            self._by_shape.setdefault((route.method, len(segments)), []).append((segments, route))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        asked = path.split("/")
        for segments, route in self._by_shape.get((method, len(asked)), ()):
            params = _match(segments, asked)
            if params is not None:
                return route, params
        return None


def _match(segments: list[str], asked: list[str]) -> dict[str, str] | None:
    params = {}
    for segment, given in zip(segments, asked, strict=True):
        if segment.startswith("{"):
            params[segment[1:-1]] = given
        elif segment != given:
            return None
    return params
