"""The log tells an order's story by its id, and nothing that concerns only the shopper."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.discretion import PATTERNS, leaks, secrets_of, used
from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import DEMO_PASSWORD, HOME, PASSWORD


async def test_a_whole_journey_leaves_nothing_private_in_the_log(own_shop: Shop) -> None:
    """With everything that can go wrong on the way: what is refused is quoted most easily."""
    assert own_shop.process is not None
    shopper = await own_shop.customer()
    email = shopper.session["user"]["email"]
    used(PASSWORD, HOME["line1"], HOME["recipient_name"])
    taken = {"email": email, "password": PASSWORD, "full_name": "Somebody Else"}
    assert (await own_shop.visitor().send("POST", "/api/v1/auth/register", json=taken)).status_code == 409
    wrong = {"email": email, "password": "not my password 1"}
    used(wrong["password"], taken["full_name"])
    assert (await own_shop.visitor().send("POST", "/api/v1/auth/login", json=wrong)).status_code == 401
    address = await shopper.post("/users/me/addresses", HOME)
    crooked = {**HOME, "country": "Atlantis", "line2": "behind the old mill"}
    used(crooked["line2"])
    assert (await shopper.send("POST", "/api/v1/users/me/addresses", json=crooked)).status_code == 422
    forged = shopper.access_token[:-6] + "AAAAAA" if shopper.access_token else ""
    used(forged)
    answer = await own_shop.http.get(f"{own_shop.gateway}/api/v1/orders", headers={"authorization": f"Bearer {forged}"})
    assert answer.status_code == 401
    await shopper.add_to_cart(await own_shop.new_variant())
    order = await shopper.place_order(
        shipping_address=None, shipping_address_id=address["id"], note="ring twice please"
    )
    used("ring twice please")
    payment = await shopper.start_payment(order)
    await shopper.pay(payment, method="card", outcome="failure")
    handshake = await shopper.pay(payment)
    used(handshake["razorpay_signature"])
    lie = {**handshake, "razorpay_signature": "f" * 64}
    await shopper.send("POST", f"/api/v1/payments/{payment['id']}/verify", json=lie)
    hook = {"x-razorpay-signature": "0" * 64, "x-razorpay-event-id": "made up"}
    await own_shop.visitor().send("POST", "/api/v1/payments/webhooks/razorpay", json={"payload": {}}, headers=hook)
    await shopper.sees_order(order["id"], status="paid")
    await shopper.post(f"/orders/{order['id']}/cancel", status=200)
    await shopper.send(
        "POST", "/api/v1/auth/refresh", json={"refresh_token": shopper.session["tokens"]["refresh_token"]}
    )

    log = own_shop.process.log.read_text()
    assert leaks(log, secrets=[*secrets_of(own_shop.process.secrets()), DEMO_PASSWORD]) == []


async def test_the_log_tells_an_orders_story_by_its_id(own_shop: Shop) -> None:
    """From the click to the stock that is sold, in every service that had a part in it."""
    assert own_shop.process is not None
    log = own_shop.process.log
    shopper = await own_shop.customer()
    order = await shopper.buy(await own_shop.new_variant())

    def about() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in log.read_text().splitlines() if order["id"] in line]
        return [line for line in lines if line.get("correlation_id") == order["id"]]

    async def is_told() -> bool:
        return {"orders", "cart", "catalog", "payments"} <= {line["service"] for line in about()}

    await eventually(is_told, what="A line of each service about the order")
    (placed,) = [line for line in about() if line.get("route") == "/api/v1/orders" and line["method"] == "POST"]
    assert placed["status"] == 201
    assert len(placed["trace_id"]) == len(placed["request_id"]) == 32


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"event": "asha@example.com signed in"}', "an e-mail address"),
        ('{"event": "x", "token": "eyJhbGciOiJFUzI1NiJ9.e30.abc"}', "a token"),
        ('{"event": "card 4111 1111 1111 1111"}', "a card number"),
        ('{"event": "postgresql://orders:secret@127.0.0.1/orders"}', "an address with its password"),
        ('{"exception": "Key (email) is not unique. DETAIL:  Key (email)=(a)"}', "a row that PostgreSQL quotes"),
    ],
)
def test_the_search_would_find_it(line: str, what: str) -> None:
    assert what in PATTERNS
    assert any(found.startswith(what) for found in leaks(line))


def test_the_search_finds_a_value_that_somebody_used_and_leaves_ids_alone() -> None:
    mine = f"secret of mine {uuid4().hex}"
    used({"deep": [mine]})
    assert leaks(json.dumps({"event": f"told: {mine}"}))
    assert (
        leaks('{"id": "01a2227a-7b69-70ba-92d8-66e6a6df4ef2", "at": "2026-11-28T14:00:47.624047Z", "ms": 12.5}') == []
    )
