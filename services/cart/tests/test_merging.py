"""A guest becomes a user: the carts become one, once, whoever comes first."""

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Shop, Shopper


def _hash(token: str | None) -> str:
    assert token is not None
    return hashlib.sha256(token.encode()).hexdigest()


async def _sign_in(shop: "Shop", guest: "Shopper", user: "Shopper", event: str = "user.signed_in.v1") -> None:
    data = {"user_id": str(user.user_id), "session_id": "s", "guest_token_hash": _hash(guest.token)}
    await shop.harness.deliver(event, data)


async def _carts(shop: "Shop", **quantities: int) -> tuple["Shopper", "Shopper", str]:
    """A guest and a user with so many of the same lamp each."""
    lamp = shop.catalog.offer(available=20)
    guest, user = shop.guest(), shop.user()
    for shopper, quantity in ((guest, quantities["guest"]), (user, quantities["user"])):
        if quantity:
            await shopper.add(lamp, quantity)
    return guest, user, lamp


@pytest.mark.parametrize("event", ["user.signed_in.v1", "user.registered.v1"])
async def test_event_merges_even_if_no_request_carries_both(shop: "Shop", event: str) -> None:
    guest, user, lamp = await _carts(shop, guest=2, user=3)
    before = await user.cart()
    await _sign_in(shop, guest, user, event)
    after = await user.cart()
    assert {item["variant_id"]: item["quantity"] for item in after["items"]} == {lamp: 5}
    assert after["id"] == before["id"]
    assert after["version"] > before["version"]
    assert (await guest.cart())["items"] == []


async def test_first_touch_merges_and_clears_the_cookie(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=2, user=0)
    user.headers = {"cookie": f"cart_token={guest.token}"}
    response = await user.send("GET", "/cart")
    assert response.json()["items"][0]["quantity"] == 2
    assert response.headers["set-cookie"].startswith('cart_token="";')
    assert "Max-Age=0" in response.headers["set-cookie"]
    user.headers = {}
    assert await user.quantities() == {lamp: 2}


async def test_every_write_merges_before_it_answers(shop: "Shop") -> None:
    bowl = shop.catalog.offer()
    guest, user, lamp = await _carts(shop, guest=2, user=0)
    item = (await user.add(bowl)).json()["items"][0]["id"]
    user.token = guest.token
    changed = await user.send("PATCH", f"/cart/items/{item}", {"quantity": 4})
    assert {entry["variant_id"]: entry["quantity"] for entry in changed.json()["items"]} == {lamp: 2, bowl: 4}


async def test_items_keep_their_ids(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=2, user=0)
    item = (await guest.cart())["items"][0]["id"]
    await _sign_in(shop, guest, user)
    changed = await user.send("PATCH", f"/cart/items/{item}", {"quantity": 1})
    assert changed.json()["items"][0]["variant_id"] == lamp


@pytest.mark.parametrize("place", ["body", "header", "cookie"])
async def test_explicit_merge_takes_the_token_from_anywhere(shop: "Shop", place: str) -> None:
    guest, user, lamp = await _carts(shop, guest=2, user=3)
    body: Any = None
    if place == "body":
        body = {"token": guest.token}
    elif place == "header":
        user.token = guest.token
    else:
        user.headers = {"cookie": f"cart_token={guest.token}"}
    for _ in range(2):
        merged = await user.send("POST", "/cart/merge", body)
        assert merged.status_code == 200
        assert [item["quantity"] for item in merged.json()["items"]] == [5]
    assert await user.quantities() == {lamp: 5}


async def test_explicit_merge_needs_a_user_and_a_sound_body(shop: "Shop") -> None:
    guest, user, _ = await _carts(shop, guest=1, user=1)
    assert (await guest.send("POST", "/cart/merge")).status_code == 401
    for body in ({"token": 7}, {"token": ""}, {"token": "x", "user_id": "y"}):
        assert (await user.send("POST", "/cart/merge", body)).status_code == 422
    assert (await user.send("POST", "/cart/merge", {})).status_code == 200
    assert (await user.send("POST", "/cart/merge", {"token": "unknown"})).status_code == 200


async def test_what_does_not_fit_is_capped_and_told(shop: "Shop") -> None:
    guest, user = shop.guest(), shop.user()
    scarce, plenty, gone, fits = (shop.catalog.offer(available=count) for count in (5, 500, 9, 9))
    for variant_id, quantity in ((scarce, 4), (plenty, 60), (gone, 2), (fits, 2)):
        await guest.add(variant_id, quantity)
    await user.add(scarce, 4)
    await user.add(plenty, 60)
    await shop.stock(gone, 0)
    user.token = guest.token
    merged = await user.cart()
    assert {item["variant_id"]: item["quantity"] for item in merged["items"]} == {scarce: 5, plenty: 99, fits: 2}
    assert sorted(merged["capped"], key=lambda entry: entry["wanted"]) == [
        {"variant_id": gone, "wanted": 2, "got": 0},
        {"variant_id": scarce, "wanted": 8, "got": 5},
        {"variant_id": plenty, "wanted": 120, "got": 99},
    ]


