"""One page of data answers "what happened to this order?", whichever service it happened in."""

from collections import defaultdict

from stack.topology import SERVICES
from tests.contracts.published import ROOT
from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import Document, Shopper


def missing(trace: Document) -> set[tuple[str, str]]:
    """Events in the trace that a service has filed a need for, with that service, and that it has not applied yet."""
    applied = defaultdict[str, set[str]](set)
    for item in trace["items"]:
        if item["kind"] == "event_consumed":
            applied[item["service"]].add(item["caused_by"])
    services = {part.name for part in SERVICES}
    filed = [(file.parent.name, file.stem) for file in ROOT.glob("*/contracts/consumers/*/*.json")]
    needs = {(consumer, event) for consumer, event in filed if consumer in services}
    return {
        (consumer, item["what"])
        for item in trace["items"]
        if item["kind"] == "event_published"
        for consumer, event in needs
        if event == item["what"] and item["id"] not in applied[consumer]
    }


async def whole_trace(staff: Shopper, order: Document, *, until: set[tuple[str, str, str]]) -> Document:
    """The trace once these entries are in it, and every event was applied by whoever needs it."""
    trace: Document = {}

    async def is_whole() -> bool:
        trace.update(await staff.get(f"/admin/orders/{order['id']}/trace"))
        happened = {(item["service"], item["kind"], item["what"]) for item in trace["items"]}
        return until <= happened and not missing(trace)

    await eventually(is_whole, what="A whole trace", within=60)
    return trace


async def test_a_purchase_that_is_cancelled_is_told_across_all_services(shop: Shop) -> None:
    shopper, staff = await shop.customer(), await shop.staff()
    order = await shopper.buy(await shop.new_variant(stock=5))
    await shopper.post(f"/orders/{order['id']}/cancel", {"reason": "told to nobody"}, status=200)
    await shopper.sees_order(order["id"], payment_status="refunded")

    last = {("orders", "event_consumed", "refund.processed.v1"), ("payments", "provider_call", "refund")}
    trace = await whole_trace(staff, order, until=last)

    assert trace["gaps"] == []
    assert [item["at"] for item in trace["items"]] == sorted(item["at"] for item in trace["items"])
    happened = {(item["service"], item["kind"], item["what"], item["outcome"]) for item in trace["items"]}
    assert {
        ("orders", "command", "POST /api/v1/orders", None),
        ("catalog", "command", "PUT /internal/reservations/{order_id}", None),
        ("orders", "transition", "order", "awaiting_payment"),
        ("orders", "event_published", "order.placed.v1", "published"),
        ("cart", "transition", "items of the cart", "taken"),
        ("payments", "command", "POST /api/v1/payments", None),
        ("payments", "provider_call", "create_order", "answered"),
        ("payments", "webhook", "payment.captured", "applied"),
        ("payments", "transition", "payment", "settled"),
        ("orders", "transition", "order", "paid"),
        ("catalog", "transition", "reservation", "committed"),
        ("orders", "command", "POST /api/v1/orders/{order_id}/cancel", None),
        ("orders", "transition", "order", "cancelled"),
        ("catalog", "transition", "reservation", "returned"),
        ("payments", "job", "refunds", None),
        ("payments", "provider_call", "refund", "answered"),
        ("payments", "transition", "refund", "processed"),
    } <= happened
    assert "told to nobody" not in str(trace)


async def test_staff_see_the_jobs_of_every_service(shop: Shop) -> None:
    """The page that tells whether the shop still repairs itself."""
    staff = await shop.staff()
    seen: Document = {}

    async def all_have_run() -> bool:
        seen.update(await staff.get("/admin/payments/reconciliation"))
        runs = {(job["service"], job["job"]) for job in seen["items"] if job["last_success"]}
        return {("orders", "deadlines"), ("payments", "closing"), ("catalog", "events-unpublished")} <= runs

    await eventually(all_have_run, what="A run of each job", within=60)
    assert seen["gaps"] == []
    assert {job["service"] for job in seen["items"]} == {"accounts", "cart", "catalog", "orders", "payments"}
    wanted = {"orphan-holds", "expired-holds", "deadlines", "closing-limit", "creations", "open", "closing", "capture",
              "refunds", "returns", "sweep", "webhook-silence", "parked-messages", "events-late"}  # fmt: skip
    assert wanted <= {job["job"] for job in seen["items"]}
