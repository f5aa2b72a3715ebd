"""Staff see how every job of the shop is doing, also while a part of the shop is away."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import Till

PATH = "/admin/payments/reconciliation"


def run(job: str, **told: Any) -> dict[str, Any]:
    """What another service answers about one of its jobs."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    counts = dict.fromkeys(("found", "repaired", "unresolved", "found_total", "repaired_total"), 0)
    return {
        "job": job, "every": 5.0, "last_run": now, "last_success": now, "seconds": 0.01, "error": None,
        "is_late": False, "last_repair": None, **counts, **told,
    }  # fmt: skip


def answers(*runs: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """The route of a service that has these jobs."""
    return {("GET", "/internal/jobs"): (200, {"items": list(runs)})}


async def test_every_job_is_shown_with_what_its_last_run_found_repaired_and_left(till: "Till") -> None:
    order = await till.placed()
    await till.pay(order)
    await till.poll(order)
    till.orders.routes |= answers(run("deadlines", found=3, repaired=2, unresolved=1))
    till.others["catalog"].routes |= answers(run("orphan-holds", error="TimeoutError"))
    till.others["cart"].routes |= answers(run("abandoned-carts", is_late=True))
    till.others["accounts"].routes |= answers()

    shown = (await till.staff("GET", PATH)).json()

    jobs = {(job["service"], job["job"]): job for job in shown["items"]}
    own = {name for service, name in jobs if service == "payments"}
    assert {"closing", "refunds", "webhooks", "creations", "open", "capture", "returns", "webhook-silence", "sweep",
            "lost-orders", "refund-sweep", "daily-statement",
            "events-unpublished", "events-late"} <= own  # fmt: skip
    assert jobs["payments", "open"]["found"] == 1
    assert jobs["payments", "sweep"]["last_run"] is None
    assert (jobs["orders", "deadlines"]["repaired"], jobs["orders", "deadlines"]["unresolved"]) == (2, 1)
    assert shown["gaps"] == []
    assert (shown["unresolved"], shown["failing"], shown["late"]) == (1, 1, 1)


async def test_a_service_that_is_away_is_a_gap_and_no_error(till: "Till") -> None:
    till.orders.is_down = True
    till.others["catalog"].routes |= answers(run("expired-holds"))
    till.others["cart"].routes |= {("GET", "/internal/jobs"): (403, {"code": "role_required"})}
    till.others["accounts"].routes |= {("GET", "/internal/jobs"): (200, {"items": [{"job": 1}]})}

    answer = await till.staff("GET", PATH)

    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["gaps"] == ["orders", "cart", "accounts"]
    assert {job["service"] for job in answer.json()["items"]} == {"payments", "catalog"}


async def test_only_staff_see_how_jobs_ended(till: "Till") -> None:
    order = await till.placed()
    assert (await till.send("GET", PATH, order)).status_code == 403
    assert (await till.harness.client.get(f"/api/v1{PATH}")).status_code == 401
