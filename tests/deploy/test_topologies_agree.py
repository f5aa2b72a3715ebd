"""The forms of the shop are one shop: same services, ports, databases, queues and variables."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import AliasChoices

from chassis.inprocess import InProcessBus
from chassis.settings import ServiceSettings
from embedded.home import SERVICES as DATABASES
from embedded.home import Home
from embedded.shop import Shop
from gateway.routes import RouteTable
from stack.topology import CONNECTIONS, GATEWAY, MANAGEMENT, MOST_REPLICAS, PARTS, SERVICES, Part, members

ROOT = Path(__file__).parents[2]
ON_ONE_WIRE = {"host", "port", "management_port", "role", "amqp_url"}
"""What a process of its own needs, and services in one process do not."""
HANDED_IN = {"jwks"}
"""What the embedded shop hands to its services, and a process fetches from accounts."""


@dataclass(frozen=True)
class Embedded:
    """The embedded shop, put together and not started."""

    shop: Shop

    def settings(self, part: Part) -> ServiceSettings:
        return self.shop.gateway.settings if part is GATEWAY else self.shop.services[part.name].settings


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    for part in PARTS:
        for variable in variables_of(part):
            monkeypatch.delenv(variable, raising=False)
    home = Home(tmp_path)
    shop = Shop(
        secrets=home.secrets(),
        database_urls={name: f"postgresql://{name}@localhost/{name}" for name in DATABASES},
        bus=InProcessBus("postgresql://bus@localhost/bus"),
        public_url="http://localhost:8000",
        simulator_url="http://127.0.0.1:8090",
    )
    return Embedded(shop)


def variables_of(part: Part) -> Iterable[str]:
    return part.variables()


def variable_of(settings: ServiceSettings, field: str) -> str:
    """The variable that a field is read from."""
    alias = type(settings).model_fields[field].validation_alias
    if field in ("env", "otlp_endpoint"):
        return str(alias.choices[0] if isinstance(alias, AliasChoices) else alias)
    return f"{settings.service.upper()}_{field.upper()}"


def test_they_have_the_same_services_with_databases_of_the_same_names(embedded: Embedded) -> None:
    assert [part.name for part in SERVICES] == list(embedded.shop.services)
    assert {part.name for part in PARTS if part.has_database} == set(DATABASES)
    assert set(RouteTable().services) <= {part.name for part in PARTS}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_stack_uses_the_ports_that_services_choose_by_themselves(part: Part, embedded: Embedded) -> None:
    fields = type(embedded.settings(part)).model_fields
    assert fields["port"].default == part.port
    assert fields["management_port"].default == part.management_port == part.port + MANAGEMENT


def test_no_two_processes_share_a_port() -> None:
    processes = [
        process for part in SERVICES for process in members(part, replicas=MOST_REPLICAS, is_split=part.has_worker)
    ]
    answering = [process for process in (*processes, *members(GATEWAY)) if process.role != "worker"]
    taken = [process.port for process in answering]
    taken += [process.management_port for process in (*processes, *members(GATEWAY))]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("part", SERVICES, ids=lambda part: part.name)
def test_queues_are_bound_to_what_the_service_listens_to(part: Part, embedded: Embedded) -> None:
    listens_to = {subscription.type for subscription in embedded.shop.services[part.name].subscriptions}
    assert listens_to == set(part.listens_to)


@pytest.mark.parametrize("part", SERVICES, ids=lambda part: part.name)
def test_each_may_publish_what_its_contracts_promise(part: Part) -> None:
    contracts = (ROOT / "services" / part.name / "contracts" / "events").glob("*.schema.json")
    assert {file.name.removesuffix(".schema.json") for file in contracts} == set(part.publishes)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_variable_that_is_set_is_read(part: Part, embedded: Embedded) -> None:
    settings = embedded.settings(part)
    read = {variable_of(settings, field) for field in type(settings).model_fields}
    assert set(part.variables()) <= read


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_what_one_form_sets_the_other_sets_too(part: Part, embedded: Embedded) -> None:
    settings = embedded.settings(part)
    fields = {variable_of(settings, field): field for field in type(settings).model_fields}
    in_stack = {fields[variable] for variable in part.variables()}
    addresses = {f"{name}_url" for name in part.calls}
    in_embedded = settings.model_fields_set - HANDED_IN
    if not part.has_database:
        in_embedded = in_embedded - {"database_url"}
    assert in_stack - ON_ONE_WIRE - addresses == in_embedded


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_variable_that_a_service_reads_is_documented(part: Part, embedded: Embedded) -> None:
    settings = embedded.settings(part)
    folder = ROOT / "gateway" if part is GATEWAY else ROOT / "services" / part.name
    own, shared = (folder / "README.md").read_text(), (ROOT / "chassis" / "README.md").read_text()
    missing = [
        variable_of(settings, field)
        for field in type(settings).model_fields
        if not _is_documented(variable_of(settings, field), prefix=part.prefix, own=own, shared=shared)
    ]
    assert not missing


def _is_documented(variable: str, *, prefix: str, own: str, shared: str) -> bool:
    shortened = f"`…_{variable.removeprefix(prefix)}`"
    # The gateway reads this one without its name: storefronts are a matter of the whole shop.
    spellings = {f"`{variable}`", shortened, "`CORS_ORIGINS`" if variable == "GATEWAY_CORS_ORIGINS" else shortened}
    return any(spelling in own for spelling in spellings) or f"`{variable}`" in shared or shortened in shared


def test_the_database_server_allows_what_a_process_may_open() -> None:
    fields = ServiceSettings.model_fields
    pools = sum(fields[name].default for name in ("db_pool_size", "db_max_overflow", "read_pool_max"))
    lock = 1
    assert pools + lock == CONNECTIONS
