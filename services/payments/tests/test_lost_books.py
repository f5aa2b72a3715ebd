"""A database was lost, and its backup is older than what was paid since: the provider still knows all of it."""

from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from chassis.clients import UpstreamUnavailable
from chassis.ids import new_id
from chassis.jobs import JobOutcome
from chassis.service import client_for
from payments.postgres_ledger import ledger_of
from payments.provider import PAGE, ProviderPayment, ProviderUnreachable
from payments.reconcile_command import reconcile, report
from payments.reconciliation import MOST_PAGES, sweep

if TYPE_CHECKING:
    from tests.conftest import PlacedOrder, Till

LOSE = """
TRUNCATE payments, payment_history, provider_orders, attempts, observations, refunds, refund_history, webhook_events,
    inbox, outbox, daily_statements"""


async def lose(till: "Till") -> None:
    """Our books are empty, as those of a backup from before all this."""
    await till.harness.execute(LOSE)


def tell(till: "Till", *known: "PlacedOrder", lost: tuple["PlacedOrder", ...] = ()) -> None:
    """What orders answers about these orders; it knows nothing of any other test's."""
    for order in known:
        till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = (200, order.document)
    for order in lost:
        till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = (404, {"code": "order_not_found"})


async def test_what_was_paid_after_the_backup_pays_its_order(till: "Till") -> None:
    order = await till.placed()
    await till.pay(order)
    await lose(till)
    tell(till, order)
    await till.harness.run_job("sweep")
    payment = await till.payment(order)
    assert (payment["status"], payment["captured"]["amount"]) == ("captured", order.total)
    assert await till.event_types(order) == ["payment.captured.v1"]
    assert await till.path(order) == ["new", "creating", "settled"]
    assert (await till.harness.run_job("sweep")).repaired == 0


async def test_reports_go_on_from_the_last_one_that_orders_has_seen(till: "Till") -> None:
    """Orders, whose books are newer, would take a lower number for old news, and never show a refund."""
    order = await till.placed()
    await till.pay(order)
    await lose(till)
    till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = (200, {**order.document, "payment_version": 7})
    await till.harness.run_job("sweep")
    (event,) = [event for event in await till.harness.events() if event.data["order_id"] == str(order.order_id)]
    assert event.data["payment_version"] == 8


async def test_the_event_of_the_order_may_come_first(till: "Till") -> None:
    """Everything is published again after a restore; the order has a new payment by the time the old one is found."""
    order = await till.placed()
    await till.pay(order)
    await lose(till)
    tell(till, order)
    await till.deliver("order.placed.v1", order, **order.event)
    await till.harness.run_job("sweep")
    assert (await till.payment(order))["status"] == "captured"
    assert await till.event_types(order) == ["payment.captured.v1"]


async def test_what_was_paid_for_an_order_whose_end_came_first_is_seen_by_its_owner_and_by_staff(till: "Till") -> None:
    """Of everything that is published again, the end of an order may be what we hear of it first."""
    order = await till.placed()
    paid = (await till.pay(order))["razorpay_payment_id"]
    await lose(till)
    tell(till, order)
    await till.deliver("order.cancelled.v1", order)
    await till.harness.run_job("sweep")
    payment = await till.payment(order)
    assert (payment["status"], payment["amount"]) == ("captured", {"amount": order.total, "currency": "INR"})
    assert (await till.staff("GET", f"/payments/{payment['id']}")).json()["captured"] == payment["amount"]
    assert (await till.staff_refund(payment["id"], 10_000)).status_code == 202
    await till.return_asked(order, paid)
    await till.pursue_refunds()
    assert sum(refund["amount"] for refund in await till.returned(paid)) == order.total


@pytest.mark.parametrize("has_ended", [False, True])
async def test_money_for_a_lost_order_is_shown_and_given_back_by_staff_alone(till: "Till", has_ended: bool) -> None:
    """Also where we have heard of its end, from before the backup of orders."""
    order = await till.placed()
    paid = (await till.pay(order))["razorpay_payment_id"]
    await lose(till)
    if has_ended:
        await till.deliver("order.cancelled.v1", order)
    tell(till, lost=(order,))
    till.orders.routes["POST", "/internal/order-totals"] = (200, {"items": [], "next_cursor": None})
    till.orders.routes["GET", "/internal/order-totals"] = (200, {"items": [], "next_cursor": None})
    outcome, told = await reconciled(till)
    assert outcome.repaired == 1
    (line,) = [line for line in told.splitlines() if paid in line]
    assert f"order {order.order_id} is not known to orders" in line
    assert f"captured {order.total}, refunded 0, worth 0 INR" in line
    assert await till.refunds() == []
    (payment,) = (await till.staff("GET", f"/payments?order_id={order.order_id}")).json()["items"]
    assert (payment["status"], payment["captured"]) == ("captured", {"amount": order.total, "currency": "INR"})
    assert (await till.send("GET", f"/payments?order_id={order.order_id}", order)).json()["items"] == []
    assert (await till.staff_refund(payment["id"])).status_code == 202
    await till.pursue_refunds()
    assert [refund["amount"] for refund in await till.returned(paid)] == [order.total]
    _, told = await reconciled(till)
    assert paid not in told


