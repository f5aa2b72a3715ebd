"""Alerts fire when they should and stay calm otherwise: made-up hours, judged by Prometheus's own `promtool`.

Where it is not installed these are skipped; that every metric, label and value is there is held without it.
"""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.deploy import prometheus_rule
from tests.deploy.prometheus_rule import ALERTS

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus's own checker is not installed")

OF_KUBERNETES = prometheus_rule.FILE.with_name("alerts-of-kubernetes.yaml")
EVERYBODY = {f'up{{job="{job}"}}': "1x240" for job in ("gateway", "accounts", "catalog", "cart", "orders", "payments")}
"""Prometheus finds a process of every part."""


@dataclass(frozen=True)
class Hour:
    """Series by minutes, as promtool writes them, and whether an alert fires in a certain minute."""

    about: str
    alert: str
    series: dict[str, str] = field(default_factory=dict)
    minute: int = 20
    fires: bool = False

    def __str__(self) -> str:
        return f"{self.alert}: {self.about}"


def requests(errors: str, others: str) -> dict[str, str]:
    return {
        'haat_http_requests_total{job="orders",status="500"}': errors,
        'haat_http_requests_total{job="orders",status="200"}': others,
    }


def job(successes: str) -> dict[str, str]:
    """A job that is to run each hour, by a worker, beside a process that only answers."""
    return {
        'haat_job_period_seconds{job="payments",job_name="sweep",instance="web"}': "3600x300",
        'haat_job_period_seconds{job="payments",job_name="sweep",instance="worker"}': "3600x300",
        'haat_job_last_success_timestamp_seconds{job="payments",job_name="sweep",instance="worker"}': successes,
    }


def orders(placed: str, paid: str) -> dict[str, str]:
    return {'haat_orders_placed_total{job="orders"}': placed, 'haat_orders_paid_total{job="orders"}': paid}


def calls(*, answered: str, unreachable: str) -> dict[str, str]:
    return {
        'haat_provider_calls_total{job="payments",call="create_order",outcome="answered"}': answered,
        'haat_provider_calls_total{job="payments",call="create_order",outcome="unreachable"}': unreachable,
    }


BACKUP = 'barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{namespace="haat",pod="orders-db-1"}'
DATABASE = {'cnpg_collector_up{namespace="haat",pod="orders-db-1"}': "1x3000"}
HOURS = (
    Hour("all are there", "HaatPartMissing", EVERYBODY),
    Hour("one was scaled to nothing", "HaatPartMissing", {**EVERYBODY, 'up{job="cart"}': "_x240"}, fires=True),
    Hour("one answers nothing", "HaatPartDown", {**EVERYBODY, 'up{job="cart"}': "0x240"}, fires=True),
    Hour("one ends and another comes", "HaatPartDown", {**EVERYBODY, 'up{job="cart"}': "1 0 1x200"}, minute=2),
    Hour("nobody asks", "HaatErrors", requests("0x60", "0x60")),
    Hour("two errors in a quiet hour", "HaatErrors", requests("0x9 1 1 1 2x40", "0+2x60")),
    Hour("one of twenty fails", "HaatErrors", requests("0+5x60", "0+95x60"), fires=True),
    Hour("all of a few fail", "HaatErrors", requests("0+2x60", "0x60"), fires=True),
    Hour("one of a thousand fails", "HaatErrors", requests("0+2x60", "0+1998x60")),
    Hour("it ran an hour ago", "HaatJobNotRun", job("0x60 3600x240"), minute=200),
    Hour("it never succeeded", "HaatJobNotRun", job("0x300"), minute=200, fires=True),
    Hour("no process works", "HaatNobodyWorks", job("0x60 stale"), minute=70, fires=True),
    Hour("one works and has not succeeded yet", "HaatNobodyWorks", job("0x300"), minute=70),
    Hour("a worker is replaced", "HaatNobodyWorks", job("0x60 _ _ 3600x240"), minute=62),
    Hour("most are paid", "HaatNothingIsPaid", orders("0+2x60", "0+1x60"), minute=50),
    Hour("none is paid", "HaatNothingIsPaid", orders("0+2x60", "5x60"), minute=50, fires=True),
    Hour("few are placed", "HaatNothingIsPaid", orders("0x20 1x40", "0x60"), minute=50),
    Hour("the process is new", "HaatNothingIsPaid", orders("900x20 0+2x40", "800x20 0+1x40"), minute=50),
    Hour("it answers", "HaatProviderAway", calls(answered="0+5x60", unreachable="0x60"), minute=50),
    Hour("nobody asks", "HaatProviderAway", calls(answered="7x60", unreachable="3x60"), minute=50),
    Hour("it hiccups", "HaatProviderAway", calls(answered="0+5x60", unreachable="0+1x60"), minute=50),
    Hour(
        "it is away",
        "HaatProviderAway",
        calls(answered="0+5x20 100x40", unreachable="0x20 0+3x40"),
        minute=50,
        fires=True,
    ),
    Hour("it was made yesterday", "HaatNoBackup", {**DATABASE, BACKUP: "1x3000"}, minute=1500),
    Hour("it is two days old", "HaatNoBackup", {**DATABASE, BACKUP: "1x3000"}, minute=2900, fires=True),
    Hour("a shop's first night is to come", "HaatNoBackup", {**DATABASE, BACKUP: "0x3000"}, minute=2900),
    Hour("a shop's first night is to come", "HaatNeverBackedUp", {**DATABASE, BACKUP: "0x3000"}, minute=1200),
    Hour("two nights went by", "HaatNeverBackedUp", {**DATABASE, BACKUP: "0x3000"}, minute=2300, fires=True),
    Hour("there is no plugin", "HaatNeverBackedUp", DATABASE, minute=2300, fires=True),
    Hour("it was made once", "HaatNeverBackedUp", {**DATABASE, BACKUP: "0x500 30000x2500"}, minute=2900),
)


@pytest.mark.parametrize("hour", HOURS, ids=str)
def test_an_alert_fires_when_it_should(tmp_path: Path, hour: Hour) -> None:
    rules = {
        "alerts.yml": ALERTS.read_text(),
        "kubernetes.yml": yaml.safe_dump(yaml.safe_load(OF_KUBERNETES.read_text())["spec"]),
    }
    for name, text in rules.items():
        (tmp_path / name).write_text(text)
    looked = {
        "expr": f'count(ALERTS{{alertname="{hour.alert}",alertstate="firing"}}) > bool 0',
        "eval_time": f"{hour.minute}m",
        "exp_samples": [{"labels": "{}", "value": 1}] if hour.fires else [],
    }
    story = {
        "rule_files": list(rules),
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in hour.series.items()],
                "promql_expr_test": [looked],
            }
        ],
    }
    (tmp_path / "story.yml").write_text(yaml.safe_dump(story))
    judged = subprocess.run(
        ["promtool", "test", "rules", "story.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