async def test_capping_is_told_even_when_the_event_was_faster(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=15, user=15)
    await _sign_in(shop, guest, user)
    user.token = guest.token
    assert (await user.cart())["capped"] == [{"variant_id": lamp, "wanted": 30, "got": 20}]
    stranger = shop.user()
    stranger.token = guest.token
    assert (await stranger.cart())["capped"] == []


async def test_merge_never_takes_away_what_the_user_had(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=1, user=10)
    await shop.stock(lamp, 4)
    await _sign_in(shop, guest, user)
    assert await user.quantities() == {lamp: 10}


async def test_merged_cart_holds_50_items(shop: "Shop") -> None:
    guest, user = shop.guest(), shop.user()
    variants = [shop.catalog.offer() for _ in range(60)]
    for variant_id in variants[:30]:
        await guest.add(variant_id)
    for variant_id in variants[25:55]:
        await user.add(variant_id)
    user.token = guest.token
    merged = await user.cart()
    assert len(merged["items"]) == 50
    assert [entry["got"] for entry in merged["capped"]] == [0] * 5


async def test_dead_token_belongs_to_nobody(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=2, user=0)
    dead = guest.token
    await _sign_in(shop, guest, user)
    thief = shop.user()
    thief.token = dead
    assert await thief.quantities() == {}
    added = await guest.add(lamp)
    assert added.status_code == 201
    assert guest.token != dead
    assert [item["quantity"] for item in added.json()["items"]] == [1]
    assert await user.quantities() == {lamp: 2}


async def test_users_write_with_a_dead_token_goes_into_the_users_cart(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=2, user=0)
    await _sign_in(shop, guest, user)
    user.token = guest.token
    added = await user.add(lamp)
    assert [item["quantity"] for item in added.json()["items"]] == [3]
    assert "x-cart-token" not in added.headers


async def test_same_token_for_two_users_merges_into_one_of_them(shop: "Shop") -> None:
    guest, one, lamp = await _carts(shop, guest=2, user=0)
    other = shop.user()
    one.token = other.token = guest.token
    await asyncio.gather(one.cart(), other.cart())
    one.token = other.token = None
    assert sorted([await one.quantities(), await other.quantities()], key=len) == [{}, {lamp: 2}]


async def test_event_and_requests_at_once_merge_once(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=4, user=3)
    user.token = guest.token
    await asyncio.gather(
        _sign_in(shop, guest, user),
        _sign_in(shop, guest, user, "user.registered.v1"),
        *(user.send("POST", "/cart/merge") for _ in range(5)),
        *(user.cart() for _ in range(5)),
    )
    assert await user.quantities() == {lamp: 7}


async def test_event_delivered_again_merges_nothing_that_came_later(shop: "Shop") -> None:
    guest, user, lamp = await _carts(shop, guest=4, user=0)
    for _ in range(3):
        await _sign_in(shop, guest, user)
    assert await user.quantities() == {lamp: 4}


async def test_merge_raced_with_adds_loses_and_doubles_nothing(shop: "Shop") -> None:
    """20 adds under way while the carts merge: each that was answered is in exactly one cart, once."""
    guest, user, lamp = await _carts(shop, guest=1, user=0)
    await shop.stock(lamp, 99)
    both = shop.user()
    both.user_id, both.token = user.user_id, guest.token

    async def add_as_guest() -> dict[str, int]:
        racer = shop.guest()
        racer.token = guest.token
        assert (await racer.add(lamp)).status_code == 201
        return await racer.quantities() if racer.token != guest.token else {}

    async def add_as_user() -> dict[str, int]:
        assert (await both.add(lamp)).status_code == 201
        return {}

    results = await asyncio.gather(
        *(add_as_guest() for _ in range(10)),
        *(add_as_user() for _ in range(10)),
        _sign_in(shop, guest, user),
        both.send("POST", "/cart/merge"),
    )
    in_new_carts = sum(result.get(lamp, 0) for result in results if isinstance(result, dict))
    assert (await user.quantities())[lamp] + in_new_carts == 1 + 20
    assert await guest.quantities() == {}


async def test_event_without_a_guest_stores_nothing(shop: "Shop") -> None:
    user = shop.user()
    for hash_ in (None, "0" * 64):
        data = {"user_id": str(user.user_id), "guest_token_hash": hash_}
        await shop.harness.deliver("user.signed_in.v1", data)
    assert await shop.harness.fetch("SELECT 1 FROM carts") == []
