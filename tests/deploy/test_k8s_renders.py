"""Everything below deploy/k8s renders, and what Kubernetes itself knows is right by its own schemas, to the letter.

Resources of operators are not in those schemas; the other tests hold them against what they point at.
"""

import json
from functools import cache

import kubernetes_validate
import pytest

from stack.topology import GATEWAY, PARTS, Part
from tests.deploy.rendered import K8S, Rendered, Workshop, components, folders

OLDEST = "1.27"
"""The first that does all we use (matchLabelKeys, unhealthyPodEvictionPolicy); what it accepts, newer ones do."""
OF_KUBERNETES = ("v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1")


@pytest.mark.parametrize("folder", folders())
def test_a_folder_renders_to_what_kubernetes_accepts(workshop: Workshop, folder: str) -> None:
    rendered = workshop.render(folder)
    assert rendered.objects
    _check(rendered, namespace="monitoring" if folder == "prometheus-adapter" else "haat")
    assert {each["apiVersion"] for each in rendered.objects} <= set(OF_KUBERNETES), "needs an operator by default"


@pytest.mark.parametrize("option", components())
def test_an_option_renders_on_top_of_a_part_alone(workshop: Workshop, option: str) -> None:
    last = option.rpartition("/")[2]
    part = last if last in {part.name for part in PARTS} else GATEWAY.name
    rendered = workshop.with_option(option, on=f"services/{part}")
    _check(rendered)
    assert rendered != workshop.render(f"services/{part}"), "it changes nothing"


def test_every_option_is_offered_in_production_and_all_go_together(every_option: Rendered) -> None:
    _check(every_option)
    kinds = {each["kind"] for each in every_option.objects}
    assert {"Cluster", "RabbitmqCluster", "ScaledObject", "ExternalSecret", "PodMonitor", "HTTPRoute"} <= kinds


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_that_is_rolled_out_alone_is_what_it_is_among_all(
    full: Workshop, every_option: Rendered, part: Part
) -> None:
    """Or each upgrade of one service would take an option away that the whole shop was given."""
    for each in full.render(f"overlays/production/{part.name}").objects:
        assert each in every_option.objects, f"{each['kind']} {each['metadata']['name']}"


def test_everything_lies_in_a_folder_that_is_applied_or_an_option() -> None:
    used = {file.parent for file in K8S.rglob("kustomization.yaml")}
    strays = [file for file in K8S.rglob("*.yaml") if file.parent not in used]
    assert not strays


def _check(rendered: Rendered, *, namespace: str = "haat") -> None:
    for each in rendered.objects:
        assert set(each) <= {"apiVersion", "kind", "metadata", "spec", "data", "type", "automountServiceAccountToken"}
        if each["apiVersion"] in OF_KUBERNETES:
            _validate(json.dumps(each))
    names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in rendered.objects]
    assert len(names) == len(set(names))
    assert {each["metadata"].get("namespace", namespace) for each in rendered.objects} == {namespace}


@cache
def _validate(text: str) -> None:
    """Most objects are part of several forms."""
    kubernetes_validate.validate(json.loads(text), OLDEST, strict=True)
