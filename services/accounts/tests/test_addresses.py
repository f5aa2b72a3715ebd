"""The address book: whose it is, its two defaults, and what an address may be."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from chassis.testing import Harness

HOME = {
    "recipient_name": "Asha Verma",
    "line1": "14, 3rd Cross",
    "city": "Bengaluru",
    "state": "Karnataka",
    "postal_code": "560038",
    "country": "IN",
}


async def add(person: Any, **changes: Any) -> dict[str, Any]:
    answer = await person.call("POST", "/users/me/addresses", json={**HOME, **changes})
    assert answer.status_code == 201, answer.text
    address: dict[str, Any] = answer.json()
    return address


async def defaults(person: Any) -> tuple[str, str]:
    """The ids of the one default for shipping and the one for billing."""
    items = (await person.call("GET", "/users/me/addresses")).json()["items"]
    (shipping,) = [item["id"] for item in items if item["is_default_shipping"]]
    (billing,) = [item["id"] for item in items if item["is_default_billing"]]
    return shipping, billing


async def test_the_first_address_becomes_both_defaults(accounts: Harness, asha: Any) -> None:
    home = await add(asha, label="Home", phone="+919876543210", line2="Indiranagar")

    expected = {**HOME, "label": "Home", "phone": "+919876543210", "line2": "Indiranagar"}
    assert home == {**expected, "id": home["id"], "is_default_shipping": True, "is_default_billing": True}
    assert (await asha.call("GET", f"/users/me/addresses/{home['id']}")).json() == home


async def test_a_later_address_is_a_default_only_when_asked(accounts: Harness, asha: Any) -> None:
    home = await add(asha)
    await add(asha)
    assert await defaults(asha) == (home["id"], home["id"])

    office = await add(asha, is_default_billing=True)
    assert await defaults(asha) == (home["id"], office["id"])

    await asha.call("PATCH", f"/users/me/addresses/{office['id']}", json={"is_default_shipping": True})
    assert await defaults(asha) == (office["id"], office["id"])


async def test_a_default_is_not_cleared_but_handed_on(accounts: Harness, asha: Any) -> None:
    home, office = await add(asha), await add(asha)

    answer = await asha.call("PATCH", f"/users/me/addresses/{home['id']}", json={"is_default_shipping": False})
    assert (answer.status_code, answer.json()["code"]) == (409, "default_address_needed")

    assert (await asha.call("DELETE", f"/users/me/addresses/{home['id']}")).status_code == 204
    assert await defaults(asha) == (office["id"], office["id"])
    await asha.call("DELETE", f"/users/me/addresses/{office['id']}")
    assert (await asha.call("GET", "/users/me/addresses")).json() == {"items": [], "next_cursor": None}


async def test_ten_addresses_at_once_leave_one_default_of_each_kind(accounts: Harness, asha: Any) -> None:
    await asyncio.gather(*(add(asha, is_default_shipping=True, is_default_billing=True) for _ in range(10)))

    await defaults(asha)


async def test_an_address_is_changed_field_by_field(accounts: Harness, asha: Any) -> None:
    home = await add(asha, line2="Indiranagar")

    changed = await asha.call("PATCH", f"/users/me/addresses/{home['id']}", json={"line2": None, "city": "Mysuru"})

    assert changed.json() == {**home, "line2": None, "city": "Mysuru"}


async def test_somebody_elses_address_does_not_exist(accounts: Harness, asha: Any, register: Any) -> None:
    ravi = await register("ravi", role="admin")
    home = await add(asha)

    for address_id in (home["id"], str(uuid4())):
        for method, body in (("GET", None), ("PATCH", {"city": "Mysuru"}), ("DELETE", None)):
            answer = await ravi.call(method, f"/users/me/addresses/{address_id}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "address_not_found")
    assert (await asha.call("GET", f"/users/me/addresses/{home['id']}")).json() == home
    assert (await ravi.call("GET", "/users/me/addresses")).json()["items"] == []


async def test_a_repeated_key_adds_one_address(accounts: Harness, asha: Any) -> None:
    key = {"idempotency-key": "add-home"}
    first = await asha.call("POST", "/users/me/addresses", json=HOME, headers=key)
    again = await asha.call("POST", "/users/me/addresses", json=HOME, headers=key)

    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await asha.call("GET", "/users/me/addresses")).json()["items"]) == 1


async def test_a_book_holds_fifty_addresses(accounts: Harness, asha: Any) -> None:
    for _ in range(50):
        await add(asha)

    answer = await asha.call("POST", "/users/me/addresses", json=HOME)
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (409, "address_book_full", 50)
    page = (await asha.call("GET", "/users/me/addresses", params={"limit": 30})).json()
    rest = (await asha.call("GET", "/users/me/addresses", params={"cursor": page["next_cursor"]})).json()
    assert len({item["id"] for item in page["items"] + rest["items"]}) == 50


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"country": "XX"}, "/country"),
        ({"country": "in"}, "/country"),
        ({"country": None}, "/country"),
        ({"postal_code": "56/0038"}, "/postal_code"),
        ({"postal_code": "1" * 13}, "/postal_code"),
        ({"line1": " "}, "/line1"),
        ({"line1": "x" * 201}, "/line1"),
        ({"city": "Ben\ngaluru"}, "/city"),
        ({"phone": "98765"}, "/phone"),
        ({"is_default_shipping": 1}, "/is_default_shipping"),
        ({"is_default_shipping": None}, "/is_default_shipping"),
        ({"id": str(uuid4())}, "/id"),
        ({"user_id": str(uuid4())}, "/user_id"),
    ],
)
async def test_an_address_is_refused_with_its_place(
    accounts: Harness, asha: Any, change: dict[str, Any], pointer: str
) -> None:
    home = await add(asha)

    made = await asha.call("POST", "/users/me/addresses", json={**HOME, **change})
    changed = await asha.call("PATCH", f"/users/me/addresses/{home['id']}", json=change)

    for answer in (made, changed):
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_an_address_id_that_is_none_is_422(accounts: Harness, asha: Any) -> None:
    answer = await asha.call("GET", "/users/me/addresses/7")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "address_id"


async def test_orders_reads_an_address_of_the_buyer_only(accounts: Harness, asha: Any, register: Any) -> None:
    ravi, home = await register("ravi"), await add(asha)
    headers = accounts.as_service("orders")

    answer = await accounts.client.get(f"/internal/users/{asha.id}/addresses/{home['id']}", headers=headers)
    foreign = await accounts.client.get(f"/internal/users/{ravi.id}/addresses/{home['id']}", headers=headers)

    assert answer.json() == {**HOME, "line2": None, "phone": None}
    assert (foreign.status_code, foreign.json()["code"]) == (404, "address_not_found")
