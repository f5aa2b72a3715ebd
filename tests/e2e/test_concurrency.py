"""Many at once. What is promised to one shopper must hold when fifty ask in the same moment; the databases tell."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg

from tests.books import Books, opened_books, quiet
from tests.invariants import violations
from tests.shop import Shop
from tests.shopper import Shopper

BUYERS, UNITS = 50, 10


@asynccontextmanager
async def quiet_books(shop: Shop) -> AsyncIterator[Books]:
    """The five databases once nothing is under way any more."""
    assert shop.process is not None
    urls = shop.process.database_urls()
    await quiet(urls, waiting=shop.process.messages_waiting, ledger=shop.ledger)
    async with opened_books(urls, ledger=shop.ledger) as books:
        yield books


@asynccontextmanager
async def bus_standing_still(shop: Shop) -> AsyncIterator[None]:
    """The bus keeps its queues in a table of its own; while somebody else has locked it, no event gets anywhere."""
    assert shop.process is not None
    connection = await asyncpg.connect(shop.process.database_url("bus"))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def broken_while(shop: Shop, work: asyncio.Future[Any]) -> list[str]:
    """What holds in every committed state is looked at again and again while the work goes on."""
    assert shop.process is not None
    broken: list[str] = []
    looks = 0
    while not work.done() or looks == 0:
        async with opened_books(shop.process.database_urls(), ledger=shop.ledger) as books:
            broken += await violations(books, is_quiet=False)
        looks += 1
    return broken


async def customers(shop: Shop, count: int) -> list[Shopper]:
    """So many people who have just registered, a few at a time, as passwords are slow on purpose."""
    turnstile = asyncio.Semaphore(8)

    async def one() -> Shopper:
        async with turnstile:
            return await shop.customer()

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def test_fifty_buyers_for_ten_pieces(own_shop: Shop) -> None:
    variant = await own_shop.new_variant(stock=UNITS)
    buyers = await customers(own_shop, BUYERS)
    await asyncio.gather(*(buyer.add_to_cart(variant) for buyer in buyers))

    orders = asyncio.gather(*(buyer.try_to_order() for buyer in buyers))
    assert await broken_while(own_shop, orders) == []
    answers = await orders

    assert Counter(answer.status_code for answer in answers) == {201: UNITS, 409: BUYERS - UNITS}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"insufficient_stock"}
    promised = {
        answer.json()["id"]: buyer.user_id
        for buyer, answer in zip(buyers, answers, strict=True)
        if answer.status_code == 201
    }
    async with quiet_books(own_shop) as books:
        held = await books.rows(
            "catalog",
            """
            SELECT order_id, quantity FROM reservation_items JOIN reservations USING (order_id)
            WHERE variant_id = $1 AND status = 'held' AND confirmed_at IS NOT NULL
            """,
            variant,
        )
        assert {str(row["order_id"]): row["quantity"] for row in held} == dict.fromkeys(promised, 1)
        assert await books.value("catalog", "SELECT reserved FROM stock_levels WHERE variant_id = $1", variant) == UNITS
        assert await violations(books, promised=promised) == []


async def test_one_key_twenty_times_is_one_order(own_shop: Shop) -> None:
    """An impatient finger, or a phone that repeats what it got no answer for."""
    variant = await own_shop.new_variant(stock=30)
    shopper = await own_shop.customer()
    await shopper.add_to_cart(variant, 2)
    key = uuid4().hex

    answers = await asyncio.gather(*(shopper.try_to_order(key=key) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1, "the same body twenty times"
    replays = Counter(answer.headers.get("idempotency-replayed") for answer in answers)
    assert replays["true"] >= 19, "all but the first are told that they were repeated"
    async with quiet_books(own_shop) as books:
        orders = await books.rows("orders", "SELECT id FROM orders WHERE user_id = $1", shopper.user_id)
        assert [str(row["id"]) for row in orders] == [answers[0].json()["id"]]
        assert await books.value("catalog", "SELECT reserved FROM stock_levels WHERE variant_id = $1", variant) == 2
        assert await violations(books) == []


async def test_one_cart_under_twenty_keys_is_one_order(own_shop: Shop) -> None:
    """Twenty tabs with the same cart."""
    variant = await own_shop.new_variant(stock=60)
    shopper = await own_shop.customer()
    await shopper.add_to_cart(variant, 2)

    answers = await asyncio.gather(*(shopper.try_to_order() for _ in range(20)))

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
    (order,) = (answer.json() for answer in answers if answer.status_code == 201)
    refusals = [answer.json() for answer in answers if answer.status_code == 409]
    assert {refusal["code"] for refusal in refusals} == {"cart_already_ordered"}
    assert {refusal["order_id"] for refusal in refusals} == {order["id"]}
    async with quiet_books(own_shop) as books:
        assert await books.value("orders", "SELECT count(*) FROM orders WHERE user_id = $1", shopper.user_id) == 1
        assert await books.value("catalog", "SELECT reserved FROM stock_levels WHERE variant_id = $1", variant) == 2
        assert await violations(books) == []


async def test_a_merge_races_with_additions_and_loses_nothing(own_shop: Shop) -> None:
    """Sign-in, its event, an explicit merge and ten additions meet; each counts once."""
    first, second = await own_shop.new_variant(stock=90), await own_shop.new_variant(stock=90)
    regular = await own_shop.customer()
    await regular.add_to_cart(first, 1)
    guest = own_shop.visitor()
    await guest.add_to_cart(first, 5)
    await guest.add_to_cart(second, 7)
    regular.cart_token = guest.cart_token

    answers = await asyncio.gather(
        *(regular.send("POST", "/api/v1/cart/items", json={"variant_id": first, "quantity": 1}) for _ in range(10)),
        *(regular.send("POST", "/api/v1/cart/merge", json={}) for _ in range(3)),
        *(regular.send("GET", "/api/v1/cart") for _ in range(3)),
    )

    assert {answer.status_code for answer in answers} <= {200, 201}
    cart = await regular.cart()
    assert {item["variant_id"]: item["quantity"] for item in cart["items"]} == {first: 1 + 5 + 10, second: 7}
    assert (await guest.cart())["items"] == [], "the guest's token is dead"


async def test_a_guests_additions_race_with_the_merge(own_shop: Shop) -> None:
    """What a guest's tab adds while the other signs in lands in one of the two carts, never in both or none."""
    variant = await own_shop.new_variant(stock=99)
    regular, guest = await own_shop.customer(), own_shop.visitor()
    await guest.add_to_cart(variant)
    regular.cart_token = guest.cart_token
    tabs = [Shopper(guest.gateway, guest.simulator, guest.http, cart_token=guest.cart_token) for _ in range(12)]

    await asyncio.gather(*(tab.add_to_cart(variant) for tab in tabs), regular.cart())

    late = {tab.cart_token: tab for tab in tabs if tab.cart_token != guest.cart_token}
    merged = sum(item["quantity"] for item in (await regular.cart())["items"])
    left = [sum(item["quantity"] for item in (await tab.cart())["items"]) for tab in late.values()]
    assert merged + sum(left) == 1 + len(tabs)


