"""What the dashboards and alerts ask Prometheus for, and what a running shop really exports."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"
BY_PROMETHEUS = {"job", "instance"}
"""Labels that whoever scrapes adds to every series; `up` is a series of its own making."""
PARTS = ("gateway", "accounts", "catalog", "cart", "orders", "payments")


@dataclass(frozen=True)
class Query:
    """An expression and where it stands."""

    place: str
    text: str

    def __str__(self) -> str:
        return self.place


@dataclass
class Use:
    """One metric in a query, with the labels that the query relies on."""

    metric: str
    values: dict[str, str] = field(default_factory=dict)
    """Labels that must have exactly this value somewhere."""
    labels: set[str] = field(default_factory=set)


def alerts() -> list[dict[str, Any]]:
    """Every rule of alerts.yml."""
    document = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by the name of its file."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((FOLDER / "dashboards").glob("*.json"))}


def queries() -> list[Query]:
    """Every expression of an alert or a panel; Grafana's own variables as Prometheus would get them."""
    found = [Query(f"alert {rule['alert']}", rule["expr"]) for rule in alerts()]
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            found += [
                Query(f"{name}: {panel['title']}", _filled(target["expr"]))
                for target in panel.get("targets", ())
                if "expr" in target
            ]
    return found


def _filled(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$job", "orders")


def uses(query: Query) -> list[Use]:
    """Every metric that a query reads. Raises what the parser raises for one that is no PromQL."""
    return list(_walk(promql_parser.parse(query.text), frozenset()))


def _walk(node: Any, relied_on: frozenset[str]) -> Iterator[Use]:
    match node:
        case promql_parser.VectorSelector():
            matchers = [matcher for matcher in node.matchers.matchers if matcher.name != "__name__"]
            exact = {matcher.name: matcher.value for matcher in matchers if str(matcher.op) == "MatchOp.Equal"}
            yield Use(str(node.name), exact, {matcher.name for matcher in matchers} | relied_on)
        case promql_parser.MatrixSelector():
            yield from _walk(node.vector_selector, relied_on)
        case promql_parser.SubqueryExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _walk(node.expr, relied_on)
        case promql_parser.AggregateExpr():
            grouped = frozenset(node.modifier.labels if node.modifier else ())
            yield from _walk(node.expr, relied_on | grouped)
        case promql_parser.Call():
            for argument in node.args:
                yield from _walk(argument, relied_on)
        case promql_parser.BinaryExpr():
            for side in (node.lhs, node.rhs):
                yield from _walk(side, relied_on)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return
        case _:
            raise TypeError(f"a kind of expression that these tests cannot read: {node!r}")


@dataclass
class Exported:
    """Every series of a shop: metric → the label sets it has, by part."""

    series: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, part: str, exposition: str) -> None:
        """Take over what one process shows."""
        for family in text_string_to_metric_families(exposition):
            # A family's name stands without _total, and a histogram's series have endings of their own.
            for sample in family.samples:
                self.series.setdefault(sample.name, []).append({**sample.labels, "job": part, "instance": part})

    def missing(self, use: Use) -> str:
        """What of a use no series has; empty when all is there."""
        if use.metric == "up":
            return "" if use.labels <= BY_PROMETHEUS else f"up has no {use.labels - BY_PROMETHEUS}"
        found = self.series.get(use.metric, [])
        if not found:
            return f"{use.metric} is not exported"
        fitting = [labels for labels in found if use.labels <= set(labels)]
        if not fitting:
            return f"{use.metric} has no label {use.labels - set(found[0])}"
        if not any(all(labels[name] == value for name, value in use.values.items()) for labels in fitting):
            return f"{use.metric} has no series with {use.values}"
        return ""
