"""Whoever reads a service's README finds in it what the service does by the clock, and which events it lives with."""

import pytest

from chassis.service import HOUSEKEEPING
from embedded.shop import PARTS
from tests.contracts.published import ROOT, parts

OF_EVERY_SERVICE = {"parked-messages", *(job.name for job in HOUSEKEEPING)}


@pytest.mark.parametrize("name", PARTS)
def test_a_readme_names_every_job_of_its_service(name: str) -> None:
    jobs = set(parts()[name].service.jobs.table) - OF_EVERY_SERVICE
    assert {job for job in jobs if f"`{job}`" not in _readme(name)} == set()


@pytest.mark.parametrize("name", PARTS)
def test_a_readme_names_every_event_that_its_service_publishes_or_hears(name: str) -> None:
    part = parts()[name]
    events = {event.type for event in part.events} | {heard.type for heard in part.subscriptions}
    assert {event for event in events if f"`{event}`" not in _readme(name)} == set()


def _readme(name: str) -> str:
    return (ROOT / name / "README.md").read_text()
