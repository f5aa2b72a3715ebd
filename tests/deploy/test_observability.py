"""Dashboards and alerts ask for what the shop exports: names, labels and values, in a shop that has sold something."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml

from stack import topology
from tests.deploy.compose_file import ROOT, ComposeFile
from tests.deploy.queries import FOLDER, PARTS, Exported, Query, alerts, dashboards, queries, uses
from tests.patience import eventually
from tests.shop import Shop

NAMES = re.compile(r"(haat|process)_[a-z0-9_]+")
UNITS = ("_seconds", "_total", "_minor_units_total", "_bytes")
COUNTED_THINGS = (
    "haat_build_info",
    "haat_database_connections",
    "haat_database_connections_max",
    "haat_gateway_cache_answers",
    "haat_gateway_upstream_breaker_open",
    "haat_gateway_upstream_requests_in_flight",
    "haat_job_cases_unresolved",
    "haat_outbox_unpublished_events",
)
"""Gauges of things that are counted: their unit is the noun."""


@pytest.fixture(scope="module")
def compose() -> ComposeFile:
    return ComposeFile.read()


@pytest.fixture(scope="module")
async def exported(own_shop: Shop) -> Exported:
    """The shop's metrics after a purchase that was cancelled, a refused checkout and an answered error."""
    lamp, scarce = await own_shop.new_variant(), await own_shop.new_variant(stock=1)
    asha, ravi = await own_shop.customer(), await own_shop.customer()
    order = await asha.buy(lamp)
    await asha.post(f"/orders/{order['id']}/cancel", status=200)
    await ravi.add_to_cart(scarce, 1)
    broken = {"delta": -1, "reason": "broken"}
    await (await own_shop.staff()).post(f"/inventory/{scarce}/adjustments", broken, key=uuid4().hex)
    assert (await ravi.try_to_order()).status_code == 409
    assert (await ravi.send("GET", "/nowhere")).status_code == 404

    async def look() -> Exported | None:
        shown = await scrape(own_shop)
        # What comes last of all that was begun above.
        refunded = shown.series.get("haat_refunds_processed_minor_units_total")
        ran = {labels["job"] for labels in shown.series.get("haat_job_duration_seconds_count", [])}
        return shown if refunded and {"orders", "payments"} <= ran else None

    found = await eventually(look, what="A refund in the metrics, and a job of orders", within=60)
    assert found is not None
    return found


async def scrape(shop: Shop) -> Exported:
    """What every part shows to Prometheus."""
    assert shop.process is not None
    exported = Exported()
    for part in PARTS:
        answer = await shop.http.get(f"http://127.0.0.1:{shop.process.management_port}/{part}/metrics")
        assert answer.status_code == 200, part
        exported.add(part, answer.text)
    return exported


@pytest.mark.parametrize("query", queries(), ids=str)
async def test_a_query_finds_what_it_asks_for(exported: Exported, query: Query) -> None:
    asked = uses(query)
    assert asked, "a query without a metric shows nothing"
    assert [missing for use in asked if (missing := exported.missing(use))] == []


async def test_names_carry_the_shop_and_their_unit(exported: Exported) -> None:
    for name in exported.series:
        assert NAMES.fullmatch(name), name
        base = re.sub(r"_(bucket|sum|count|created)$", "", name)
        assert base.endswith(UNITS) or base in COUNTED_THINGS or base.startswith("process_"), name


async def test_every_metric_is_explained(exported: Exported) -> None:
    explained = (FOLDER / "README.md").read_text()
    names = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exported.series}
    assert [name for name in sorted(names) if name.startswith("haat_") and f"`{name}" not in explained] == []


async def test_labels_stay_few(exported: Exported) -> None:
    """No id, no address and no text of a client ever becomes a series."""
    for name, series in exported.series.items():
        assert len(series) < 2000, name
        for labels in series:
            for label, value in labels.items():
                assert len(value) < 80, f"{name}{{{label}={value}}}"
                assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|@|\?", value), f"{name}{{{label}={value}}}"


def test_prometheus_asks_every_part_at_its_management_port() -> None:
    document = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    asked = {job["job_name"]: job["static_configs"][0]["targets"] for job in document["scrape_configs"]}
    assert asked.pop("rabbitmq") == ["rabbitmq:15692"]
    assert asked == {part.name: [f"{part.name}:{part.management_port}"] for part in topology.PARTS}


def test_grafana_is_given_the_dashboards_and_sources_that_they_use(compose: ComposeFile) -> None:
    mounted = [volume.split(":")[:2] for volume in compose.containers["grafana"]["volumes"]]
    assert [source for source, _ in mounted if not (ROOT / source).exists()] == []
    provider = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text())["providers"][0]
    assert provider["options"]["path"] in [place for _, place in mounted]
    sources = yaml.safe_load((FOLDER / "grafana" / "datasources.yml").read_text())["datasources"]
    hosts = {source["uid"]: urlsplit(source["url"]).hostname for source in sources}
    assert set(hosts.values()) <= set(compose.containers)
    used = {panel["datasource"]["uid"] for each in dashboards().values() for panel in each["panels"]}
    assert used <= set(hosts)


def test_images_are_of_one_version(compose: ComposeFile) -> None:
    for name in ("prometheus", "grafana", "traces"):
        assert re.search(r":v?\d+\.\d+\.\d+$", compose.containers[name]["image"]), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus's own checker is not installed")
def test_prometheus_itself_takes_the_alerts() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(FOLDER / "alerts.yml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboards_are_as_written(tmp_path: Path) -> None:
    """Grafana loads the files; people change the program."""
    written = {file.name: file.read_text() for file in (FOLDER / "dashboards").iterdir()}
    program = shutil.copy(FOLDER / "dashboards.py", tmp_path)
    subprocess.run([sys.executable, program], check=True)
    assert written == {file.name: file.read_text() for file in (tmp_path / "dashboards").iterdir()}


def test_every_alert_says_what_to_do_first() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "runbook"}, rule["alert"]
        assert len(rule["annotations"]["runbook"]) > 40, rule["alert"]
