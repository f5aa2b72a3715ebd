"""What grows, shrinks, moves and ends in Kubernetes does so without a request lost or a connection too many."""

import json
from pathlib import Path

import pytest

from chassis.database import POOL_TIMEOUT
from chassis.events import DRAIN
from chassis.rabbitmq_queues import incoming
from chassis.telemetry import Metrics
from stack.topology import CONNECTIONS, PARTS, SERVICES, Part
from tests.deploy import prometheus_rule
from tests.deploy.rendered import DEPLOYMENTS, K8S, Rendered, Workload, selects

README = K8S.parent / "README.md"
CLOSING = 10
"""Seconds for the consumer's farewell, the batch under way in the relay and the pools, each of which is bounded."""
FOR_PEOPLE = 10
SCALED_BY_QUEUE = [part for part in SERVICES if part.listens_to]


def deployments(rendered: Rendered) -> dict[str, Workload]:
    return {each.name: each for each in rendered.workloads() if each.object["kind"] == "Deployment"}


def test_who_answers_is_scaled_by_its_own_rules_and_by_nothing_else(production: Rendered) -> None:
    scaled = {each["spec"]["scaleTargetRef"]["name"]: each for each in production.of_kind(*HPA).values()}
    found = deployments(production)
    assert set(scaled) == {name for name in found if not name.endswith("-worker")}
    for name, scaler in scaled.items():
        assert "replicas" not in found[name].object["spec"], "kubectl apply would undo what the autoscaler did"
        assert scaler["spec"]["scaleTargetRef"]["kind"] == "Deployment"
        assert 2 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
        assert scaler["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
        (cpu,) = scaler["spec"]["metrics"]
        assert millicores(cpu["resource"]["target"]["averageValue"]) < 1000, "a process has one core"
    for name, workload in found.items():
        assert name in scaled or workload.object["spec"]["replicas"] == 2


HPA = ("HorizontalPodAutoscaler",)


def millicores(value: str) -> int:
    return int(value.removesuffix("m")) if value.endswith("m") else int(value) * 1000


def test_with_keda_the_workers_are_as_many_as_their_own_queue_asks(every_option: Rendered) -> None:
    found, scaled = deployments(every_option), every_option.of_kind("ScaledObject")
    assert set(scaled) == {f"{part.name}-worker" for part in SCALED_BY_QUEUE}
    by_cpu = {each["spec"]["scaleTargetRef"]["name"] for each in every_option.of_kind(*HPA).values()}
    for part in SCALED_BY_QUEUE:
        spec = scaled[f"{part.name}-worker"]["spec"]
        target = spec["scaleTargetRef"]["name"]
        assert target not in by_cpu, "two owners of one number"
        assert "replicas" not in found[target].object["spec"]
        assert spec["minReplicaCount"] >= 2, "the second takes over the relay"
        (trigger,) = spec["triggers"]
        assert trigger["metadata"]["queueName"] == incoming(part.name)
        (key,) = every_option.of_kind("TriggerAuthentication")[trigger["authenticationRef"]["name"]]["spec"][
            "secretTargetRef"
        ]
        assert (key["name"], key["key"]) == (f"{part.name}-secrets", f"{part.prefix}AMQP_URL")


def test_custom_metrics_are_made_of_metrics_that_there_are(every_option: Rendered) -> None:
    rules = (K8S / "prometheus-adapter" / "rules.yaml").read_text()
    exposed = Metrics("any").exposition().decode()
    for series in ("haat_http_requests_total", "haat_http_request_duration_seconds"):
        assert f"seriesQuery: {series}" in rules
        assert f"# TYPE {series}" in exposed
    scaled = every_option.of_kind(*HPA)
    asked = {
        name: [each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"]
        for name, scaler in scaled.items()
    }
    both = ["haat_http_requests_per_second", "haat_http_request_p95_seconds"]
    assert asked == {name: both if name in ("cart-web", "catalog-web", "gateway") else [] for name in scaled}
    assert all(f"as: {name}" in rules for name in both)


def test_what_rested_for_a_restore_is_woken(production: Rendered, every_option: Rendered) -> None:
    """An apply gives no replicas to whom an autoscaler scales, and an autoscaler leaves at 0 what rests at 0."""
    told = README.read_text()
    least = {each["spec"]["minReplicas"] for each in production.of_kind("HorizontalPodAutoscaler").values()}
    least |= {each["spec"]["minReplicaCount"] for each in every_option.of_kind("ScaledObject").values()}
    assert any("replicas" not in each["spec"] for each in production.of_kind("Deployment").values())
    (begin,) = least
    restore = told.partition("## Back up and restore")[2].partition("\n## ")[0]
    assert "scale deployment --all --replicas=0" in restore
    assert f"scale deployment --all --replicas={begin}\n" in restore.partition("--replicas=0")[2]
    assert "paused-replicas=0" in restore
    assert "paused-replicas- " in restore


def test_who_is_woken_reads_the_logs_of_every_process_of_ours_and_of_no_other(every_option: Rendered) -> None:
    """`kubectl logs` shows nothing at all when one of the pods that it finds has no container of that name."""
    assert "-l 'app.kubernetes.io/component in (web, worker)' -c app " in README.read_text()
    components = {"web", "worker"}
    found = {each.name for each in every_option.workloads() if each.labels["app.kubernetes.io/component"] in components}
    assert found == set(DEPLOYMENTS)
    for each in every_option.workloads():
        assert [container["name"] for container in each.pod["containers"]] == ["app"]


def test_every_pod_may_be_moved_but_never_two_of_a_kind_at_once(every_option: Rendered) -> None:
    budgets = every_option.of_kind("PodDisruptionBudget")
    for name, workload in deployments(every_option).items():
        (budget,) = [each for each in budgets.values() if selects(each["spec"]["selector"], workload.labels)]
        assert budget["metadata"]["name"] == name
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", "a broken pod must not hold up a drain"


def test_an_update_takes_nothing_away_before_what_comes_is_ready(production: Rendered) -> None:
    for workload in deployments(production).values():
        assert workload.object["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert {each["topologyKey"] for each in workload.pod["topologySpreadConstraints"]} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_process_has_the_time_it_needs_to_end(production: Rendered, name: str) -> None:
    workload, part = deployments(production)[name], DEPLOYMENTS[name]
    (app,) = workload.pod["containers"]
    environment = workload.environment(app, production.config)
    grace = float(environment[f"{part.prefix}DRAIN_GRACE"])
    # Requests drain first, then messages; a worker has no requests, and the others no messages.
    under_way = DRAIN if name.endswith("-worker") else float(environment[f"{part.prefix}DRAIN_TIMEOUT"])
    assert grace + under_way + CLOSING + POOL_TIMEOUT <= workload.pod["terminationGracePeriodSeconds"]
    assert grace >= 5, "as long as nodes may take to hear that it goes"
    assert "lifecycle" not in app, "it would wait twice"


@pytest.mark.parametrize("part", SERVICES, ids=lambda part: part.name)
def test_a_database_has_room_for_every_connection_at_the_most(every_option: Rendered, part: Part) -> None:
    allowed = int(
        every_option.of_kind("Cluster")[f"{part.name}-db"]["spec"]["postgresql"]["parameters"]["max_connections"]
    )
    assert at_most(every_option, part) + FOR_PEOPLE <= allowed


def test_the_demo_s_one_database_server_has_room_for_all(local: Rendered) -> None:
    (server,) = [each for each in local.workloads() if each.part == "postgres"]
    (setting,) = [word for word in server.pod["containers"][0]["args"] if "max_connections" in word]
    assert sum(at_most(local, part) for part in SERVICES) + FOR_PEOPLE <= int(setting.partition("=")[2])


def at_most(rendered: Rendered, part: Part) -> int:
    """Connections of a part with every replica it may have, and the one that an update adds."""
    most = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]["maxReplicas"] for each in rendered.of_kind(*HPA).values()
    }
    for each in rendered.of_kind("ScaledObject").values():
        most[each["spec"]["scaleTargetRef"]["name"]] = each["spec"]["maxReplicaCount"]
    total = 0
    for workload in (each for each in deployments(rendered).values() if each.part == part.name):
        replicas = most.get(workload.name) or workload.object["spec"]["replicas"]
        surge = workload.object["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        total += (replicas + surge) * connections(rendered, workload, part)
    return total


def connections(rendered: Rendered, workload: Workload, part: Part) -> int:
    """What one process opens: its pools, and a worker one more for its locks, which its migration uses before."""
    environment = workload.environment(workload.pod["containers"][0], rendered.config)
    pools = sum(
        int(environment[f"{part.prefix}{name}"]) for name in ("DB_POOL_SIZE", "DB_MAX_OVERFLOW", "READ_POOL_MAX")
    )
    assert pools + 1 <= CONNECTIONS
    return pools + 1


def test_what_a_process_asks_for_is_what_was_measured(production: Rendered) -> None:
    """The table of deploy/README.md, row by row."""
    table = (K8S.parent / "README.md").read_text()
    for name, workload in deployments(production).items():
        resources = workload.pod["containers"][0]["resources"]
        assert set(resources["limits"]) == {"memory"}, "a limit of CPU costs latency"
        row = {**resources["requests"], "limit": resources["limits"]["memory"]}
        assert f"| `{name}` | {row['cpu']} | {row['memory']} | {row['limit']} |" in table, name


def test_a_broker_of_three_keeps_every_queue_on_all_of_them(every_option: Rendered) -> None:
    broker = every_option.of_kind("RabbitmqCluster")["rabbitmq"]["spec"]
    assert broker["replicas"] == 3
    assert "target_group_size = 3" in broker["rabbitmq"]["additionalConfig"]
    definitions = json.loads((Path(K8S).parent / "rabbitmq" / "definitions.json").read_text())
    assert {queue["arguments"]["x-queue-type"] for queue in definitions["queues"]} == {"quorum"}
    assert {part.name for part in PARTS} == {user["name"] for user in definitions["users"]}


def test_alerts_are_those_of_every_other_form(every_option: Rendered) -> None:
    assert prometheus_rule.FILE.read_text() == prometheus_rule.written(), "run: python -m tests.deploy.prometheus_rule"
    rules = every_option.of_kind("PrometheusRule")
    assert rules["haat"]["spec"]["groups"] == prometheus_rule.groups()
    for alert in (alert for each in rules.values() for group in each["spec"]["groups"] for alert in group["rules"]):
        assert alert["annotations"]["runbook"], alert["alert"]
    assert every_option.of_kind("PodMonitor")["haat"]["spec"]["jobLabel"] == "app.kubernetes.io/name"
