"""The form with containers is the same shop: it names what the topology names, and tells each part what it reads."""

import json
import re
from pathlib import Path

import pytest
from pydantic import AliasChoices

from accounts.registration import DEMO_PASSWORD, DEMO_USERS
from accounts.settings import AccountsSettings
from cart.settings import CartSettings
from catalog.settings import CatalogSettings
from chassis.settings import ServiceSettings
from gateway.settings import GatewaySettings
from orders.settings import OrdersSettings
from payments.settings import PaymentsSettings
from stack.topology import GATEWAY, PARTS, SERVICES, Part, connections, members
from tests.deploy.broker_definitions import without_passwords
from tests.deploy.compose_file import DEFINITIONS, ROOT, ComposeFile, files_of, hand_out

SETTINGS: dict[str, type[ServiceSettings]] = {
    "accounts": AccountsSettings,
    "catalog": CatalogSettings,
    "cart": CartSettings,
    "orders": OrdersSettings,
    "payments": PaymentsSettings,
    "gateway": GatewaySettings,
}
NAMES = [part.name for part in PARTS]
DOCKERFILES = {
    **{part.name: ROOT / "services" / part.name / "Dockerfile" for part in SERVICES},
    "gateway": ROOT / "gateway" / "Dockerfile",
    "simulator": ROOT / "simulators" / "razorpay" / "Dockerfile",
}
OBSERVING = ("prometheus", "grafana", "traces")
"""What operators look at; only with a profile of its own."""
GENEROUS = 2
"""Processes of each service that the database has to have room for, so that one can be replaced by the next."""


@pytest.fixture(scope="module")
def compose() -> ComposeFile:
    return ComposeFile.read()


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the demo's secrets."""
    folder: Path = tmp_path_factory.mktemp("secrets")
    for command in (["demo"], []):
        done = hand_out(folder, *command)
        assert done.returncode == 0, done.stderr
    return folder


def test_it_has_every_part_and_nothing_unknown(compose: ComposeFile) -> None:
    assert set(compose.lasting()) == {*NAMES, "simulator", "postgres", "rabbitmq", *OBSERVING}
    migrations = {f"{part.name}-migrate" for part in SERVICES}
    assert set(compose.ending()) == {*migrations, "accounts-seed", "catalog-seed", "demo-secrets", "secrets"}


@pytest.mark.parametrize("part", PARTS, ids=NAMES)
def test_a_part_listens_where_the_topology_says_and_finds_its_neighbours(compose: ComposeFile, part: Part) -> None:
    environment = compose.environment(part.name)
    ports = {name: environment[f"{part.prefix}{name}"] for name in ("PORT", "MANAGEMENT_PORT")}
    assert ports == {"PORT": str(part.port), "MANAGEMENT_PORT": str(part.management_port)}
    neighbours = {each.name: f"http://{each.name}:{each.port}" for each in PARTS if each.name in part.calls}
    assert {name: environment[f"{part.prefix}{name.upper()}_URL"] for name in part.calls} == neighbours


@pytest.mark.parametrize("part", PARTS, ids=NAMES)
def test_a_part_is_told_what_it_needs_and_nothing_that_it_does_not_read(
    compose: ComposeFile, handed: Path, part: Part
) -> None:
    told = {*compose.environment(part.name), *files_of(handed / part.name)}
    assert set(part.variables()) <= told, "the stack tells it more"
    assert told <= read_by(SETTINGS[part.name]) | {"HAAT_SECRETS"}, "nobody reads that"


def read_by(settings: type[ServiceSettings]) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    read = set()
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            read |= {choice for choice in alias.choices if isinstance(choice, str)}
        else:
            read.add(alias if isinstance(alias, str) else f"{prefix}{name}".upper())
    return read


@pytest.mark.parametrize("part", SERVICES, ids=[part.name for part in SERVICES])
def test_a_service_reaches_the_database_and_the_broker_as_itself(handed: Path, part: Part) -> None:
    files = files_of(handed / part.name)
    database, broker = files[f"{part.prefix}DATABASE_URL"], files[f"{part.prefix}AMQP_URL"]
    assert re.fullmatch(rf"postgresql://{part.name}:[^@]+@postgres:5432/{part.name}", database)
    assert re.fullmatch(rf"amqp://{part.name}:[^@]+@rabbitmq:5672/", broker)


def test_the_broker_knows_the_queues_users_and_rights_of_the_topology() -> None:
    written = json.loads(DEFINITIONS.read_text())
    assert written == without_passwords(), "run: python -m tests.deploy.broker_definitions"


def test_the_databases_have_room_for_every_connection(compose: ComposeFile) -> None:
    (setting,) = [word for word in compose.containers["postgres"]["command"] if "max_connections" in word]
    processes = [process for part in SERVICES for process in members(part, replicas=GENEROUS)]
    assert int(setting.partition("=")[2]) >= connections(processes)


