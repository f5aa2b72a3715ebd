"""Who may reach whom, and what a process may do on its node: nothing, unless it is written down here."""

from collections.abc import Iterable
from typing import Any

import pytest

from stack.topology import GATEWAY, PARTS, SERVICES, Part
from tests.deploy.rendered import Object, Rendered, Workload, selects

NAMES = [part.name for part in PARTS]
OUTSIDE = "outside"
NAMES_OF_HOSTS = {53}


def policies_for(rendered: Rendered, labels: dict[str, str]) -> list[Object]:
    return [each for each in rendered.of_kind("NetworkPolicy").values() if selects(each["spec"]["podSelector"], labels)]


def reachable(rendered: Rendered, labels: dict[str, str]) -> set[tuple[str, int | str]]:
    """Where pods with these labels may connect to: `name=value` of the labels it wants, a namespace or outside."""
    return _peers(each["spec"].get("egress", ()) for each in policies_for(rendered, labels))


def admitted(rendered: Rendered, labels: dict[str, str]) -> set[tuple[str, int | str]]:
    """Who may connect to pods with these labels, and to which port."""
    return _peers(each["spec"].get("ingress", ()) for each in policies_for(rendered, labels))


def _peers(rules: Iterable[Iterable[dict[str, Any]]]) -> set[tuple[str, int | str]]:
    found = set()
    for rule in (rule for of_policy in rules for rule in of_policy):
        peers = rule.get("to", rule.get("from"))
        assert peers, "a rule for everybody"
        assert rule["ports"], "a rule for every port"
        found |= {(name, port["port"]) for peer in peers for name in _named(peer) for port in rule["ports"]}
    return found


def _named(peer: dict[str, Any]) -> list[str]:
    if "ipBlock" in peer:
        return [OUTSIDE]
    if "namespaceSelector" in peer:
        return [f"namespace {value}" for value in peer["namespaceSelector"]["matchLabels"].values()]
    selector = peer["podSelector"]
    one_of = [value for each in selector.get("matchExpressions", ()) for value in each["values"]]
    return one_of + [
        value if key == "app.kubernetes.io/name" else f"{key} {value}"
        for key, value in selector.get("matchLabels", {}).items()
    ]


def labels_of(part: Part) -> dict[str, str]:
    return {"app.kubernetes.io/name": part.name, "app.kubernetes.io/part-of": "haat"}


def without_names_of_hosts(peers: set[tuple[str, int | str]]) -> set[tuple[str, int | str]]:
    return {peer for peer in peers if peer[1] not in NAMES_OF_HOSTS}


def test_whatever_nobody_thought_of_is_closed(production: Rendered) -> None:
    denied = production.of_kind("NetworkPolicy")["default-deny"]["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("part", PARTS, ids=NAMES)
def test_a_part_reaches_whom_it_calls_its_own_database_and_the_broker(production: Rendered, part: Part) -> None:
    called = {(each.name, each.port) for each in PARTS if each.name in part.calls}
    database = {(f"database-of {part.name}", 5432)} if part.has_database else set()
    provider = {(OUTSIDE, 443)} if part.name == "payments" else set()
    reached = reachable(production, labels_of(part))
    assert without_names_of_hosts(reached) == called | database | {("broker-of haat", 5672)} | provider
    assert ("namespace kube-system", 53) in reached


@pytest.mark.parametrize("part", PARTS, ids=NAMES)
def test_a_part_is_reached_by_those_who_call_it(production: Rendered, part: Part) -> None:
    assert admitted(production, labels_of(part)) == {
        (each.name, part.port) for each in PARTS if part.name in each.calls
    }


def test_what_leaves_to_razorpay_goes_nowhere_inside(production: Rendered) -> None:
    rules = production.of_kind("NetworkPolicy")["payments"]["spec"]["egress"]
    (block,) = [peer["ipBlock"] for rule in rules for peer in rule["to"] if rule["ports"] == [{"port": 443}]]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(block["except"])


def test_options_open_no_more_than_they_need(every_option: Rendered) -> None:
    entrance = {("namespace haat", "http")}
    watching = {("namespace monitoring", "management")}
    for part in PARTS:
        callers = {(each.name, part.port) for each in PARTS if part.name in each.calls}
        extra = entrance if part is GATEWAY else set()
        assert admitted(every_option, labels_of(part)) == callers | watching | extra
    for part in SERVICES:
        database = {"database-of": part.name, "app.kubernetes.io/part-of": "haat", "cnpg.io/cluster": f"{part.name}-db"}
        services = {peer for peer, port in admitted(every_option, database) if peer in NAMES}
        assert services == {part.name}, "a database for somebody else"
        cluster = every_option.of_kind("Cluster")[f"{part.name}-db"]["spec"]
        assert cluster["inheritedMetadata"]["labels"]["database-of"] == part.name
        assert cluster["bootstrap"]["initdb"]["owner"] == part.name
    broker = every_option.of_kind("RabbitmqCluster")["rabbitmq"]["metadata"]["labels"]
    assert {peer for peer, port in admitted(every_option, broker) if port == 5672} == {*NAMES, "namespace keda"}


def test_whoever_proves_for_the_certificate_that_the_name_is_ours_is_reached(every_option: Rendered) -> None:
    solver = {"acme.cert-manager.io/http01-solver": "true"}
    assert admitted(every_option, solver) == {("namespace haat", 8089)}


def test_every_pod_of_the_demo_has_a_policy_of_its_own(local: Rendered) -> None:
    for workload in local.workloads():
        own = [each for each in policies_for(local, workload.labels) if each["spec"]["podSelector"]]
        assert {kind for each in own for kind in each["spec"]["policyTypes"]} == {"Ingress", "Egress"}, workload.name
    (postgres,) = [each for each in local.workloads() if each.part == "postgres"]
    assert admitted(local, postgres.labels) == {(part.name, 5432) for part in SERVICES}
    for part in SERVICES:
        assert ("database-of all", 5432) in reachable(local, labels_of(part))
    assert ("simulator", 8090) in reachable(local, labels_of(SERVICES[-1]))
    assert ("gateway", 8000) in reachable(local, {"app.kubernetes.io/name": "simulator"})


def test_the_namespace_takes_no_pod_that_is_not_restricted(production: Rendered) -> None:
    labels = production.of_kind("Namespace")["haat"]["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{kind}"] for kind in ("enforce", "audit", "warn")} == {"restricted"}


def test_every_pod_is_restricted(production: Rendered, local: Rendered) -> None:
    for workload in (*production.workloads(), *local.workloads()):
        pod = workload.pod["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == pod["fsGroup"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert workload.pod["automountServiceAccountToken"] is False
        assert workload.pod["enableServiceLinks"] is False, "CATALOG_PORT=tcp://… would be no number"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(workload.pod)
        assert {kind for volume in workload.pod["volumes"] for kind in volume if kind != "name"} <= VOLUMES
        for container in workload.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} == set(container["resources"]["requests"])


VOLUMES = {"secret", "configMap", "emptyDir"}


def test_only_its_own_group_reads_a_secret(production: Rendered, local: Rendered) -> None:
    for workload in (*production.workloads(), *local.workloads()):
        assert all(mode == 0o440 for mode in _modes(workload))


def _modes(workload: Workload) -> list[int]:
    return [volume["secret"]["defaultMode"] for volume in workload.pod["volumes"] if "secret" in volume]
