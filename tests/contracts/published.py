"""What the services publish, taken from their code: put together with settings that lead nowhere, and not started."""

import importlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from chassis.auth import generate_key
from chassis.clients import UpstreamRequest, UpstreamResponse
from chassis.events import Event, Subscription
from chassis.service import Service
from chassis.testing import IdleBus
from embedded.shop import PARTS

ROOT = Path(__file__).parents[2] / "services"
Document = dict[str, Any]


class Nowhere:
    """An upstream that is never called."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Nobody is there."""
        raise OSError(str(request.target))

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Part:
    """A service and its folder of contracts."""

    name: str
    service: Service
    events: tuple[type[Event], ...]

    @property
    def contracts(self) -> Path:
        """Files that clients and other services build on."""
        return ROOT / self.name / "contracts"

    @property
    def openapi(self) -> Document:
        """The document of its routes."""
        document: Document = self.service.fastapi.openapi()
        return document

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """What it listens to."""
        return self.service.subscriptions

    def schema_file(self, event_type: str) -> Path:
        """Where the shape of an event's data is published."""
        return self.contracts / "events" / f"{event_type}.schema.json"

    def schema(self, event_type: str) -> Document:
        """The published shape of an event's data."""
        return read(self.schema_file(event_type))

    def example(self, event_type: str) -> Document:
        """A realistic message, envelope and all."""
        return read(self.contracts / "events" / f"{event_type}.example.json")


@cache
def parts() -> dict[str, Part]:
    """Every service, as `make run` puts them together."""
    built = {}
    for name, (settings_class, build) in PARTS.items():
        settings = settings_class(
            database_url="postgresql://nobody@127.0.0.1:1/nothing",
            service_key=json.dumps(generate_key(f"{name}.contracts")),
        )
        service = build(settings, IdleBus(), dict.fromkeys(PARTS, Nowhere()))
        built[name] = Part(name, service, _events_of(name))
    return built


def _events_of(name: str) -> tuple[type[Event], ...]:
    """Every event class with a name of its own that the service declares."""
    try:
        module = importlib.import_module(f"{name}.events")
    except ModuleNotFoundError:
        return ()
    declared = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Event)]
    return tuple(item for item in declared if "type" in vars(item))


@cache
def producers() -> dict[str, Part]:
    """Who publishes each type of event."""
    return {event.type: part for part in parts().values() for event in part.events}


def schema_of(event: type[Event]) -> Document:
    """The shape of an event's data as its class has it."""
    return event.model_json_schema(mode="serialization")


def needs() -> list[Path]:
    """Every file in which a consumer tells a producer what it relies on."""
    return sorted(ROOT.glob("*/contracts/consumers/*/*.json"))


def read(file: Path) -> Document:
    """A contract file."""
    document: Document = json.loads(file.read_text())
    return document


def written(document: Document) -> str:
    """A contract file's text: one way, so that a difference is always a change."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