def test_only_the_gateway_has_a_door_and_the_demo_a_second_one(compose: ComposeFile) -> None:
    doors = {name: each["ports"] for name, each in compose.containers.items() if "ports" in each}
    assert doors == {
        "gateway": ["127.0.0.1:8000:8000"],
        "simulator": ["127.0.0.1:8090:8090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    assert compose.containers["simulator"]["profiles"] == ["demo"]
    assert {name for name, each in compose.containers.items() if each.get("profiles") == ["observability"]} == {
        *OBSERVING
    }
    outside = {name for name, each in compose.containers.items() if "outside" in each.get("networks", ())}
    assert outside == {"gateway", "payments", "simulator", "grafana"}
    assert compose.document["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_health_check_asks_a_route_that_is_there(name: str) -> None:
    dockerfile = DOCKERFILES[name].read_text()
    asked = re.search(r"HTTPConnection\('127\.0\.0\.1', (\d+).*'GET', '(/\w+)'", dockerfile)
    assert asked is not None
    ports = {part.name: part.management_port for part in PARTS} | {"simulator": 8090}
    assert (int(asked[1]), asked[2]) == (ports[name], "/readyz")
    answering = {
        "gateway": ROOT / "gateway" / "gateway" / "app.py",
        "simulator": ROOT / "simulators" / "razorpay" / "razorpay_simulator" / "app.py",
    }.get(name, ROOT / "chassis" / "chassis" / "service.py")
    assert '"/readyz"' in answering.read_text()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_holds_one_part_as_locked_and_runs_as_nobody(name: str) -> None:
    dockerfile = DOCKERFILES[name].read_text()
    assert f"COPY requirements/{name}.txt" in dockerfile
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER \d+:\d+$", dockerfile, re.MULTILINE)
    build, _, run = dockerfile.partition("\nFROM python:3.13-slim\n")
    copied = {source.split("/")[1] for source in re.findall(r"^COPY services/\w+", build, re.MULTILINE)}
    assert copied <= {name}, "another service's code"
    assert "pip" not in run.partition("COPY")[2], "nothing is installed where it runs"
    assert "# syntax" not in dockerfile


def test_every_container_is_held_tight(compose: ComposeFile) -> None:
    for name, each in compose.containers.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert each["logging"]["options"]["max-size"] == "10m", name
    for name, each in compose.lasting().items():
        assert set(each["deploy"]["resources"]["limits"]) == {"memory", "pids"}, name


def test_what_operators_see_stays_within_its_memory_and_disk(compose: ComposeFile) -> None:
    """Prometheus and the trace store keep what fits, not what comes in."""
    assert any("--storage.tsdb.retention.size=" in each for each in compose.containers["prometheus"]["command"])
    (bound,) = compose.containers["traces"]["command"]
    setting, _, most = bound.partition("=")[2].rpartition("=")
    assert setting == "extensions.jaeger_storage.backends.some_storage.memory.max_traces"
    # A purchase of all its requests is some 60 spans of about half a KiB; most traces are a read of two.
    assert int(most) * 20 * 1024 < 300 * 1024 * 1024


def test_a_part_starts_after_its_own_migrations_and_what_ends_is_waited_for(compose: ComposeFile) -> None:
    for part in SERVICES:
        needs = compose.containers[part.name]["depends_on"]
        assert needs[f"{part.name}-migrate"] == {"condition": "service_completed_successfully"}
        assert {needs[server]["condition"] for server in ("postgres", "rabbitmq")} == {"service_healthy"}
    healthy = {name: need["condition"] for name, need in compose.containers[GATEWAY.name]["depends_on"].items()}
    assert healthy == dict.fromkeys((*(part.name for part in SERVICES), "rabbitmq"), "service_healthy")
    # `up --wait` fails on a container that ended, unless another one waited for that.
    waited_for = {
        name
        for each in compose.containers.values()
        for name, need in each.get("depends_on", {}).items()
        if need["condition"] == "service_completed_successfully"
    }
    assert waited_for == set(compose.ending())


@pytest.mark.parametrize("document", ["docker-compose.yml", "README.md"])
def test_who_opens_the_demo_is_told_where_its_door_is_and_how_to_sign_in(compose: ComposeFile, document: str) -> None:
    """`up --wait` prints nothing of the kind."""
    told = (ROOT / document).read_text()
    assert [word for word in (*(user.email for user in DEMO_USERS), DEMO_PASSWORD) if word not in told] == []
    for name in ("gateway", "simulator"):
        (door,) = compose.containers[name]["ports"]
        assert door.split(":")[1] in told, name


def test_what_belongs_to_the_demo_is_not_required_outside_it(compose: ComposeFile) -> None:
    of_the_demo = {name for name, each in compose.containers.items() if each.get("profiles") == ["demo"]}
    assert of_the_demo == {"demo-secrets", "accounts-seed", "catalog-seed", "simulator"}
    for name, each in compose.containers.items():
        for needed, need in each.get("depends_on", {}).items():
            assert needed not in of_the_demo or need["required"] is False, f"{name} needs {needed}"


def test_everything_that_can_be_set_is_documented(compose: ComposeFile) -> None:
    documented = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert documented == compose.variables_read()