async def reconciled(till: "Till") -> tuple[JobOutcome, str]:
    """What the command does, and what it prints."""
    state = till.harness.service.fastapi.state
    orders = client_for(state.settings, {"orders": till.orders.upstream()}, "orders")
    outcome, statements = await reconcile(till.harness.service.database, state.provider, orders)
    return outcome, report(outcome, statements)


async def test_without_a_word_of_orders_nothing_is_decided(till: "Till") -> None:
    order = await till.placed()
    await till.pay(order)
    await lose(till)
    answers: list[Any] = [(503, {"code": "unavailable"}), (404, {"code": "route_not_found"})]

    def answer(_request: Request, _body: Any) -> Any:
        return answers[0]

    till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = answer
    for _ in range(len(answers)):
        assert (await till.harness.run_job("sweep")).unresolved
        assert await till.path(order) == []
        answers.pop(0)
        answers.append((200, order.document))
    await till.harness.run_job("sweep")
    assert await till.path(order) == ["new", "creating", "settled"]


async def test_a_payment_whose_order_is_lost_ends(till: "Till") -> None:
    """Else the provider would be asked about it for ever: orders has nothing left to close."""
    fresh, lost, late, silent = [await till.placed() for _ in range(4)]
    for order in (fresh, lost, late, silent):
        await till.open(order)
    tell(till, late, lost=(fresh, lost))
    overdue = "UPDATE payments SET pay_by = clock_timestamp() - interval '91 minutes' WHERE order_id <> $1"
    await till.harness.execute(overdue, fresh.order_id)
    outcome = await till.harness.run_job("lost-orders")
    assert (outcome.found, outcome.repaired, outcome.unresolved) == (3, 1, 2)
    assert await till.path(lost) == ["new", "creating", "open", "closed"]
    for order in (fresh, late, silent):
        assert await till.path(order) == ["new", "creating", "open"]


async def test_a_hundred_payments_that_cannot_be_ended_keep_no_other_from_its_end(till: "Till") -> None:
    """Their orders exist and did not end, or orders says nothing of them; they stand in front every time."""
    order = await till.placed()
    await till.open(order)
    tell(till, lost=(order,))
    await till.harness.execute("UPDATE payments SET pay_by = clock_timestamp() - interval '91 minutes'")
    await till.harness.execute("""
        INSERT INTO payments (id, order_id, user_id, status, amount, currency, receipt, version, pay_by)
        SELECT gen_random_uuid(), gen_random_uuid(), user_id, status, amount, currency, n::text, version, pay_by - older
        FROM payments, generate_series(1, 100) AS n, (VALUES (interval '1 minute')) AS by (older)
    """)
    await till.harness.execute("""
        INSERT INTO payment_history (id, payment_id, status, cause, at)
        SELECT gen_random_uuid(), payments.id, line.status, line.cause, line.at
        FROM payment_history AS line, payments WHERE payments.id <> line.payment_id ORDER BY line.at
    """)
    outcome = await till.harness.run_job("lost-orders")
    assert (outcome.found, outcome.repaired, outcome.unresolved) == (101, 1, 100)
    assert await till.path(order) == ["new", "creating", "open", "closed"]


async def test_orders_of_others_at_the_same_provider_are_left_alone(till: "Till") -> None:
    stranger = await till.ask(till.simulator.call, "POST", "/v1/orders", {"amount": 5_000, "currency": "INR"})
    await till.ask(till.simulator.pay, stranger["id"])
    await till.harness.run_job("sweep")
    asked = await asked_about(till, stranger["id"])
    await till.harness.run_job("sweep")
    assert (asked, await asked_about(till, stranger["id"])) == (1, 1)
    assert await till.rows("SELECT 1 FROM provider_orders WHERE provider_order_id = $1", stranger["id"]) == []