async def test_ordering_again_while_the_bus_stands_still(own_shop: Shop) -> None:
    """Nothing is bought twice while the news of the first order is under way."""
    first, second = await own_shop.new_variant(), await own_shop.new_variant()
    shopper = await own_shop.customer()
    await shopper.add_to_cart(first, 2)

    async with bus_standing_still(own_shop):
        order = await shopper.place_order()
        await shopper.add_to_cart(second, 3)
        another = await shopper.place_order()
        refused = await shopper.try_to_order()

    assert [(item["variant_id"], item["quantity"]) for item in order["items"]] == [(first, 2)]
    assert [(item["variant_id"], item["quantity"]) for item in another["items"]] == [(second, 3)]
    assert (refused.status_code, refused.json()["code"]) == (409, "cart_already_ordered")
    async with quiet_books(own_shop) as books:
        assert await violations(books, promised={order["id"]: shopper.user_id, another["id"]: shopper.user_id}) == []
    assert (await shopper.cart())["items"] == []


async def test_paying_and_cancelling_at_the_same_moment(own_shop: Shop) -> None:
    """Whichever wins, money and goods are on the same side in the end."""
    variant = await own_shop.new_variant(stock=20)
    shoppers = await customers(own_shop, 6)
    orders = []
    for shopper in shoppers:
        await shopper.add_to_cart(variant)
        order = await shopper.place_order()
        orders.append((shopper, order, await shopper.start_payment(order)))

    race = asyncio.gather(
        *(shopper.pay(payment) for shopper, _, payment in orders),
        *(shopper.send("POST", f"/api/v1/orders/{order['id']}/cancel", json={}) for shopper, order, _ in orders),
    )
    assert await broken_while(own_shop, race) == []
    await race

    async with quiet_books(own_shop) as books:
        assert await violations(books) == []
    for shopper, order, _ in orders:
        assert (await shopper.order(order["id"]))["status"] == "cancelled"
    await own_shop.sees_stock(variant, on_hand=20, reserved=0)
