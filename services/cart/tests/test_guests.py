"""Guests: how they are known, and that nobody else is taken for one."""

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Shop, Shopper


async def test_first_write_hands_out_a_token_of_which_only_the_hash_is_stored(shop: "Shop") -> None:
    guest = shop.guest()
    response = await guest.add(shop.catalog.offer())
    token = response.headers["x-cart-token"]
    cookie = response.headers["set-cookie"]
    assert len(token) >= 43
    assert cookie.startswith(f"cart_token={token};")
    for attribute in ("HttpOnly", "SameSite=lax", "Secure", "Path=/", "Max-Age=2592000"):
        assert attribute in cookie
    rows = await shop.harness.fetch("SELECT token_hash, carts::text AS whole FROM carts")
    assert [row["token_hash"] for row in rows] == [hashlib.sha256(token.encode()).hexdigest()]
    assert token not in rows[0]["whole"]
    assert "x-cart-token" not in (await guest.add(shop.catalog.offer())).headers


async def test_two_newcomers_get_two_carts(shop: "Shop") -> None:
    lamp, bowl = shop.catalog.offer(), shop.catalog.offer()
    one, other = shop.guest(), shop.guest()
    await one.add(lamp)
    await other.add(bowl)
    assert one.token != other.token
    assert await one.quantities() == {lamp: 1}
    assert await other.quantities() == {bowl: 1}


@pytest.mark.parametrize("token", ["nonsense", "x" * 5000, "é", "' OR 1=1 --", ""])
async def test_unknown_token_is_a_newcomer_and_never_becomes_a_cart(shop: "Shop", token: str) -> None:
    stranger = shop.guest()
    stranger.headers = {"x-cart-token": token.encode("latin-1")}  # type: ignore[dict-item]  # bytes as they may come
    assert (await stranger.cart())["id"] is None
    response = await stranger.add(shop.catalog.offer())
    assert response.status_code == 201
    assert response.headers["x-cart-token"] != token


async def test_cookie_works_like_the_header(shop: "Shop") -> None:
    guest, lamp = shop.guest(), shop.catalog.offer()
    await guest.add(lamp)
    browser = _browser_of(shop, guest)
    assert await browser.quantities() == {lamp: 1}
    added = await browser.add(lamp, headers={"sec-fetch-site": "same-origin"})
    assert added.json()["items"][0]["quantity"] == 2
    assert added.headers["set-cookie"].startswith(f"cart_token={guest.token};")


async def test_header_wins_over_the_cookie(shop: "Shop") -> None:
    one, other = shop.guest(), shop.guest()
    lamp, bowl = shop.catalog.offer(), shop.catalog.offer()
    await one.add(lamp)
    await other.add(bowl)
    one.headers = {"cookie": f"cart_token={other.token}"}
    assert await one.quantities() == {lamp: 1}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://store.example.evil.example"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"origin": "https://store.example"}, 201),
        ({"origin": "https://shop.example"}, 201),
        ({"sec-fetch-site": "same-origin"}, 201),
    ],
)
async def test_write_by_cookie_alone_needs_a_page_of_ours(shop: "Shop", headers: dict[str, str], status: int) -> None:
    guest, lamp = shop.guest(), shop.catalog.offer()
    item = (await guest.add(lamp)).json()["items"][0]["id"]
    browser = _browser_of(shop, guest)
    response = await browser.add(lamp, headers=headers)
    assert response.status_code == status
    if status == 403:
        assert response.json()["code"] == "origin_refused"
        for method, path in (("DELETE", "/cart"), ("DELETE", f"/cart/items/{item}")):
            assert (await browser.send(method, path, headers=headers)).status_code == 403
        assert await browser.quantities() == {lamp: 1}


async def test_repeated_key_of_a_guest_adds_once(shop: "Shop") -> None:
    guest, lamp = shop.guest(), shop.catalog.offer(available=99)
    await guest.add(lamp)
    key = {"idempotency-key": "one-more"}
    answers = await asyncio.gather(*(guest.add(lamp, headers=key) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum(answer.headers.get("idempotency-replayed") == "true" for answer in answers) == 4
    assert await guest.quantities() == {lamp: 2}
    reused = await guest.add(lamp, 2, headers=key)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_same_key_of_two_guests_are_two_keys(shop: "Shop") -> None:
    lamp = shop.catalog.offer()
    one, other = shop.guest(), shop.guest()
    for guest in (one, other):
        await guest.add(lamp)
        assert "idempotency-replayed" not in (await guest.add(lamp, headers={"idempotency-key": "k"})).headers
    assert await other.quantities() == {lamp: 2}


async def test_refusal_for_stock_is_not_kept_for_the_key(shop: "Shop") -> None:
    user, lamp = shop.user(), shop.catalog.offer(available=1)
    key = {"idempotency-key": "again"}
    assert (await user.add(lamp, 2, headers=key)).status_code == 409
    await shop.stock(lamp, 5)
    assert (await user.add(lamp, 2, headers=key)).status_code == 201
    assert (await user.add(lamp, 2, headers=key)).headers["idempotency-replayed"] == "true"
    assert await user.quantities() == {lamp: 2}


async def test_token_of_a_newcomer_is_kept_nowhere_even_with_a_key(shop: "Shop") -> None:
    guest = shop.guest()
    guest.token = "dead"
    response = await guest.add(shop.catalog.offer(), headers={"idempotency-key": "k"})
    assert response.headers["x-cart-token"] != "dead"
    assert await shop.harness.fetch("SELECT 1 FROM idempotency_keys") == []


async def test_forged_access_token_is_no_guest(shop: "Shop") -> None:
    guest = shop.guest()
    guest.headers = {"authorization": "Bearer forged"}
    assert (await guest.send("GET", "/cart")).status_code == 401


async def test_abandoned_guest_carts_are_deleted_and_users_carts_never(shop: "Shop") -> None:
    lamp = shop.catalog.offer()
    gone, recent, user = shop.guest(), shop.guest(), shop.user()
    for shopper in (gone, recent, user):
        await shopper.add(lamp)
    for days, shopper in ((31, gone), (29, recent), (400, user)):
        await shop.harness.execute(
            "UPDATE carts SET updated_at = now() - make_interval(days => $1) WHERE id = $2",
            days,
            (await shopper.cart())["id"],
        )
    outcome = await shop.harness.run_job("abandoned-carts")
    assert outcome.repaired == 1
    assert await gone.quantities() == {}
    assert await recent.quantities() == await user.quantities() == {lamp: 1}
    added = await gone.add(lamp)
    assert "x-cart-token" in added.headers


def _browser_of(shop: "Shop", guest: "Shopper") -> "Shopper":
    browser = shop.guest()
    browser.headers = {"cookie": f"cart_token={guest.token}"}
    return browser
