"""Writes the dashboards: `python deploy/observability/dashboards.py`. What Grafana loads are the files it writes.

A dashboard is a list of rows, a row a list of panels, a panel a title with its queries. Everything that Grafana
wants beside that (places, ids, units) follows here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 8
MONEY = "currencyINR"
"""The demo's currency; a series of another one carries its name."""


@dataclass(frozen=True)
class Panel:
    """A figure or a curve: each query with the legend of its series."""

    title: str
    queries: dict[str, str]
    """PromQL by legend."""
    unit: str = "short"
    kind: str = "timeseries"
    says: str = ""
    """What to make of it, behind the panel's corner."""


def figure(title: str, query: str, *, unit: str = "short", says: str = "") -> Panel:
    """One number over the range that is looked at."""
    return Panel(title, {title: query}, unit=unit, kind="stat", says=says)


def within(metric: str) -> str:
    """How much a counter grew over the range that is looked at."""
    return f"sum(increase({metric}[$__range])) or vector(0)"


def rate(metric: str, *by: str) -> str:
    """How fast a counter grows, per second."""
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({metric}[$__rate_interval]))"


def quantile(share: float, histogram: str, *by: str, where: str = "") -> str:
    """The value that a share of observations stays below."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket{where}', *by, 'le')})"


def errors(where: str, *by: str) -> str:
    """The share of answers that were errors of ours."""
    bad = where.replace("}", ', status=~"5.."}')
    return f"{rate('haat_http_requests_total' + bad, *by)} / {rate('haat_http_requests_total' + where, *by)}"


SHOP = [
    [
        figure("Orders placed", within("haat_orders_placed_total")),
        figure("Orders paid", within("haat_orders_paid_total")),
        figure("Paid", f"({within('haat_orders_paid_minor_units_total')}) / 100", unit=MONEY),
        figure("Given back", f"({within('haat_refunds_processed_minor_units_total')}) / 100", unit=MONEY),
        figure("Refused for want of stock", within("haat_stock_refusals_total")),
        figure("New customers", within("haat_users_registered_total")),
    ],
    [
        Panel(
            "Orders by what became of them, per minute",
            {
                "placed": f"60 * {rate('haat_orders_placed_total')}",
                "paid": f"60 * {rate('haat_orders_paid_total')}",
                "expired": f"60 * {rate('haat_orders_expired_total')}",
                "cancelled: {{reason}}": f"60 * {rate('haat_orders_cancelled_total', 'reason')}",
            },
            says="Paid follows placed by the minutes that shoppers take; a gap that grows is a payment problem.",
        ),
        Panel(
            "Money, per minute",
            {
                "captured {{currency}}": f"0.6 * {rate('haat_payments_captured_minor_units_total', 'currency')}",
                "given back {{currency}}": f"0.6 * {rate('haat_refunds_processed_minor_units_total', 'currency')}",
            },
            unit=MONEY,
        ),
    ],
    [
        Panel(
            "Attempts at the provider, per minute",
            {
                "captured": f"60 * {rate('haat_payments_captured_total')}",
                "failed": f"60 * {rate('haat_payments_failed_total')}",
            },
        ),
        Panel(
            "Captures to be given back, by cause, per minute",
            {"{{reason}}": f"60 * {rate('haat_refunds_requested_total', 'reason')}"},
            says="Late and duplicate captures go back by themselves; mismatches want a look at the storefront.",
        ),
        Panel(
            "Stock",
            {
                "refused at checkout": f"60 * {rate('haat_stock_refusals_total')}",
                "could not be supplied: {{cause}}": f"60 * {rate('haat_stock_commit_failures_total', 'cause')}",
            },
        ),
    ],
    [
        Panel(
            "Sent and arrived, per hour",
            {
                "sent": f"3600 * {rate('haat_orders_shipped_total')}",
                "arrived": f"3600 * {rate('haat_orders_delivered_total')}",
            },
        ),
        Panel(
            "People, per minute",
            {
                "accounts opened": f"60 * {rate('haat_users_registered_total')}",
                "signed in": f"60 * {rate('haat_sign_ins_total')}",
                "sessions ended early": f"60 * {rate('haat_sessions_revoked_total')}",
            },
        ),
        Panel("Orders that need a person", {"orders": 'max(haat_job_cases_unresolved{job_name="orders-in-review"})'}),
    ],
]

DURATION = "haat_http_request_duration_seconds"
MINE = '{job="$job"}'
SERVICE = [
    [
        figure("Requests per second", rate("haat_http_requests_total" + MINE), unit="reqps"),
        figure("Errors of ours", f"({errors(MINE)}) or vector(0)", unit="percentunit"),
        figure("99 of 100 faster than", quantile(0.99, DURATION, where=MINE), unit="s"),
        figure("Processes", f"count(up{MINE} == 1)"),
    ],
    [
        Panel("Requests, by route", {
            "{{method}} {{route}}": rate("haat_http_requests_total" + MINE, "method", "route"),
        }, unit="reqps"),
        Panel("Errors of ours, by route", {"{{route}}": errors(MINE, "route")}, unit="percentunit"),
        Panel("Half, 95 and 99 of 100 requests are faster than", {
            name: quantile(share, DURATION, where=MINE)
            for name, share in (("half", 0.5), ("95", 0.95), ("99", 0.99))
        }, unit="s"),
    ],
    [
        Panel("Database connections in use", {
            "{{pool}} on {{instance}}": 'haat_database_connections{job="$job", state="in_use"}',
            "{{pool}} may have": f"max by (pool) (haat_database_connections_max{MINE})",
        }, says="At the limit requests wait up to three seconds, then get 503."),
        Panel("CPU", {"{{instance}}": f"rate(process_cpu_seconds_total{MINE}[$__rate_interval])"}, unit="percentunit"),
        Panel("Memory", {"{{instance}}": f"process_resident_memory_bytes{MINE}"}, unit="bytes"),
    ],
    [
        Panel("Job runs", {"{{job_name}} {{outcome}}": rate("haat_job_runs_total" + MINE, "job_name", "outcome")}),
        Panel("How long a run takes", {"{{job_name}}": (
            f"{rate('haat_job_duration_seconds_sum' + MINE, 'job_name')}"
            f" / {rate('haat_job_duration_seconds_count' + MINE, 'job_name')}"
        )}, unit="s"),
        Panel("Cases that jobs repaired, and had to leave", {
            "repaired by {{job_name}}": f"{rate('haat_job_cases_repaired_total' + MINE, 'job_name')} > 0",
            "left by {{job_name}}": f"max by (job_name) (haat_job_cases_unresolved{MINE}) > 0",
            "looked at by {{job_name}}": f"{rate('haat_job_cases_found_total' + MINE, 'job_name')} > 0",
        }),
    ],
    [Panel("Version", {"{{version}}": f"count by (version) (haat_build_info{MINE})"})],
]  # fmt: skip

SAGA = [
    [
        figure("Messages given up", 'sum(haat_job_cases_unresolved{job_name="parked-messages"})',
               says="`python -m <service> events list` shows them."),
        figure("Events waiting to be published", "sum(haat_outbox_unpublished_events)"),
        figure("The oldest of them", "max(haat_outbox_oldest_age_seconds)", unit="s"),
        figure("19 of 20 events applied within", quantile(0.95, "haat_event_lag_seconds"), unit="s"),
    ],
    [
        Panel("Facts, by type", {"{{type}}": rate("haat_events_recorded_total", "type")}, unit="cps"),
        Panel("Published", {
            "{{job}}": rate("haat_outbox_published_total", "job"),
            "nobody bound: {{type}}": rate("haat_outbox_refused_total", "type"),
        }, unit="cps"),
    ],
    [
        Panel("Waiting in the outbox", {"{{job}}": "max by (job) (haat_outbox_unpublished_events)"}),
        Panel("Age of the oldest", {"{{job}}": "max by (job) (haat_outbox_oldest_age_seconds)"}, unit="s"),
        Panel("From an event to its effect, 95 of 100", {"{{job}}": quantile(0.95, "haat_event_lag_seconds", "job")},
              unit="s"),
    ],
    [
        Panel("Events by what came of them", {
            "{{job}} {{outcome}}": rate("haat_events_handled_total", "job", "outcome"),
        }, unit="cps", says="Repeated is normal after a restart; not_yet is an event that overtook another."),
        Panel("Events that changed nothing", {
            "{{job}} {{type}}": f"{rate('haat_events_without_effect_total', 'job', 'type')} > 0",
        }, unit="cps"),
        Panel("Calls of the payment provider", {
            "{{call}} {{outcome}}": rate("haat_provider_calls_total", "call", "outcome"),
        }, unit="cps", says="Unknown and unreachable ones are looked up again by jobs; nothing is paid twice."),
        Panel("19 of 20 calls of the provider are faster than", {
            "{{call}}": quantile(0.95, "haat_provider_call_duration_seconds", "call"),
        }, unit="s"),
    ],
    [
        Panel("Jobs that are late", {
            "{{job}} {{job_name}}": "time() - max by (job, job_name) (haat_job_last_success_timestamp_seconds)"
                                    " > 3 * max by (job, job_name) (haat_job_period_seconds)",
        }, unit="s"),
    ],
]  # fmt: skip

DOOR = '{job="gateway"}'
GATEWAY = [
    [
        figure("Requests per second", rate("haat_http_requests_total" + DOOR), unit="reqps"),
        figure("Errors of ours", f"({errors(DOOR)}) or vector(0)", unit="percentunit"),
        figure("Refused here", within("haat_gateway_refusals_total")),
        figure("Services not asked", "sum(max by (upstream) (haat_gateway_upstream_breaker_open))"),
    ],
    [
        Panel("Requests, by route", {"{{route}}": rate("haat_http_requests_total" + DOOR, "route")}, unit="reqps"),
        Panel("95 of 100 requests are faster than", {"{{route}}": quantile(0.95, DURATION, "route", where=DOOR)},
              unit="s"),
        Panel("Answers, by status", {"{{status}}": rate("haat_http_requests_total" + DOOR, "status")}, unit="reqps"),
    ],
    [
        Panel("Sent to services", {
            "{{upstream}} {{outcome}}": rate("haat_gateway_upstream_requests_total", "upstream", "outcome"),
        }, unit="reqps"),
        Panel("Under way at services", {
            "{{upstream}}": "sum by (upstream) (haat_gateway_upstream_requests_in_flight)",
        }),
        Panel("Sent twice", {"{{upstream}}": rate("haat_gateway_upstream_retries_total", "upstream")}, unit="reqps"),
    ],
    [
        Panel("Public reads, by what the cache had", {
            "{{result}}": rate("haat_gateway_cache_requests_total", "result"),
        }, unit="reqps", says="confirmed and miss asked the service, spare would have; the others did not."),
        Panel("Kept answers", {"{{instance}}": "haat_gateway_cache_answers"}),
        Panel("Memory of kept answers", {"{{instance}}": "haat_gateway_cache_bytes"}, unit="bytes"),
    ],
    [
        Panel("Breakers", {"{{upstream}}": "max by (upstream) (haat_gateway_upstream_breaker_open)"},
              says="1 while the gateway does not ask the service."),
        Panel("Refused here, by code", {"{{code}}": rate("haat_gateway_refusals_total", "code")}, unit="reqps"),
    ],
]  # fmt: skip


def dashboard(uid: str, title: str, rows: list[list[Panel]], *, has_job: bool = False) -> dict[str, Any]:
    """What Grafana loads."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        height = HEIGHT // 2 if row[0].kind == "stat" else HEIGHT
        width = WIDTH // len(row)
        for column, panel in enumerate(row):
            place = {"x": column * width, "y": top, "w": width, "h": height}
            panels.append(_panel(len(panels) + 1, panel, place))
        top += height
    return {
        "uid": uid,
        "title": title,
        "tags": ["haat"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Haat", "tags": ["haat"], "keepTime": True}],
        "templating": {"list": [_job()] if has_job else []},
        "panels": panels,
    }


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": PROMETHEUS, "expr": query, "legendFormat": legend}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": PROMETHEUS,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _job() -> dict[str, Any]:
    return {
        "name": "job",
        "label": "Part",
        "type": "query",
        "datasource": PROMETHEUS,
        "query": "label_values(haat_build_info, job)",
        "refresh": 2,
        "sort": 1,
        "current": {"text": "orders", "value": "orders"},
    }


DASHBOARDS = {
    "shop": dashboard("haat-shop", "Haat: the shop", SHOP),
    "service": dashboard("haat-service", "Haat: one service", SERVICE, has_job=True),
    "saga": dashboard("haat-saga", "Haat: saga and messages", SAGA),
    "gateway": dashboard("haat-gateway", "Haat: gateway", GATEWAY),
}


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name, document in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
