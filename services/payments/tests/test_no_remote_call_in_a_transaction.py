"""While somebody else is being asked, no transaction of payments stays open: a slow provider must not hold locks."""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

if TYPE_CHECKING:
    from tests.conftest import IdleTransactions, Till

SLOW = 0.4


async def test_opening_verifying_and_asking(till: "Till", idle_transactions: "IdleTransactions") -> None:
    await till.ask(till.simulator.faults, "*", "delay", seconds=SLOW, times=0)
    order = await till.placed()
    await idle_transactions.during(till.open(order))
    proof = await till.pay(order)
    await idle_transactions.during(till.verify(order, proof))
    await till.deliver("order.closing.v1", order)
    other = await till.placed()
    await till.pay(other)
    await till.due(other)
    await idle_transactions.during(till.harness.run_job("open"))
    await _assert_watched(till, idle_transactions, calls=4)


async def test_closing_capturing_and_sweeping(till: "Till", idle_transactions: "IdleTransactions") -> None:
    order, closing = await till.placed(), await till.placed()
    await till.verify(order, await till.pay(order, outcome="authorize_only"))
    await till.open(closing)
    await till.deliver("order.closing.v1", closing)
    await till.harness.execute("UPDATE attempts SET changed_at = clock_timestamp() - interval '3 minutes'")
    await till.ask(till.simulator.faults, "*", "delay", seconds=SLOW, times=0)
    for job in ("closing", "capture", "sweep"):
        await idle_transactions.during(till.harness.run_job(job))
    assert (await till.payment(order))["status"] == "captured"
    assert (await till.payment(closing))["status"] == "closed"
    await _assert_watched(till, idle_transactions, calls=4)


async def test_creations_in_doubt_and_refunds(till: "Till", idle_transactions: "IdleTransactions") -> None:
    order, _, attempt = await till.paid()
    doubtful = await till.placed()
    await till.ask(till.simulator.faults, "orders.create", "fail_after_commit")
    await till.open(doubtful, status=503)
    await till.lease_ends(doubtful)
    await till.return_asked(order, attempt)
    await till.ask(till.simulator.faults, "*", "delay", seconds=SLOW, times=0)
    await idle_transactions.during(till.harness.run_job("creations"))
    await idle_transactions.during(till.pursue_refunds())
    await till.harness.run_job("sweep")
    await idle_transactions.during(till.harness.run_job("returns"))
    assert (await till.payment(doubtful))["status"] == "open"
    assert (await till.payment(order))["status"] == "refunded"
    await _assert_watched(till, idle_transactions, calls=3)


async def test_asking_orders(till: "Till", idle_transactions: "IdleTransactions") -> None:
    order = till.unheard()

    async def slowly(_request: Request, _body: Any) -> tuple[int, Any]:
        await asyncio.sleep(SLOW)
        return 200, order.document

    till.orders.routes["GET", f"/internal/orders/{order.order_id}"] = slowly
    await idle_transactions.during(till.open(order))
    assert idle_transactions.found == []
    assert idle_transactions.looks > 5


async def _assert_watched(till: "Till", watch: "IdleTransactions", *, calls: int) -> None:
    """Nothing was found, and there was something to find it in."""
    counters = await till.ask(till.simulator.fault_counters)
    assert sum(fault["fired"] for fault in counters if fault["action"] == "delay") >= calls
    assert watch.looks >= calls * 5
    assert watch.found == []
