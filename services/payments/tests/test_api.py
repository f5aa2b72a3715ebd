"""Who may do what over HTTP, and what happens to bad input."""

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from tests.conftest import Till

SOME_ID = "01a1f0c4-9d3e-7c11-8a55-0f2b6f9d4e21"
ORDER, ATTEMPT = "order_AAAAAAAAAAAAAA", "pay_AAAAAAAAAAAAAA"

BODIES: list[Any] = [
    {},
    [],
    "x",
    None,
    {"order_id": 1},
    {"order_id": "x"},
    {"order_id": None},
    {"order_id": SOME_ID, "amount": 1},
    {"order_id": SOME_ID + "\u0000"},
]
HANDSHAKES: list[Any] = [
    {},
    {"razorpay_order_id": "order_1", "razorpay_payment_id": "pay_1", "razorpay_signature": "x"},
    {"razorpay_order_id": "../x", "razorpay_payment_id": ATTEMPT, "razorpay_signature": "x"},
    {"razorpay_order_id": ORDER, "razorpay_payment_id": ATTEMPT, "razorpay_signature": 1},
    {
        "razorpay_order_id": ORDER,
        "razorpay_payment_id": "pay_AAAAAAAAAAAAAA\n",
        "razorpay_signature": "x",
    },
]
REFUNDS: list[Any] = [
    {},
    {"reason": ""},
    {"reason": "x" * 201},
    {"reason": "x", "amount": 100},
    {"reason": "x", "amount": {"amount": "100", "currency": "INR"}},
    {"reason": "x", "amount": {"amount": True, "currency": "INR"}},
    {"reason": "x", "amount": {"amount": 100.0, "currency": "INR"}},
    {"reason": "x", "amount": {"amount": -1, "currency": "INR"}},
    {"reason": "x", "amount": {"amount": 2**70, "currency": "INR"}},
    {"reason": "x", "amount": {"amount": 100, "currency": "rupees"}},
    {"reason": "x", "amount": {"amount": 100}},
    {"reason": "x", "speed": "optimum"},
]


async def test_who_may_do_what_with_a_payment_is_told_before_the_input_is_judged(till: "Till") -> None:
    """None, customer, staff, admin; 401 and 403 come before anything is said about the input."""
    order, payment_id, _ = await till.paid()
    client, path = till.harness.client, f"/api/v1/payments/{payment_id}"
    matrix = {
        ("GET", path): (401, 404, 200, 200),
        ("GET", f"/api/v1/payments?order_id={order.order_id}"): (401, 200, 200, 200),
        ("GET", f"{path}/refunds"): (401, 403, 200, 200),
        ("POST", f"{path}/refunds"): (401, 403, 400, 400),
        ("POST", f"{path}/verify"): (401, 422, 422, 422),
        ("POST", "/api/v1/payments"): (401, 422, 422, 422),
    }
    for (method, url), expected in matrix.items():
        content = {"content": b"{}"} if method == "POST" else {}
        plain = {"content-type": "application/json"} if content else {}
        answered = [(await client.request(method, url, headers=plain, **content)).status_code]  # type: ignore[arg-type]  # content only
        for role in ("customer", "staff", "admin"):
            headers = {**till.harness.as_user(role), **plain}
            answered.append((await client.request(method, url, headers=headers, **content)).status_code)  # type: ignore[arg-type]  # as above
        assert tuple(answered) == expected, (method, url)


async def test_nobody_sees_or_moves_the_payment_of_another(till: "Till") -> None:
    order = await till.placed()
    proof = await till.pay(order)
    payment = await till.payment(order)
    stranger = till.unheard(order_id=order.order_id)
    for method, path, body in (
        ("GET", f"/payments/{payment['id']}", None),
        ("POST", f"/payments/{payment['id']}/verify", proof),
        ("POST", "/payments", {"order_id": str(order.order_id)}),
    ):
        answer = await till.send(method, path, stranger, json=body)
        assert answer.status_code == 404, path
    assert (await till.send("GET", f"/payments?order_id={order.order_id}", stranger)).json()["items"] == []
    assert (await till.payment(order))["status"] == "open"


async def test_staff_read_but_do_not_pay_for_others(till: "Till") -> None:
    order = await till.placed()
    payment = await till.open(order)
    assert (await till.staff("GET", f"/payments/{payment['id']}")).json()["id"] == payment["id"]
    answer = await till.staff("POST", "/payments", json={"order_id": str(order.order_id)})
    assert (answer.status_code, answer.json()["code"]) == (404, "order_not_found")


@pytest.mark.parametrize("body", BODIES, ids=str)
async def test_opening_takes_nothing_but_an_order(till: "Till", body: Any) -> None:
    answer = await till.send("POST", "/payments", till.unheard(), json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")


@pytest.mark.parametrize("body", HANDSHAKES, ids=str)
async def test_a_handshake_is_strict(till: "Till", body: Any) -> None:
    order = await till.placed()
    payment = await till.open(order)
    answer = await till.send("POST", f"/payments/{payment['id']}/verify", order, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")


@pytest.mark.parametrize("body", REFUNDS, ids=str)
async def test_a_refund_with_wrong_input_is_refused(till: "Till", body: Any) -> None:
    payment = await till.open(await till.placed())
    headers = {"idempotency-key": "k"}
    answer = await till.staff("POST", f"/payments/{payment['id']}/refunds", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")


@pytest.mark.parametrize("query", ["", "?order_id=x", "?order_id=", "?orderid=x", f"?order_id={SOME_ID}&limit=3"])
async def test_a_lookup_names_an_order_and_nothing_else(till: "Till", query: str) -> None:
    answer = await till.send("GET", f"/payments{query}", till.unheard())
    assert answer.status_code == 422


async def test_an_unknown_order_has_no_payment(till: "Till") -> None:
    order = till.unheard()
    answer = await till.send("GET", f"/payments?order_id={order.order_id}", order)
    assert (answer.status_code, answer.json()) == (200, {"items": [], "next_cursor": None})
    assert (await till.send("GET", f"/payments/{uuid4()}", order)).json()["code"] == "payment_not_found"
    assert (await till.send("GET", "/payments/x", order)).status_code == 422


async def test_orders_being_away_is_told_and_nothing_is_made(till: "Till") -> None:
    till.orders.is_down = True
    answer = await till.open(till.unheard(), status=503)
    assert answer["code"] == "upstream_unavailable"
    assert await till.rows("SELECT id FROM payments") == []


async def test_the_answer_is_what_the_contract_says(till: "Till") -> None:
    order, _, attempt = await till.paid()
    payment = await till.payment(order)
    assert payment["order_id"] == str(order.order_id)
    assert payment["provider"] == "razorpay"
    assert payment["amount"] == payment["captured"] == {"amount": order.total, "currency": "INR"}
    (tried,) = payment["attempts"]
    assert (tried["provider_payment_id"], tried["status"], tried["method"]) == (attempt, "captured", "upi")
    assert tried["created_at"].endswith("Z")
    assert payment["refunds"] == []
