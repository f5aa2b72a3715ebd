"""Orders through the official SDK: made, found, listed, edited, and refused when they make no sense."""

from typing import Any

import pytest
import razorpay
from razorpay.errors import BadRequestError

from razorpay_simulator.testing import SimulatorProcess


def test_an_order_is_fetched_as_it_was_created(client: razorpay.Client) -> None:
    made = client.order.create({"amount": 50000, "currency": "INR", "receipt": "r-1", "notes": {"cart": "7"}})
    assert made["status"] == "created"
    assert (made["amount"], made["amount_paid"], made["amount_due"], made["attempts"]) == (50000, 0, 50000, 0)
    assert made["notes"] == {"cart": "7"}
    assert client.order.fetch(made["id"]) == made


def test_only_the_notes_of_an_order_can_be_edited(client: razorpay.Client) -> None:
    order = client.order.create({"amount": 100, "currency": "INR"})
    edited = client.order.edit(order["id"], {"notes": {"gift": "yes"}})
    assert edited == {**order, "notes": {"gift": "yes"}}
    with pytest.raises(BadRequestError, match="amount is not required and should not be sent"):
        client.order.edit(order["id"], {"amount": 200})


def test_orders_are_found_by_receipt_even_when_two_carry_the_same(client: razorpay.Client) -> None:
    first = client.order.create({"amount": 100, "currency": "INR", "receipt": "twice"})
    second = client.order.create({"amount": 100, "currency": "INR", "receipt": "twice"})
    found = client.order.all({"receipt": "twice"})
    assert [order["id"] for order in found["items"]] == [second["id"], first["id"]]
    assert client.order.all({"receipt": "never"}) == {"entity": "collection", "count": 0, "items": []}


def test_lists_are_paged_and_bounded_by_time(fresh: SimulatorProcess, fresh_client: razorpay.Client) -> None:
    early = [fresh_client.order.create({"amount": 100, "currency": "INR"})["id"] for _ in range(12)]
    fresh.advance(3600)
    late = fresh_client.order.create({"amount": 100, "currency": "INR"})
    assert fresh_client.order.all()["count"] == 10
    assert fresh_client.order.all({"count": 100})["count"] == 13
    assert [order["id"] for order in fresh_client.order.all({"skip": 11})["items"]] == [early[1], early[0]]
    since = {"from": late["created_at"]}
    assert [order["id"] for order in fresh_client.order.all(since)["items"]] == [late["id"]]
    until = {"to": late["created_at"] - 1, "count": 100}
    assert fresh_client.order.all(until)["count"] == 12
    with pytest.raises(BadRequestError, match="count may not be greater than 100"):
        fresh_client.order.all({"count": 101})


def test_a_list_tells_authorized_orders_apart_and_shows_payments_when_asked(
    fresh: SimulatorProcess, fresh_client: razorpay.Client
) -> None:
    waiting, untouched = (fresh_client.order.create({"amount": 100, "currency": "INR"}) for _ in range(2))
    paid = fresh.pay(waiting["id"], outcome="authorize_only")
    authorized = fresh_client.order.all({"authorized": 1, "expand[]": "payments"})
    assert [order["id"] for order in authorized["items"]] == [waiting["id"]]
    assert authorized["items"][0]["payments"]["items"][0]["id"] == paid["razorpay_payment_id"]
    assert [order["id"] for order in fresh_client.order.all({"authorized": 0})["items"]] == [untouched["id"]]


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ({"currency": "INR"}, "The amount field is required"),
        ({"amount": 99, "currency": "INR"}, "must be at least INR 1.00"),
        ({"amount": 100.5, "currency": "INR"}, "must be an integer"),
        ({"amount": True, "currency": "INR"}, "must be an integer"),
        ({"amount": 10**30, "currency": "INR"}, "amount"),
        ({"amount": 100}, "The currency field is required"),
        ({"amount": 100, "currency": "XXX"}, "Currency is not supported"),
        ({"amount": 100, "currency": "INR", "receipt": "x" * 41}, "greater than 40 characters"),
        ({"amount": 100, "currency": "INR", "receipt": {"a": 1}}, "receipt must be a string"),
        ({"amount": 100, "currency": "INR", "notes": {str(n): "x" for n in range(16)}}, "equal to 15"),
        ({"amount": 100, "currency": "INR", "notes": {"a": "x" * 257}}, "greater than 256"),
        ({"amount": 100, "currency": "INR", "payment": {"capture": "sometimes"}}, "capture is invalid"),
        ({"amount": 100, "currency": "INR", "payment": {"capture": "automatic"}}, "automatic_expiry_period"),
    ],
)
def test_a_senseless_order_is_refused_with_a_sentence(
    client: razorpay.Client, order: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadRequestError, match=sentence):
        client.order.create(order)


@pytest.mark.parametrize(
    ("minutes", "sentence"),
    [
        ({"automatic_expiry_period": 11}, "between 12"),
        ({"automatic_expiry_period": 60, "manual_expiry_period": 30}, "not be less than automatic_expiry_period"),
        ({"automatic_expiry_period": 12, "refund_speed": "warp"}, "refund_speed is invalid"),
        ({"automatic_expiry_period": 12, "grace": 1}, "grace is not required"),
    ],
)
def test_capture_windows_have_rules(client: razorpay.Client, minutes: dict[str, Any], sentence: str) -> None:
    payment = {"capture": "automatic", "capture_options": minutes}
    with pytest.raises(BadRequestError, match=sentence):
        client.order.create({"amount": 100, "currency": "INR", "payment": payment})


def test_unknown_and_impossible_ids_are_told_apart(client: razorpay.Client) -> None:
    with pytest.raises(BadRequestError, match="The id provided does not exist"):
        client.order.fetch("order_00000000000000")
    with pytest.raises(BadRequestError, match="order_1 is not a valid id"):
        client.order.fetch("order_1")


def test_a_refusal_has_the_documented_shape(simulator: SimulatorProcess) -> None:
    answer = simulator.request("POST", "/v1/orders", body={"amount": 1, "currency": "INR"})
    assert answer.status == 400
    assert answer.json == {
        "error": {
            "code": "BAD_REQUEST_ERROR",
            "description": "The amount must be at least INR 1.00",
            "source": "business",
            "step": "payment_initiation",
            "reason": "input_validation_failed",
            "metadata": {},
            "field": "amount",
        }
    }


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'"text"', b'{"amount": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a": "\\ud800"}']
)
def test_a_body_that_is_no_object_is_a_bad_request(simulator: SimulatorProcess, body: bytes) -> None:
    assert simulator.request("POST", "/v1/orders", body=body).status == 400


def test_a_huge_body_is_refused(simulator: SimulatorProcess) -> None:
    body = b'{"receipt": "' + b"x" * 1_100_000 + b'"}'
    assert simulator.request("POST", "/v1/orders", body=body).status == 413
