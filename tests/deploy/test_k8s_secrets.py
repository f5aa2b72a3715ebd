"""Secrets in Kubernetes: files for their reader alone, made up for the demo, and none by default in production."""

import json
import os
import subprocess
from pathlib import Path

import yaml

from chassis.settings import DEMO_SECRET
from stack.topology import PARTS, SERVICES
from tests.deploy.compose_file import ROOT
from tests.deploy.rendered import Rendered, Workload, Workshop, kubectl
from tests.deploy.test_compose_secrets import RAZORPAY

NAMES = [part.name for part in PARTS]
GIVEN_BY_HAND = {"backup-store", "shop-tls"}
"""What is between the operators and others: the store of backups, and the certificate that cert-manager fetches."""


def mounted(workload: Workload) -> set[str]:
    """Names of the Secrets that its pods have as files."""
    return {each["secret"]["secretName"] for each in workload.pod.get("volumes", ()) if "secret" in each}


def test_production_has_no_secret_in_its_files_and_names_one_per_part(production: Rendered) -> None:
    assert not production.secrets
    for workload in production.workloads():
        assert mounted(workload) == {f"{workload.part}-secrets"}


def test_no_secret_stands_in_an_environment(production: Rendered, local: Rendered) -> None:
    for rendered in (production, local):
        for workload in rendered.workloads():
            for container in workload.containers:
                assert not any("valueFrom" in each for each in container.get("env", ()))
                assert not any("secretRef" in each for each in container.get("envFrom", ()))
        assert DEMO_SECRET not in json.dumps(rendered.config)


def test_every_secret_of_the_demo_is_read_and_every_one_that_is_read_is_there(
    local: Rendered, workshop: Workshop
) -> None:
    assert {name for workload in local.workloads() for name in mounted(workload)} == set(local.secrets)
    for name, files in local.secrets.items():
        part = name.rpartition("-secrets-")[0]
        handed = workshop.secrets_of(part)
        handed.pop("HAAT_ENV", None)  # the ConfigMap says it
        assert files == handed
        assert part == "rabbitmq" or DEMO_SECRET in json.dumps(files) or part == "simulator"


def test_with_all_options_every_secret_comes_from_the_vault_or_by_hand(every_option: Rendered) -> None:
    from_vault = {each["spec"].get("target", {}).get("name", name) for name, each in _external(every_option)}
    assert not every_option.secrets
    assert secret_names(list(every_option.objects)) - GIVEN_BY_HAND == from_vault
    services = {f"{part.name}-db-user" for part in SERVICES}
    assert from_vault == {f"{name}-secrets" for name in NAMES} | services | {"rabbitmq-secrets"}


def _external(rendered: Rendered) -> list[tuple[str, dict[str, dict[str, dict[str, str]]]]]:
    return list(rendered.of_kind("ExternalSecret").items())


def secret_names(value: object) -> set[str]:
    """Every Secret that something names, wherever: by the fields that Kubernetes and the operators use for it."""
    if isinstance(value, list):
        return {name for each in value for name in secret_names(each)}
    if not isinstance(value, dict):
        return set()
    found = {value["secretName"]} if "secretName" in value else set()
    for field in ("secret", "passwordSecret", "accessKeyId", "secretAccessKey", "secretTargetRef", "certificateRefs"):
        referred = value.get(field)
        for each in referred if isinstance(referred, list) else [referred]:
            if isinstance(each, dict) and "name" in each:
                found.add(each["name"])
    return found | {name for each in value.values() for name in secret_names(each)}


def test_what_makes_the_secrets_of_production_makes_all_that_is_named(
    every_option: Rendered, workshop: Workshop, tmp_path: Path
) -> None:
    made = made_by_script(tmp_path, RAZORPAY)
    assert set(made) == secret_names(list(every_option.objects)) - GIVEN_BY_HAND
    clusters, broker = every_option.of_kind("Cluster"), every_option.of_kind("RabbitmqCluster")
    for part in SERVICES:
        database, amqp = made[f"{part.name}-secrets"][f"{part.prefix}DATABASE_URL"], f"{part.prefix}AMQP_URL"
        user = made[f"{part.name}-db-user"]
        assert f"{part.name}-db" in clusters
        assert database == f"postgresql://{part.name}:{user['password']}@{part.name}-db-rw.haat.svc:5432/{part.name}"
        assert user["username"] == part.name
        assert made[f"{part.name}-secrets"][amqp].endswith("@rabbitmq.haat.svc:5672/")
    assert set(broker) == {"rabbitmq"}
    assert "@catalog-db-r.haat.svc:5432/" in made["catalog-secrets"]["CATALOG_READ_DATABASE_URL"]
    assert {user["name"] for user in json.loads(made["rabbitmq-secrets"]["definitions.json"])["users"]} == set(NAMES)


def test_while_a_service_enters_by_its_second_role_the_first_keeps_its_password(
    workshop: Workshop, tmp_path: Path
) -> None:
    made = made_by_script(tmp_path, {**RAZORPAY, "CATALOG_DATABASE_USER": "catalog_2"})
    assert "catalog-db-user" not in made
    assert "cart-db-user" in made
    for variable in ("CATALOG_DATABASE_URL", "CATALOG_READ_DATABASE_URL"):
        assert made["catalog-secrets"][variable].startswith("postgresql://catalog_2:")
        assert made["catalog-secrets"][variable].endswith("/catalog")


def made_by_script(folder: Path, razorpay: dict[str, str]) -> dict[str, dict[str, str]]:
    """What deploy/k8s/secrets.sh prints for a shop with fresh secrets, readable."""
    program = kubectl()
    assert program is not None
    (folder / "kubectl").symlink_to(program)
    script = ROOT / "deploy" / "k8s" / "secrets.sh"
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    lines = subprocess.run([script, "invent"], env=environment, capture_output=True, text=True, check=True).stdout
    fresh = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines.splitlines())}
    done = subprocess.run(
        [script], env={**environment, **fresh, **razorpay}, capture_output=True, text=True, check=True
    )
    objects = tuple(each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each)
    return Rendered(objects).secrets


def test_a_shop_without_its_secrets_is_refused_and_nothing_is_printed(workshop: Workshop) -> None:
    script = ROOT / "deploy" / "k8s" / "secrets.sh"
    refused = subprocess.run([script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "PAYMENTS_RAZORPAY_KEY_SECRET" in refused.stderr
    assert refused.stdout == ""
