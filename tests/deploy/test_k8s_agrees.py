"""The form for Kubernetes is the same shop: same parts, ports, images, neighbours, variables and routes."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route

from chassis.command_line import http_upstreams, listeners
from chassis.inprocess import InProcessBus
from chassis.service import Service
from chassis.settings import ServiceSettings
from gateway.app import Gateway
from gateway.settings import GatewaySettings
from stack.topology import GATEWAY, PARTS, SERVICES, Part
from tests.deploy.compose_file import ComposeFile, hand_out
from tests.deploy.rendered import DEPLOYMENTS, Rendered, Workload, Workshop
from tests.deploy.test_compose_agrees import SETTINGS, read_by
from tests.deploy.test_compose_secrets import RAZORPAY

NAMES = [part.name for part in PARTS]


def deployments(rendered: Rendered) -> dict[str, Workload]:
    return {each.name: each for each in rendered.workloads() if each.object["kind"] == "Deployment"}


def ports_of(container: dict[str, list[dict[str, str | int]]]) -> dict[str | int, str | int]:
    return {each["name"]: each["containerPort"] for each in container["ports"]}


def told(rendered: Rendered, workload: Workload, secrets: dict[str, str]) -> dict[str, str]:
    """What a process finds in its environment and in its folder of secrets; a variable wins."""
    (app,) = workload.pod["containers"]
    return secrets | workload.environment(app, rendered.config)


def test_it_has_a_process_that_answers_and_one_that_works_for_each_service(production: Rendered) -> None:
    found = deployments(production)
    assert {name: each.part for name, each in found.items()} == {name: part.name for name, part in DEPLOYMENTS.items()}
    assert {each.object["kind"] for each in production.workloads()} == {"Deployment"}


def test_a_part_listens_where_the_topology_says(production: Rendered) -> None:
    services = production.of_kind("Service")
    for name, workload in deployments(production).items():
        part, is_worker = DEPLOYMENTS[name], name.endswith("-worker")
        (app,) = workload.pod["containers"]
        expected = {"http": part.port, "management": part.management_port}
        assert ports_of(app) == ({"management": part.management_port} if is_worker else expected)
        environment = workload.environment(app, production.config)
        assert int(environment[f"{part.prefix}PORT"]) == part.port
        assert int(environment[f"{part.prefix}MANAGEMENT_PORT"]) == part.management_port
        if part.has_worker:
            assert environment[f"{part.prefix}ROLE"] == ("worker" if is_worker else "web")
    assert set(services) == set(NAMES)
    for part in PARTS:
        (port,) = services[part.name]["spec"]["ports"]
        assert (port["port"], port["targetPort"]) == (part.port, "http")


@pytest.mark.parametrize("part", PARTS, ids=NAMES)
def test_a_part_finds_its_neighbours_and_is_told_what_it_reads_and_nothing_else(
    production: Rendered, local: Rendered, workshop: Workshop, part: Part
) -> None:
    for rendered in (production, local):
        for workload in (each for each in deployments(rendered).values() if each.part == part.name):
            everything = told(rendered, workload, workshop.secrets_of(part.name))
            assert set(part.variables()) <= set(everything)
            assert set(everything) <= read_by(SETTINGS[part.name]) | {"HAAT_SECRETS"}
            neighbours = {each.name: f"http://{each.name}:{each.port}" for each in PARTS if each.name in part.calls}
            assert {name: everything[f"{part.prefix}{name.upper()}_URL"] for name in part.calls} == neighbours


@pytest.mark.parametrize("part", PARTS, ids=NAMES)
def test_a_process_of_production_starts_on_what_it_is_told(
    production: Rendered, secrets_of_production: Path, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, workload in deployments(production).items():
        if workload.part != part.name:
            continue
        (app,) = workload.pod["containers"]
        settings = load(
            part, workload.environment(app, production.config), secrets_of_production / part.name, monkeypatch
        )
        assert settings.env == "production"
        assert settings.host == "0.0.0.0"
        assert settings.role == ("all" if part is GATEWAY else name.rpartition("-")[2])
        assert not left_at_this_machine(settings, part), "what is not set means the machine it runs on, or nothing"


def left_at_this_machine(settings: ServiceSettings, part: Part) -> set[str]:
    """Fields whose value says where something is, or what opens it, and was left at what only suits one machine."""
    spare = {"hosts", f"{part.name}_url", *(() if part.has_database else ("database_url",))}
    found = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        is_empty = isinstance(value, SecretStr) and not value.get_secret_value()
        if name not in spare and (is_empty or "127.0.0.1" in str(value) or "localhost" in str(value)):
            found.add(name)
    needed = ("amqp_url", "service_key", *(() if not part.has_database else ("database_url",)))
    return found | {name for name in needed if not getattr(settings, name)}


@pytest.fixture(scope="module")
def secrets_of_production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What deploy/k8s/secrets.sh makes, as a folder for each part."""
    folder: Path = tmp_path_factory.mktemp("secrets")
    lines = [line.partition("=") for line in hand_out(folder, "invent").stdout.splitlines()]
    fresh = {name: value.strip("'") for name, _, value in lines}
    done = hand_out(folder, **fresh, **RAZORPAY, HAAT_ENV="production")
    assert done.returncode == 0, done.stderr
    return folder