async def test_somebody_elses_order_is_not_ours_because_it_names_a_uuid(till: "Till") -> None:
    """Another shop on the same account writes ids of its own into its notes; its money is never taken for ours."""
    their_order = str(new_id())
    for receipt in ("shop-2-0001", f"haat_{new_id().hex}x", None):
        made = {"amount": 5_000, "currency": "INR", "receipt": receipt, "notes": {"order_id": their_order}}
        stranger = await till.ask(till.simulator.call, "POST", "/v1/orders", made)
        await till.ask(till.simulator.pay, stranger["id"])
        await till.harness.run_job("sweep")
        assert await till.rows("SELECT 1 FROM provider_orders WHERE provider_order_id = $1", stranger["id"]) == []
    asked = [path for _, path, _ in till.orders.calls]
    assert f"/internal/orders/{their_order}" not in asked


async def test_an_order_that_the_provider_would_not_show_is_asked_about_again(till: "Till") -> None:
    """A refusal for whatever reason does not make our order somebody else's."""
    order = await till.placed()
    await till.pay(order)
    await lose(till)
    tell(till, order)
    await till.ask(till.simulator.faults, "orders.fetch", "refuse", description="Request failed", times=0)
    assert (await till.harness.run_job("sweep")).unresolved
    assert await till.path(order) == []
    await till.ask(till.simulator.clear_faults)
    assert (await till.harness.run_job("sweep")).repaired == 1
    assert await till.path(order) == ["new", "creating", "settled"]


async def test_an_order_that_the_provider_does_not_have_is_asked_about_once(till: "Till") -> None:
    order = await till.placed()
    await till.pay(order)
    await lose(till)
    (made,) = await till.provider_orders(order)
    no_such_order = "The id provided does not exist"
    await till.ask(till.simulator.faults, "orders.fetch", "refuse", description=no_such_order, times=0)
    outcome = await till.harness.run_job("sweep")
    assert (outcome.repaired, outcome.unresolved) == (0, 0)
    await till.harness.run_job("sweep")
    assert await asked_about(till, made["id"]) == 1


async def asked_about(till: "Till", provider_order_id: str) -> int:
    """How often the provider was asked what it was made for."""
    await till.recorded()
    rows = await till.rows("SELECT 1 FROM provider_calls WHERE call = 'labels_of' AND about = $1", provider_order_id)
    return len(rows)


class Recent:
    """A provider of whom only the beginning of a sweep is remembered, and how many pages of strangers it read."""

    def __init__(self, *, pages: int = 0, fails: bool = False) -> None:
        self.since: list[int] = []
        self.pages, self.fails = pages, fails

    async def payments_since(self, since: int, *, skip: int) -> list[ProviderPayment]:
        """Full pages, and an empty one."""
        self.since.append(since)
        if self.fails:
            raise ProviderUnreachable("told to be away")
        stranger = ProviderPayment("pay_00000000000000", None, "captured", 100, "INR")
        return [stranger] * PAGE if skip < self.pages * PAGE else []


async def test_a_backup_of_last_week_is_swept_from_last_week_on_and_whole(till: "Till") -> None:
    ledger = ledger_of(till.harness.service.database)
    await till.harness.run_job("sweep")
    now = (await till.rows("SELECT extract(epoch FROM clock_timestamp())::bigint AS now"))[0]["now"]
    usual: Any = Recent(pages=MOST_PAGES + 5)
    await sweep(ledger, usual, adopt=refuse)
    assert abs(now - usual.since[0] - 2 * 86_400) < 60
    assert len(usual.since) == MOST_PAGES
    await till.harness.execute("UPDATE job_runs SET succeeded_at = succeeded_at - interval '7 days'")
    longer: Any = Recent(pages=MOST_PAGES + 5)
    await sweep(ledger, longer, adopt=refuse)
    assert abs(now - longer.since[0] - 9 * 86_400) < 60
    assert len(longer.since) == MOST_PAGES + 6


async def test_a_sweep_after_a_rest_succeeds_only_when_all_was_asked(till: "Till") -> None:
    """Else the next one would begin two days ago."""
    ledger = ledger_of(till.harness.service.database)
    await till.harness.run_job("sweep")
    await till.harness.execute("UPDATE job_runs SET succeeded_at = succeeded_at - interval '7 days'")
    away: Any = Recent(fails=True)
    with pytest.raises(ProviderUnreachable):
        await sweep(ledger, away, adopt=refuse)
    strangers: Any = Recent(pages=1)
    with pytest.raises(UpstreamUnavailable):
        await sweep(ledger, strangers, adopt=orders_is_away)


async def refuse(_payment: ProviderPayment) -> bool:
    """Nothing is taken in."""
    return False


async def orders_is_away(_payment: ProviderPayment) -> bool:
    """Nobody can say whose it is."""
    raise UpstreamUnavailable("orders")
