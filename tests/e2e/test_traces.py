"""With a collector set, one purchase is one trace, and nothing that concerns only the shopper is in it."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from stack.topology import PARTS, SERVICES
from tests.collector import OPENED_IN_IT, WHOLE_PURCHASE, Collector, Seen, listening_collector
from tests.patience import eventually
from tests.shop import Shop
from tests.shop_process import ShopProcess
from tests.shopper import HOME, PASSWORD, Document, Shopper


@dataclass
class Purchase:
    """What was bought, by whom, and what the collector has heard of it."""

    collector: Collector
    order: Document
    shopper: Shopper
    shop: Shop

    @property
    def trace(self) -> list[Seen]:
        """The spans of the trace in which the order was placed; none before the collector was told of that."""
        placed = next((span for span in self.collector.spans if span.name == "POST /api/v1/orders"), None)
        if placed is None:
            return []
        return self.collector.trace(placed.trace_id)

    def has(self, service: str, name: str) -> bool:
        """Whether such a span is in the order's trace."""
        return any((span.service, span.name) == (service, name) for span in self.trace)


WANTED = (*WHOLE_PURCHASE, OPENED_IN_IT)


@pytest.fixture(scope="module")
async def purchase(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Purchase]:
    """Something bought in a shop whose collector is set."""
    if "HAAT_URL" in os.environ:
        pytest.skip("needs a shop of its own, not the one at HAAT_URL")
    process = ShopProcess(Path(tmp_path_factory.mktemp("traced")), closes_within=20)
    with listening_collector() as collector:
        try:
            process.open(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="200")
            async with httpx.AsyncClient(timeout=30) as http:
                shop = Shop(process.gateway, process.simulator, http, process)
                shopper = await shop.customer()
                order = await _buy_slowly(shopper, await shop.new_variant())
                bought = Purchase(collector, order, shopper, shop)

                async def is_whole() -> bool:
                    return all(bought.has(*wanted) for wanted in WANTED)

                try:
                    await eventually(is_whole, what="The whole purchase in one trace", within=30)
                except AssertionError as error:
                    missing = [wanted for wanted in WANTED if not bought.has(*wanted)]
                    raise AssertionError(f"{error}\nmissing: {missing}\nthere: {_told(bought.trace)}") from None
                yield bought
            process.close()
        finally:
            process.kill()


async def _buy_slowly(shopper: Shopper, variant_id: str) -> Document:
    """As people do, who are never faster than an event."""
    await shopper.add_to_cart(variant_id)
    order = await shopper.place_order()

    async def is_expected() -> bool:
        return bool((await shopper.get("/payments", order_id=order["id"]))["items"])

    await eventually(is_expected, what="A payment that waits for its shopper")
    await shopper.pay(await shopper.start_payment(order))
    return await shopper.sees_order(order["id"], status="paid")


def _told(spans: list[Seen]) -> str:
    return "\n".join(sorted(f"{span.service}: {span.name}" for span in spans))


async def test_one_purchase_is_one_trace_from_the_door_to_the_last_consumer(purchase: Purchase) -> None:
    roots = [span for span in purchase.trace if not span.parent_id]
    assert [(span.service, span.name) for span in roots] == [("gateway", "POST /api/v1/orders")]
    known = {span.span_id for span in purchase.trace}
    assert [span for span in purchase.trace if span.parent_id and span.parent_id not in known] == []


async def test_what_becomes_of_the_order_later_is_found_in_its_trace(purchase: Purchase) -> None:
    """A cancellation is a request with a trace of its own; what it does to order and money is in the order's."""
    order = purchase.order
    answer = await purchase.shopper.send("POST", f"/api/v1/orders/{order['id']}/cancel", json={})
    assert answer.status_code == 200
    later = (
        ("orders", "order cancel_asked"),
        ("catalog", "process order.cancelled.v1"),
        ("payments", "razorpay refund"),
        ("orders", "process refund.processed.v1"),
    )

    async def are_there() -> bool:
        return all(purchase.has(*wanted) for wanted in later)

    await eventually(are_there, what=f"All of {later}", within=60)
    (moved,) = [span for span in purchase.trace if span.name == "order cancel_asked"]
    assert moved.links == (answer.headers["x-request-id"],)


async def test_the_id_that_a_client_is_told_finds_the_trace(purchase: Purchase) -> None:
    answer = await purchase.shopper.send("GET", f"/api/v1/orders/{purchase.order['id']}")

    async def is_there() -> bool:
        return bool(purchase.collector.trace(answer.headers["x-request-id"]))

    await eventually(is_there, what="A trace with the request's id")


async def test_the_webhook_is_a_request_of_its_own_that_leads_to_the_order(purchase: Purchase) -> None:
    """The webhook's trace has the request, the order's has what it meant, and a link leads from this to that."""
    for observed in [span for span in purchase.trace if span.name == "observed by webhook"]:
        (came_by,) = observed.links
        assert came_by != observed.trace_id
        names = {(span.service, span.name) for span in purchase.collector.trace(came_by)}
        assert ("gateway", "POST /api/v1/payments/webhooks/razorpay") in names
        assert observed.attributes["haat.correlation_id"] == purchase.order["id"]


async def test_what_the_gateway_asks_for_itself_is_told_in_its_name(purchase: Purchase) -> None:
    """It reads the ended sessions without being asked, and `/status` from every service."""
    staff = await purchase.shop.staff()
    answer = await staff.send("GET", "/status")
    assert answer.status_code == 200

    async def are_there() -> bool:
        trace = purchase.collector.trace(answer.headers["x-request-id"])
        return {span.name for span in trace if span.service == "gateway"} >= {f"GET {part.name}" for part in SERVICES}

    await eventually(are_there, what="What the gateway asked, below the request that made it ask")
    unasked = [span for span in purchase.collector.spans if span.name == "GET accounts" and not span.parent_id]
    assert {span.service for span in unasked} == {"gateway"}
    assert {span.service for span in purchase.collector.spans} == {part.name for part in PARTS}


async def test_nothing_personal_and_no_secret_is_in_any_span(purchase: Purchase) -> None:
    process = purchase.shop.process
    assert process is not None
    told = b"".join(purchase.collector.raw)
    secrets = process.secrets()
    keys = [key["d"] for key in (*secrets["signing_keys"], *secrets["service_keys"].values())]
    user = purchase.shopper.session["user"]
    own = [user["email"], user["full_name"], purchase.shopper.access_token, purchase.shopper.cart_token]
    ours = [secrets["webhook_secret"], secrets["razorpay_key_secret"], *secrets["database_passwords"].values(), *keys]
    private = [PASSWORD, *HOME.values(), *own, *ours]
    assert [value for value in private if value and len(value) > 2 and value.encode() in told] == []
    for mark in (b"eyJ", b"Bearer", b"SELECT", b"INSERT", b"postgresql://"):
        assert mark not in told
    assert json.dumps(HOME["line1"]).encode() not in told


def test_without_a_collector_nothing_of_it_is_loaded_and_a_span_is_one_shared_object() -> None:
    looked = (
        "import sys, embedded.shop; from chassis import tracing; tracing.configure_tracing('');"
        "print(tracing.start('a', 'server') is tracing.start('b', 'client') is tracing.resumed('c', None),"
        " [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    printed = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "True []"