def load(part: Part, environment: dict[str, str], secrets: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    """The settings of a process with this environment and no other."""
    for variable in {*os.environ} & read_by(SETTINGS[part.name]):
        monkeypatch.delenv(variable)
    for variable, value in {**environment, "HAAT_SECRETS": str(secrets)}.items():
        monkeypatch.setenv(variable, value)
    return SETTINGS[part.name]()


def test_images_and_servers_are_those_of_compose(local: Rendered, production: Rendered) -> None:
    compose = ComposeFile.read().containers
    images = {name: compose[name]["image"] for name in (*NAMES, "postgres", "rabbitmq", "simulator")}
    for workload in local.workloads():
        assert {container["image"] for container in workload.containers} == {images[workload.part]}
    for workload in production.workloads():
        for container in workload.containers:
            name, _, tag = container["image"].rpartition(":")
            assert name == f"registry.example/haat/{workload.part}"
            assert tag not in ("", "latest", "dev")


def test_the_demo_has_compose_s_servers_and_what_fills_it(local: Rendered) -> None:
    compose = ComposeFile.read()
    lasting = {each.part for each in local.workloads() if each.object["kind"] != "Job"}
    watching = {name for name, each in compose.lasting().items() if each.get("profiles") == ["observability"]}
    assert lasting == set(compose.lasting()) - watching
    jobs = {each.name: each for each in local.workloads() if each.object["kind"] == "Job"}
    assert set(jobs) == {name for name in compose.ending() if name.endswith("-seed")}
    for each in jobs.values():
        (seed,) = each.pod["containers"]
        assert seed["args"] == ["seed"]
        assert each.environment(seed, local.config)["HAAT_ENV"] == "demo"
    simulator = next(each for each in local.workloads() if each.part == "simulator")
    asked = simulator.environment(simulator.pod["containers"][0], local.config)
    assert {key: asked[key] for key in asked if "URL" in key or "PORT" in key} == {
        key: value for key, value in compose.environment("simulator").items() if "URL" in key or "PORT" in key
    }


@pytest.mark.parametrize("part", [*SERVICES, GATEWAY], ids=NAMES)
def test_probes_ask_routes_that_are_there_on_the_port_that_has_them(production: Rendered, part: Part) -> None:
    routes = management_routes(part)
    for workload in (each for each in deployments(production).values() if each.part == part.name):
        (app,) = workload.pod["containers"]
        asked = {kind: app[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {get["port"] for get in asked.values()} == {"management"}
        assert {kind: get["path"] for kind, get in asked.items()} == {
            "startup": "/livez",
            "liveness": "/livez",
            "readiness": "/readyz",
        }
        assert {get["path"] for get in asked.values()} <= routes
        assert "/metrics" in routes


def management_routes(part: Part) -> set[str]:
    """What the management port of a real process of this part answers."""
    bus = InProcessBus("postgresql://bus@localhost/bus")
    if part is GATEWAY:
        front = GatewaySettings()
        management: object = Gateway(front, bus=bus, upstreams=http_upstreams(front)).management
    else:
        settings = SETTINGS[part.name](database_url="postgresql://nobody@localhost/nothing")  # type: ignore[arg-type]  # pydantic reads the text
        service = Service(settings, bus=bus, upstreams={})
        (_, behind) = listeners(service)
        assert behind.port == part.management_port
        management = behind.app
    assert isinstance(management, Starlette)
    return {route.path for route in management.routes if isinstance(route, Route)}


def test_every_service_migrates_before_it_starts_with_the_release_that_starts(production: Rendered) -> None:
    for name, workload in deployments(production).items():
        steps = workload.pod.get("initContainers", [])
        if not DEPLOYMENTS[name].has_database:
            assert not steps
            continue
        ((step,), (app,)) = steps, workload.pod["containers"]
        assert step["args"] == ["migrate"]
        assert step["image"] == app["image"]
        assert step["envFrom"] == app["envFrom"]
        assert step["volumeMounts"] == app["volumeMounts"]
