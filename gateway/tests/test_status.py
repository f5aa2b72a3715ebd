"""The overview for staff: what services tell, what that means, and who may see it."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from chassis.testing import FakeUpstream

if TYPE_CHECKING:
    from gateway.testing import Front
    from tests.conftest import FrontFactory

JOB = {
    "job": "deadlines", "every": 5.0, "last_run": "2026-11-28T13:00:00Z", "error": None, "is_late": False,
    "found": 0, "repaired": 0, "unresolved": 0,
}  # fmt: skip
WELL: dict[str, Any] = {
    "version": "1.2.3",
    "migrations": {"applied": "0002", "newest": "0002"},
    "outbox": {"unpublished": 0, "oldest_seconds": 0.0},
    "queue": {"waiting": 4, "parked": 0},
    "jobs": [JOB],
}


async def overview(front_factory: "FrontFactory", told: dict[str, Any]) -> dict[str, Any]:
    """What staff get when orders tells this, and payments is down."""
    orders = FakeUpstream({("GET", "/internal/status"): (200, told)})
    async with front_factory(in_process={"orders": orders}, down=("payments",)) as front:
        reply = await front.ask("GET", "/status", token=front.keys.access_token(role="staff"))
        assert reply.status == 200
        assert reply.headers["cache-control"] == "no-store"
        parts: dict[str, Any] = {part["name"]: part for part in reply.json["parts"]}
        return parts


async def test_a_service_tells_what_it_is_and_what_waits_and_one_that_is_away_is_shown_so(
    front_factory: "FrontFactory",
) -> None:
    parts = await overview(front_factory, WELL)
    assert list(parts) == ["gateway", "accounts", "cart", "catalog", "orders", "payments"]
    assert parts["orders"] == {"name": "orders", "state": "answering", "concerns": [], **WELL}
    assert parts["payments"] == {"name": "payments", "state": "away", "concerns": ["It does not answer."]}
    assert parts["gateway"]["concerns"] == []


@pytest.mark.parametrize(
    ("change", "concern"),
    [
        ({"migrations": {"applied": "0001", "newest": "0002"}}, "database is at 0001"),
        ({"outbox": {"unpublished": 3, "oldest_seconds": 71.4}}, "waited 71 s"),
        ({"queue": {"waiting": 0, "parked": 2}}, "2 messages were given up"),
        ({"jobs": [{**JOB, "error": "ValueError"}]}, "deadlines fails with ValueError"),
        ({"jobs": [{**JOB, "is_late": True}]}, "deadlines has not run for long"),
        ({"jobs": [{**JOB, "unresolved": 5}]}, "deadlines had to leave 5"),
    ],
)
async def test_what_wants_a_person_is_said_in_a_sentence(
    front_factory: "FrontFactory", change: dict[str, Any], concern: str
) -> None:
    parts = await overview(front_factory, {**WELL, **change})
    (said,) = parts["orders"]["concerns"]
    assert concern in said


@pytest.mark.parametrize(("role", "status"), [("customer", 403), ("staff", 200), ("admin", 200)])
async def test_only_staff_see_how_the_shop_stands(front: "Front", role: str, status: int) -> None:
    reply = await front.ask("GET", "/status", token=front.keys.access_token(role=role))
    assert reply.status == status
    assert reply.code == ("role_required" if status == 403 else None)


async def test_who_brings_no_token_is_told_so_and_a_browser_is_asked_to_sign_in(front: "Front") -> None:
    assert (await front.ask("GET", "/status")).code == "token_missing"
    page = await front.ask("GET", "/status", accept="text/html")
    assert (page.status, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert b'id="sign-in"' in page.body
    assert b"script-src 'self'" in page.headers["content-security-policy"].encode()


async def test_the_page_shows_what_services_say_as_text(front_factory: "FrontFactory") -> None:
    told = {**WELL, "version": "<script>alert(1)</script>"}
    orders = FakeUpstream({("GET", "/internal/status"): (200, json.loads(json.dumps(told)))})
    async with front_factory(in_process={"orders": orders}) as front:
        page = await front.ask("GET", "/status", token=front.keys.access_token(role="staff"), accept="text/html")
    assert page.status == 200
    assert b"<script>alert" not in page.body
    assert b"&lt;script&gt;" in page.body
