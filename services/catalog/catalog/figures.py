"""What the shop's owner reads off a dashboard: sales that stock did not allow."""

from collections.abc import Callable, Mapping
from typing import Any

from catalog.events import StockCommitFailed
from chassis.events import Event
from chassis.telemetry import Metrics


def figures(metrics: Metrics) -> Mapping[type[Event], Callable[[Any], None]]:
    """Orders that exist and could not be supplied."""
    failed = metrics.counter("haat_stock_commit_failures_total", "Orders that stock could not supply.", ("cause",))
    for cause in ("placed", "paid"):
        failed.labels(cause)
    return {StockCommitFailed: lambda failure: failed.labels(failure.cause).inc()}


def refusals(metrics: Metrics) -> Callable[[], None]:
    """Counts a checkout that was told there is too little of something."""
    return metrics.counter("haat_stock_refusals_total", "Holds refused for want of stock.").inc
