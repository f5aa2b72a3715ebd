"""Each day the shop's books are held against the provider's, and whoever differs is named."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import UUID

from starlette.requests import Request

from chassis.ids import new_id
from chassis.jobs import JobOutcome
from payments.models import Attempt

if TYPE_CHECKING:
    from tests.conftest import PlacedOrder, Till

PATH = "/admin/payments/statements"


def day() -> str:
    """The day before yesterday: over in every hour of today."""
    return (datetime.now(UTC) - timedelta(days=2)).date().isoformat()


class OrderTotals:
    """What orders answers about what its orders are worth."""

    def __init__(self, till: "Till") -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.asked_for: list[str] = []
        till.orders.routes |= {
            ("POST", "/internal/order-totals"): self._these,
            ("GET", "/internal/order-totals"): self._paid,
        }

    def add(self, order_id: UUID, total: int, *, attempt: str | None, status: str = "paid") -> None:
        """An order, paid by this attempt."""
        self.known[str(order_id)] = {
            "id": str(order_id),
            "number": f"H-{len(self.known)}",
            "status": status,
            "total": total,
            "currency": "INR",
            "paying_attempt_id": str(Attempt.id_for(attempt)) if attempt else None,
            "paid_at": f"{day()}T10:00:00Z",
        }

    def _these(self, _request: Request, body: Any) -> tuple[int, Any]:
        found = [self.known[order_id] for order_id in body["ids"] if order_id in self.known]
        return 200, {"items": found, "next_cursor": None}

    def _paid(self, request: Request, _body: Any) -> tuple[int, Any]:
        """One at a time, so that pages are followed."""
        query = parse_qs(request.url.query)
        (begin,) = query["paid_from"]
        place = int(query.get("cursor", ["0"])[0])
        self.asked_for.append(begin)
        known = [order for order in self.known.values() if order["paid_at"][:10] == begin[:10]]
        cursor = str(place + 1) if place + 1 < len(known) else None
        return 200, {"items": known[place : place + 1], "next_cursor": cursor}


async def two_days_pass(till: "Till") -> None:
    """All that was captured so far was captured the day before yesterday."""
    await till.harness.execute("UPDATE attempts SET captured_at = captured_at - interval '2 days'")
    await till.harness.execute("UPDATE payments SET created_at = created_at - interval '2 days'")


async def statement(till: "Till") -> dict[str, Any]:
    """The day as staff see it."""
    answer = await till.staff("GET", f"{PATH}/{day()}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def paid(till: "Till", totals: OrderTotals, *, status: str = "paid") -> tuple["PlacedOrder", str, str]:
    """A paid order that both services know."""
    order, payment_id, attempt = await till.paid()
    totals.add(order.order_id, order.total, attempt=attempt, status=status)
    return order, payment_id, attempt


async def test_a_day_with_purchases_refunds_and_a_cancelled_order_balances(till: "Till") -> None:
    totals = OrderTotals(till)
    await paid(till, totals, status="delivered")
    _, payment_id, _ = await paid(till, totals, status="delivered")
    await till.staff_refund(payment_id, 50_000)
    cancelled, _, attempt = await paid(till, totals, status="cancelled")
    await till.return_asked(cancelled, attempt, reason="cancelled")
    await till.pursue_refunds()
    await two_days_pass(till)

    outcome = await till.harness.run_job("daily-statement")
    assert outcome.found >= 1
    assert outcome.unresolved == 0

    told = await statement(till)
    assert (told["is_balanced"], told["is_under_way"], told["differing"]) == (True, False, [])
    (sums,) = told["sums"]
    amounts = {name: sums[name]["amount"] for name in sums if name != "attempts"}
    assert sums["attempts"] == 3
    assert amounts == {
        "order_total": 500_000,
        "order_refunds": 50_000,
        "captured": 750_000,
        "refunded": 300_000,
        "under_way": 0,
        "difference": 0,
    }
    listed = (await till.staff("GET", PATH)).json()
    assert [item["day"] for item in listed["items"]][-1] == day()
    first = (await till.staff("GET", f"{PATH}?limit=1")).json()
    rest = (await till.staff("GET", f"{PATH}?cursor={first['next_cursor']}")).json()
    assert [*first["items"], *rest["items"]] == listed["items"]


async def test_money_kept_for_a_cancelled_order_is_named(till: "Till") -> None:
    totals = OrderTotals(till)
    await paid(till, totals)
    order, _, attempt = await paid(till, totals, status="cancelled")
    await two_days_pass(till)

    outcome = await till.harness.run_job("daily-statement")

    assert outcome.unresolved == 1
    told = await statement(till)
    (line,) = told["differing"]
    assert (line["order_id"], line["provider_payment_id"], line["order_status"]) == (
        str(order.order_id),
        attempt,
        "cancelled",
    )
    assert line["difference"] == {"amount": order.total, "currency": "INR"}
    assert told["is_balanced"] is False


async def test_what_is_on_its_way_back_is_no_difference_and_the_day_is_made_again(till: "Till") -> None:
    totals = OrderTotals(till)
    order, _, attempt = await paid(till, totals, status="cancelled")
    await till.return_asked(order, attempt, reason="cancelled")
    await two_days_pass(till)
    await till.harness.run_job("daily-statement")
    under_way = await statement(till)
    assert (under_way["is_balanced"], under_way["is_under_way"]) == (True, True)
    assert under_way["sums"][0]["under_way"]["amount"] == order.total

    await till.pursue_refunds()
    assert (await till.harness.run_job("daily-statement")).found == 0, "not before six hours have passed"
    await till.harness.execute("UPDATE daily_statements SET made_at = made_at - interval '7 hours'")
    assert (await till.harness.run_job("daily-statement")).found == 1
    done = await statement(till)
    assert (done["is_balanced"], done["is_under_way"], done["sums"][0]["refunded"]["amount"]) == (
        True,
        False,
        order.total,
    )


async def test_a_refund_that_only_the_provider_knows_is_named(till: "Till") -> None:
    totals = OrderTotals(till)
    order, _, attempt = await paid(till, totals)
    await till.ask(till.simulator.dashboard_refund, attempt, amount=10_000)
    await two_days_pass(till)
    await till.harness.run_job("daily-statement")
    (line,) = (await statement(till))["differing"]
    assert (line["order_id"], line["difference"]["amount"]) == (str(order.order_id), -10_000)


async def test_an_order_that_is_paid_by_nothing_is_named(till: "Till") -> None:
    totals = OrderTotals(till)
    await paid(till, totals)
    unpaid = new_id()
    totals.add(unpaid, 99_000, attempt="pay_AAAAAAAAAAAAAA")
    await two_days_pass(till)
    await till.harness.run_job("daily-statement")
    (line,) = (await statement(till))["differing"]
    assert (line["order_id"], line["captured"]["amount"], line["difference"]["amount"]) == (str(unpaid), 0, -99_000)


async def test_money_that_nobody_told_us_of_is_named(till: "Till") -> None:
    OrderTotals(till)
    order = await till.placed()
    handshake = await till.pay(order)
    today = datetime.now(UTC).date()
    made = await till.harness.service.fastapi.state.statements.make_statement(today)
    unknown = {line.provider_payment_id: line for line in made.differing}
    line = unknown[handshake["razorpay_payment_id"]]
    assert (line.captured, line.difference, line.order_id) == (order.total, order.total, None)


async def test_a_day_is_made_later_when_orders_or_the_provider_is_away(till: "Till") -> None:
    totals = OrderTotals(till)
    await paid(till, totals)
    await two_days_pass(till)
    till.orders.is_down = True
    away = await till.harness.run_job("daily-statement")
    assert away.found == 0
    assert away.unresolved >= 1
    assert (await till.staff("GET", f"{PATH}/{day()}")).status_code == 404
    till.orders.is_down = False
    await till.ask(till.simulator.faults, "payments.list", "fail_before_commit")
    assert (await till.harness.run_job("daily-statement")).unresolved == 1
    await till.harness.run_job("daily-statement")
    assert (await statement(till))["is_balanced"] is True


async def test_there_is_nothing_to_state_before_the_first_payment(till: "Till") -> None:
    assert await till.harness.run_job("daily-statement") == JobOutcome()


async def test_a_day_is_a_day_and_for_staff_only(till: "Till") -> None:
    for wrong in ("today", "2026-13-01", "2026-02-30", "1700000000", "2026-1-1", "2026-01-01T00:00:00Z"):
        answer = await till.staff("GET", f"{PATH}/{wrong}")
        assert answer.status_code == 422, wrong
    assert (await till.staff("GET", f"{PATH}/2026-01-01")).json()["code"] == "statement_not_found"
    assert (await till.staff("GET", f"{PATH}?cursor=x")).json()["code"] == "cursor_invalid"
    assert (await till.send("GET", PATH, till.unheard())).status_code == 403
