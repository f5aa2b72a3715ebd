"""deploy/k8s as data: what `kubectl kustomize` makes of its folders, with the demo's secrets made up for the test."""

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from stack.topology import PARTS, SERVICES
from tests.deploy.compose_file import ROOT, files_of, hand_out

K8S = ROOT / "deploy" / "k8s"
NOT_RENDERED = "not rendered for want of kubectl"
Object = dict[str, Any]


def kubectl() -> str | None:
    """The one that `requirements/kubectl.sh` found or brought."""
    brought = ROOT / ".cache" / "kubectl" / "kubectl"
    return str(brought) if brought.is_file() else shutil.which("kubectl")


@dataclass(frozen=True)
class Rendered:
    """Every object of one folder."""

    objects: tuple[Object, ...]

    def of_kind(self, *kinds: str) -> dict[str, Object]:
        """By name. Two of a kind may not share one."""
        found = [each for each in self.objects if each["kind"] in kinds]
        named = {each["metadata"]["name"]: each for each in found}
        assert len(named) == len(found)
        return named

    @cached_property
    def config(self) -> dict[str, dict[str, str]]:
        """What each ConfigMap holds."""
        return {name: each["data"] for name, each in self.of_kind("ConfigMap").items()}

    @cached_property
    def secrets(self) -> dict[str, dict[str, str]]:
        """What each Secret holds, readable."""
        return {
            name: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
            for name, each in self.of_kind("Secret").items()
        }

    def workloads(self) -> Iterator["Workload"]:
        """Everything that runs pods."""
        for each in self.objects:
            if each["kind"] in ("Deployment", "StatefulSet", "Job"):
                yield Workload(each)


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or Job."""

    object: Object

    @property
    def name(self) -> str:
        name: str = self.object["metadata"]["name"]
        return name

    @property
    def labels(self) -> dict[str, str]:
        """Those of its pods."""
        labels: dict[str, str] = self.object["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def part(self) -> str:
        return self.labels["app.kubernetes.io/name"]

    @property
    def pod(self) -> dict[str, Any]:
        pod: dict[str, Any] = self.object["spec"]["template"]["spec"]
        return pod

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Those that come first, too."""
        return [*self.pod.get("initContainers", ()), *self.pod["containers"]]

    def environment(self, container: Mapping[str, Any], config: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Its variables, as the kubelet puts them together."""
        environment: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            environment |= config[source["configMapRef"]["name"]]
        return environment | {each["name"]: each["value"] for each in container.get("env", ())}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; of expressions `In` and `Exists`, which is all that we write."""
    wanted, expressions = selector.get("matchLabels", {}), selector.get("matchExpressions", ())
    matches = {
        "In": lambda each: labels.get(each["key"]) in each["values"],
        "Exists": lambda each: each["key"] in labels,
    }
    return wanted.items() <= labels.items() and all(matches[each["operator"]](each) for each in expressions)


def folders() -> list[str]:
    """Every folder that can be applied, below deploy/k8s."""
    kustomizations = sorted(K8S.rglob("kustomization.yaml"))
    return [
        str(file.parent.relative_to(K8S))
        for file in kustomizations
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization"
    ]


def components() -> list[str]:
    """Every option, below deploy/k8s; not what options have in common."""
    found = sorted(file.parent.relative_to(K8S) for file in (K8S / "components").rglob("kustomization.yaml"))
    return [str(folder) for folder in found if folder.name != "every"]


@dataclass(frozen=True)
class Workshop:
    """A copy of what there is to render, in which a test may change things."""

    place: Path

    @classmethod
    def furnished(cls, place: Path) -> "Workshop":
        """With the demo's secrets, which are in no checkout."""
        for name in ("k8s", "postgres", "rabbitmq"):
            ignored = shutil.ignore_patterns("secrets")
            shutil.copytree(ROOT / "deploy" / name, place / name, ignore=ignored)
        secrets = place / "k8s" / "overlays" / "local" / "secrets"
        for command in (["demo"], []):
            done = hand_out(secrets, *command)
            assert done.returncode == 0, done.stderr
        return cls(place)

    @cache  # noqa: B019 - a workshop lives as long as the tests
    def render(self, folder: str) -> Rendered:
        """What kubectl makes of a folder below deploy/k8s. Raises AssertionError with what it says."""
        program = kubectl()
        assert program is not None, NOT_RENDERED
        command = [program, "kustomize", str(self.place / "k8s" / folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        return Rendered(tuple(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)))

    def with_option(self, option: str, *, on: str) -> Rendered:
        """A folder below deploy/k8s with one of the components."""
        folder = self.place / "k8s" / option.replace("/", "-")
        folder.mkdir()
        (folder / "kustomization.yaml").write_text(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: haat\n"
            f"resources: [../{on}]\ncomponents: [../{option}]\n"
        )
        return self.render(folder.name)

    def switch_on(self, folder: str) -> list[str]:
        """Take the "#" away from every option of a kustomization; which options those were."""
        file = self.place / "k8s" / folder / "kustomization.yaml"
        text = re.sub(r"^#(components:|  - )", r"\1", file.read_text(), flags=re.MULTILINE)
        file.write_text(text)
        return [str((file.parent / each).resolve()) for each in yaml.safe_load(text).get("components", ())]

    def secrets_of(self, part: str) -> dict[str, str]:
        """What the demo's secrets are for a part."""
        return files_of(self.place / "k8s" / "overlays" / "local" / "secrets" / part)


DEPLOYMENTS = {
    **{f"{part.name}-web": part for part in SERVICES},
    **{f"{part.name}-worker": part for part in SERVICES},
    "gateway": PARTS[-1],
}
"""Every process of ours, and the part that it belongs to."""
