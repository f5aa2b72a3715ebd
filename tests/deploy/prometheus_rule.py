"""`python -m tests.deploy.prometheus_rule`: writes the alerts of deploy/observability as Kubernetes takes them."""

import yaml

from tests.deploy.compose_file import ROOT

ALERTS = ROOT / "deploy" / "observability" / "alerts.yml"
FILE = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "alerts.yaml"
HEAD = """\
# Written by `python -m tests.deploy.prometheus_rule` from deploy/observability/alerts.yml; a test holds them equal.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: haat
spec:
"""


def written() -> str:
    """The whole file: the rules as they stand, moved in."""
    lines = ALERTS.read_text().splitlines(keepends=True)
    first = lines.index("groups:\n")
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in lines[first:])


def groups() -> list[dict[str, object]]:
    """What Prometheus reads without Kubernetes."""
    found: list[dict[str, object]] = yaml.safe_load(ALERTS.read_text())["groups"]
    return found


if __name__ == "__main__":
    FILE.write_text(written())
