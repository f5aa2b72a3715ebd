"""Staff give money back: with a reason, once for each key, and never more than is left."""

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from tests.conftest import Till

TOTAL = 250_000


async def test_staff_refund_a_part_and_then_the_rest(till: "Till") -> None:
    order, payment_id, _ = await till.paid()
    part = await till.staff_refund(payment_id, 100_000)
    assert (part.status_code, part.json()["status"], part.json()["amount"]["amount"]) == (202, "requested", 100_000)
    await till.pursue_refunds()
    assert (await till.payment(order))["status"] == "partially_refunded"
    assert (await till.staff_refund(payment_id)).json()["amount"] == {"amount": 150_000, "currency": "INR"}
    await till.pursue_refunds()
    assert (await till.payment(order))["status"] == "refunded"
    listed = (await till.staff("GET", f"/payments/{payment_id}/refunds")).json()["items"]
    assert [(refund["status"], refund["reason"]) for refund in listed] == [("processed", "broken on arrival")] * 2
    refused = await till.staff_refund(payment_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_refund")


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        (TOTAL + 1, 409, "refund_too_large"),
        (0, 422, "refund_too_small"),
        (99, 422, "refund_too_small"),
        (TOTAL - 99, 422, "refund_too_small"),
        (100, 202, None),
        (TOTAL - 100, 202, None),
    ],
)
async def test_a_refund_has_its_bounds(till: "Till", amount: int, status: int, code: str | None) -> None:
    _, payment_id, _ = await till.paid()
    answer = await till.staff_refund(payment_id, amount)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert answer.json().get("refundable", TOTAL) == TOTAL


async def test_a_refund_is_in_the_currency_of_the_payment(till: "Till") -> None:
    _, payment_id, _ = await till.paid()
    body = {"amount": {"amount": 500, "currency": "USD"}, "reason": "x"}
    answer = await till.staff("POST", f"/payments/{payment_id}/refunds", json=body, headers={"idempotency-key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (422, "currency_unsupported")


async def test_nothing_captured_is_nothing_to_refund(till: "Till") -> None:
    payment = await till.open(await till.placed())
    answer = await till.staff_refund(payment["id"])
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_refund")
    assert (await till.staff_refund(str(uuid4()))).json()["code"] == "payment_not_found"


async def test_twenty_refunds_at_once_never_exceed_what_was_captured(till: "Till") -> None:
    order, payment_id, attempt = await till.paid()
    answers = await asyncio.gather(*(till.staff_refund(payment_id, 30_000) for _ in range(20)))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len(accepted) == TOTAL // 30_000
    assert {answer.json()["code"] for answer in answers if answer.status_code != 202} <= {"refund_too_large", "busy"}
    await asyncio.gather(till.return_asked(order, attempt, reason="cancelled"), till.staff_refund(payment_id))
    await till.pursue_refunds()
    assert sum(refund["amount"] for refund in await till.returned(attempt)) == TOTAL
    assert (await till.payment(order))["refunded"]["amount"] == TOTAL


async def test_a_staff_refund_needs_a_key_and_is_made_once_for_it(till: "Till") -> None:
    _, payment_id, _ = await till.paid()
    without = await till.staff("POST", f"/payments/{payment_id}/refunds", json={"reason": "x"})
    assert (without.status_code, without.json()["code"]) == (400, "idempotency_key_required")
    staff = {**till.harness.as_user("staff"), "idempotency-key": "one"}
    body = {"reason": "x", "amount": {"amount": 500, "currency": "INR"}}

    async def send(**changes: Any) -> Any:
        path = f"/api/v1/payments/{payment_id}/refunds"
        return await till.harness.client.post(path, json={**body, **changes}, headers=staff)

    answers = await asyncio.gather(*(send() for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await send(reason="y")).json()["code"] == "idempotency_key_reused"
    await till.harness.execute("DELETE FROM idempotency_keys")
    assert (await send()).json()["id"] == answers[0].json()["id"], "also when the kept answer is long gone"
    for other in ({"reason": "y"}, {"amount": {"amount": 700, "currency": "INR"}}):
        await till.harness.execute("DELETE FROM idempotency_keys")
        assert (await send(**other)).json()["code"] == "idempotency_key_reused", "or staff believe that it was made"
    assert len(await till.refunds()) == 1
