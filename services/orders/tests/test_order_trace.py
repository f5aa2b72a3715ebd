"""Staff follow one order through the whole shop, also while a part of the shop is away."""

from typing import TYPE_CHECKING, Any

from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop

APPLIED = ("POST", "/internal/events/applied")


def told(*entries: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """The routes of a service that knows this of every order, and has applied every event it is asked about."""

    def applied(_request: Any, body: Any) -> tuple[int, Any]:
        what = {"at": "2026-11-22T10:00:05Z", "kind": "event_consumed", "what": "some.event.v1"}
        return 200, {"items": [{**what, "caused_by": event_id} for event_id in body["ids"]]}

    return {("GET", r"/internal/orders/.*/trace"): (200, {"items": list(entries)}), APPLIED: applied}


async def trace(shop: "Shop", order: dict[str, Any]) -> dict[str, Any]:
    answer = await shop.staff("GET", f"/{order['id']}/trace")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def seen(document: dict[str, Any], service: str, kind: str) -> list[tuple[Any, ...]]:
    """What entries of one kind say, for one service."""
    items = [item for item in document["items"] if (item["service"], item["kind"]) == (service, kind)]
    return [(item["what"], item["by"], item["outcome"]) for item in items]


async def test_commands_moves_and_events_of_an_order_are_told_in_time_order(shop: "Shop") -> None:
    for service in (shop.catalog, shop.cart, shop.payments):
        service.routes |= told()
    order = await shop.shopper().placed()
    await shop.capture(order)
    await shop.tell("stock.committed.v1", order)
    await shop.staff("POST", f"/{order['id']}/ship", json={"carrier": "BlueDart", "tracking": "BD1"})

    document = await trace(shop, order)

    assert document["gaps"] == []
    assert seen(document, "orders", "command") == [
        ("POST /api/v1/orders", "customer", None),
        ("POST /api/v1/admin/orders/{order_id}/ship", "staff", None),
    ]
    moves = [outcome for _, _, outcome in seen(document, "orders", "transition")]
    assert moves == ["awaiting_payment", "paid", "shipped"]
    events = [what for what, _, _ in seen(document, "orders", "event_published")]
    assert events == ["order.placed.v1", "order.paid.v1", "order.shipped.v1"]
    assert len(seen(document, "catalog", "event_consumed")) == 3
    times = [item["at"] for item in document["items"]]
    assert times == sorted(times)


async def test_what_a_job_did_is_told_with_the_job_before_it(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    await shop.pass_deadline(order)

    own = [item for item in (await trace(shop, order))["items"] if item["service"] == "orders"]

    job = next(place for place, item in enumerate(own) if item["kind"] == "job")
    assert own[job]["what"] == "deadlines"
    assert (own[job + 1]["outcome"], own[job + 1]["by"]) == ("closing", "job deadlines")


async def test_an_event_that_came_from_another_service_is_told_where_it_was_applied(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    event_id = new_id()
    captured = {
        "at": "2026-11-22T10:00:01Z",
        "kind": "event_published",
        "what": "payment.captured.v1",
        "id": str(event_id),
    }
    shop.payments.routes |= told(captured)
    await shop.capture(order, event_id=event_id)

    document = await trace(shop, order)

    (consumed,) = [
        item
        for item in document["items"]
        if (item["service"], item["kind"], item["caused_by"]) == ("orders", "event_consumed", str(event_id))
    ]
    assert consumed["what"] == "payment.captured.v1"


async def test_services_that_are_away_are_gaps_and_no_error(shop: "Shop") -> None:
    order = await shop.shopper().placed()
    shop.catalog.is_down = True
    shop.cart.routes |= told()
    shop.payments.routes |= told() | {APPLIED: (200, {"items": [{"at": "yesterday"}]})}

    document = await trace(shop, order)

    assert document["gaps"] == [
        {"service": "catalog", "missing": "everything"},
        {"service": "payments", "missing": "events consumed"},
    ]
    assert seen(document, "orders", "transition") == [("order", "customer", "awaiting_payment")]


async def test_nobody_reads_what_a_shopper_wrote(shop: "Shop") -> None:
    """Reasons, notes and addresses stay where they are."""
    shopper = shop.shopper()
    shopper.want(shop.catalog.offer())
    order = (await shopper.order(note="ring twice at Asha's")).json()
    await shopper.send("POST", f"/orders/{order['id']}/cancel", json={"reason": "my mother is ill"})
    text = str(await trace(shop, order))
    for word in ("ring twice", "mother", "Asha", "Lake Road"):
        assert word not in text


async def test_only_staff_follow_an_order_and_only_one_that_exists(shop: "Shop") -> None:
    shopper = shop.shopper()
    order = await shopper.placed()
    assert (await shopper.send("GET", f"/admin/orders/{order['id']}/trace")).status_code == 403
    assert (await shop.staff("GET", f"/{new_id()}/trace")).status_code == 404
