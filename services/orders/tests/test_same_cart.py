"""One cart becomes one order, whatever happens at the same time, twice, or in between."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chassis.ids import derive_id

if TYPE_CHECKING:
    from tests.conftest import Shop, Shopper


async def count_orders(shop: "Shop") -> int:
    (row,) = await shop.harness.fetch("SELECT count(*) FROM orders")
    number: int = row[0]
    return number


async def test_same_key_again_answers_the_order_as_it_is_now(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    first = await asha.order(key="k")
    await shop.capture(first.json())
    again = await asha.order(key='"k"')
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.json()["id"] == first.json()["id"] == str(derive_id(asha.user_id, "k"))
    assert again.json()["status"] == "paid"
    assert await count_orders(shop) == 1


async def test_key_of_a_closed_order_still_answers_that_order(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer()
    asha.want(lamp)
    order = (await asha.order(key="k")).json()
    await asha.send("POST", f"/orders/{order['id']}/cancel")
    await shop.tell("payment.intent_closed.v1", order)
    again = await asha.order(key="k")
    assert (again.status_code, again.json()["status"], again.json()["id"]) == (201, "cancelled", order["id"])
    assert (await asha.order(key="k2")).json()["id"] != order["id"]


async def test_key_with_another_wish_is_refused(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    await asha.order(key="k", note="blue")
    response = await asha.order(key="k", note="red")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert (await asha.order(key="k", note="blue", billing_address=None)).status_code == 201


async def test_key_belongs_to_its_caller(shop: "Shop") -> None:
    asha, ravi = shop.shopper(), shop.shopper()
    lamp = shop.catalog.offer()
    asha.want(lamp)
    ravi.want(lamp)
    assert (await asha.order(key="k")).json()["id"] != (await ravi.order(key="k")).json()["id"]


async def test_order_needs_a_key(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    body = {"shipping_address_id": str(asha.user_id)}
    response = await asha.send("POST", "/orders", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_required")


async def test_twenty_at_once_with_one_key_are_one_order_and_one_answer(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer(on_hand=1)
    asha.want(lamp)
    responses = await asyncio.gather(*(asha.order(key="k") for _ in range(20)))
    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert sum("idempotency-replayed" not in response.headers for response in responses) == 1
    assert await count_orders(shop) == 1
    assert await shop.told() == ["order.placed.v1"]
    assert shop.catalog.available(lamp) == 0


async def test_twenty_at_once_with_their_own_keys_are_one_order(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer(on_hand=100)
    asha.want(lamp, 2)
    responses = await asyncio.gather(*(asha.order(key=f"k{number}") for number in range(20)))
    assert Counter(response.status_code for response in responses) == {201: 1, 409: 19}
    (order,) = (response.json() for response in responses if response.status_code == 201)
    refusals = [response.json() for response in responses if response.status_code == 409]
    assert {(refusal["code"], refusal["order_id"]) for refusal in refusals} == {("cart_already_ordered", order["id"])}
    assert await count_orders(shop) == 1
    assert shop.catalog.holds() == [order["id"]]
    assert shop.catalog.available(lamp) == 98


async def test_twenty_shoppers_for_five_pieces(shop: "Shop") -> None:
    lamp = shop.catalog.offer(on_hand=5)
    shoppers = [shop.shopper() for _ in range(20)]
    for shopper in shoppers:
        shopper.want(lamp)
    responses = await asyncio.gather(*(shopper.order() for shopper in shoppers))
    assert Counter(response.status_code for response in responses) == {201: 5, 409: 15}
    assert len(shop.catalog.holds()) == 5


async def test_crash_between_hold_and_order_leaves_a_hold_that_the_same_key_takes_over(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer(on_hand=1)
    asha.want(lamp)
    # A request that dies right after catalog has held everything: its answer is lost on the way, twice.
    held, release = asyncio.Event(), asyncio.Event()

    async def stop_here() -> None:
        held.set()
        await release.wait()

    shop.catalog.calls_to.once(after=stop_here)
    request = asyncio.create_task(asha.order(key="k"))
    await held.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    assert shop.catalog.available(lamp) == 0
    assert await count_orders(shop) == 0
    absent = await shop.harness.client.get(
        f"/internal/orders/{derive_id(asha.user_id, 'k')}", headers=shop.harness.as_service("catalog")
    )
    assert (absent.status_code, absent.json()["code"]) == (404, "order_not_found")
    assert (await asha.order(key="k")).status_code == 201


async def test_cart_that_changes_between_two_tries_is_ordered_as_it_is_then(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp, bowl = shop.catalog.offer(), shop.catalog.offer(on_hand=0)
    asha.want(lamp)
    asha.want(bowl)
    assert (await asha.order(key="k")).json()["code"] == "insufficient_stock"
    asha.want(bowl, 2)
    shop.catalog.variants[bowl].on_hand = 2
    order = (await asha.order(key="k")).json()
    assert {item["variant_id"]: item["quantity"] for item in order["items"]} == {lamp: 1, bowl: 2}
    assert shop.catalog.reservations[order["id"]].lines == {lamp: 1, bowl: 2}


async def test_loser_frees_only_its_own_hold(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer(on_hand=10)
    asha.want(lamp)
    winners: list[Any] = []

    async def somebody_is_faster() -> None:
        winners.append(await asha.order(key="winner"))

    shop.catalog.calls_to.once(after=somebody_is_faster)
    loser = await asha.order(key="loser")
    order = winners[0].json()
    assert winners[0].status_code == 201
    assert (loser.status_code, loser.json()["code"], loser.json()["order_id"]) == (
        409,
        "cart_already_ordered",
        order["id"],
    )
    assert shop.catalog.holds() == [order["id"]]
    assert [path.split("/")[3] for path in shop.catalog.released()] == [str(derive_id(asha.user_id, "loser"))]


async def test_refused_request_answers_the_order_that_its_key_has_made_meanwhile(shop: "Shop") -> None:
    """While one request looks at a changed price, another of the same key has ordered at the old one."""
    asha = shop.shopper()
    lamp = shop.catalog.offer(price=50_000, on_hand=1)
    asha.want(lamp)
    expected = {"amount": 50_000, "currency": "INR"}
    others: list[Any] = []

    async def order_then_raise_the_price() -> None:
        others.append(await asha.order(key="k", expected_total=expected))
        shop.catalog.variants[lamp].price = 60_000

    shop.catalog.calls_to.once(before=order_then_raise_the_price)
    response = await asha.order(key="k", expected_total=expected)
    assert (response.status_code, response.content) == (201, others[0].content)
    assert response.headers["idempotency-replayed"] == "true"
    assert shop.catalog.released() == []
    assert shop.catalog.available(lamp) == 0


async def test_empty_cart_answers_the_order_that_its_key_has_made_meanwhile(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    others: list[Any] = []

    async def order_and_take() -> None:
        others.append(await asha.order(key="k"))
        (placed,) = await shop.harness.events()
        shop.cart.tell(shop.cart.of(asha.user_id), {**placed.data, "is_closed": False, "was_paid": False})

    shop.cart.calls_to.once(before=order_and_take)
    response = await asha.order(key="k")
    assert (response.status_code, response.content) == (201, others[0].content)


async def test_hold_that_catalog_has_decided_answers_the_order(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer())
    others: list[Any] = []

    async def order_and_confirm() -> None:
        others.append(await asha.order(key="k"))
        shop.catalog.reservations[others[0].json()["id"]].decided = True

    shop.catalog.calls_to.once(before=order_and_confirm)
    response = await asha.order(key="k")
    assert (response.status_code, response.content) == (201, others[0].content)


async def test_loser_of_a_price_check_does_not_free_what_another_of_its_key_has_taken_over(shop: "Shop") -> None:
    """Two requests of one key: the first sees a changed price, the second holds anew before the first releases."""
    asha = shop.shopper()
    lamp = shop.catalog.offer(price=60_000, on_hand=1)
    asha.want(lamp)
    expected = {"amount": 60_001, "currency": "INR"}
    order_id = str(derive_id(asha.user_id, "k"))

    async def hold_again() -> None:
        shop.catalog.reservations[order_id].hold += 1

    shop.catalog.calls_to.once(after=hold_again)
    response = await asha.order(key="k", expected_total=expected)
    assert response.json()["code"] == "price_changed"
    assert shop.catalog.released() == [f"/internal/reservations/{order_id}"]
    assert shop.catalog.available(lamp) == 0


async def test_release_that_fails_changes_nothing_for_the_shopper(shop: "Shop") -> None:
    asha = shop.shopper()
    asha.want(shop.catalog.offer(price=60_000))

    async def go_down() -> None:
        shop.catalog.is_down = True

    shop.catalog.calls_to.once(after=go_down)
    response = await asha.order(expected_total={"amount": 1, "currency": "INR"})
    assert (response.status_code, response.json()["code"]) == (409, "price_changed")


async def test_second_order_holds_only_what_was_added_while_the_bus_stands_still(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp, bowl = shop.catalog.offer(), shop.catalog.offer()
    asha.want(lamp, 2)
    first = (await asha.order()).json()
    asha.want(bowl, 1)
    second = (await asha.order()).json()
    assert [item["variant_id"] for item in second["items"]] == [bowl]
    assert shop.cart.calls[-1][2]["orders"] == [
        {
            "order_id": first["id"],
            "items": [{"variant_id": lamp, "quantity": 2}],
            "is_closed": False,
            "was_paid": False,
        }
    ]


async def test_ordering_again_with_nothing_new_names_the_order_that_took_the_cart(shop: "Shop") -> None:
    asha = shop.shopper()
    order = await asha.placed()
    calls = len(shop.catalog.calls)
    response = await asha.order()
    assert (response.status_code, response.json()["code"]) == (409, "cart_already_ordered")
    assert response.json()["order_id"] == order["id"]
    assert len(shop.catalog.calls) == calls


async def test_order_of_the_very_version_is_found_before_anything_is_held(shop: "Shop") -> None:
    """Cart takes nothing because it had lost the items, yet its version is one that was ordered."""
    asha = shop.shopper()
    order = await asha.placed()
    cart = shop.cart.of(asha.user_id)
    cart.orders[order["id"]] = "taken"
    calls = len(shop.catalog.calls)
    response = await asha.order()
    assert (response.status_code, response.json()["order_id"]) == (409, order["id"])
    assert len(shop.catalog.calls) == calls


async def test_database_alone_keeps_a_cart_version_to_one_open_order(shop: "Shop") -> None:
    """An order of this version that step 2 could not see: the unique index refuses, and the answer names it."""
    asha = shop.shopper()
    lamp = shop.catalog.offer()
    asha.want(lamp)
    cart = shop.cart.of(asha.user_id)
    other = await shop.shopper().placed()

    async def appear() -> None:
        await shop.harness.execute(
            "UPDATE orders SET cart_id = $1, cart_version = $2 WHERE id = $3",
            UUID(cart.id), cart.version, UUID(other["id"]),
        )  # fmt: skip

    shop.catalog.calls_to.once(after=appear)
    response = await asha.order(key="k")
    assert (response.status_code, response.json()["code"]) == (409, "cart_already_ordered")
    assert response.json()["order_id"] == other["id"]
    assert str(derive_id(asha.user_id, "k")) not in shop.catalog.holds()


async def test_expired_orders_cart_can_be_ordered_again(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer()
    asha.want(lamp)
    first = (await asha.order()).json()
    assert (await asha.order()).json()["code"] == "cart_already_ordered"
    await shop.pass_deadline(first)
    await shop.tell("payment.intent_closed.v1", first)
    second = (await asha.order()).json()
    assert [item["variant_id"] for item in second["items"]] == [lamp]


async def test_cart_is_told_of_an_order_until_it_has_heard_all_of_it(shop: "Shop") -> None:
    asha = shop.shopper()

    def told() -> list[str]:
        return [order["order_id"] for order in shop.cart.calls[-1][2]["orders"]]

    unpaid, paid, closed = [await asha.placed() for _ in range(3)]
    await shop.capture(paid)
    await asha.send("POST", f"/orders/{closed['id']}/cancel")
    await shop.tell("payment.intent_closed.v1", closed)
    again = (await asha.order()).json()
    assert told() == [unpaid["id"], paid["id"], closed["id"]]
    await asha.order()
    assert told() == [unpaid["id"], again["id"]]


async def test_many_orders_are_told_in_several_calls(shop: "Shop") -> None:
    asha = shop.shopper()
    orders = [await asha.placed() for _ in range(12)]
    shop.cart.calls.clear()
    asha.want(shop.catalog.offer())
    assert (await asha.order()).status_code == 201
    named = [[order["order_id"] for order in body["orders"]] for _, _, body in shop.cart.calls]
    assert named == [[order["id"] for order in orders[:10]], [order["id"] for order in orders[10:]]]


async def test_shortage_caused_by_an_order_of_the_same_cart_names_that_order(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp = shop.catalog.offer(on_hand=1)
    asha.want(lamp)
    others: list[Any] = []

    async def take_the_last_one() -> None:
        others.append(await asha.order(key="other"))

    shop.catalog.calls_to.once(before=take_the_last_one)
    response = await asha.order(key="k")
    assert (response.status_code, response.json()["code"]) == (409, "cart_already_ordered")
    assert response.json()["order_id"] == others[0].json()["id"]


async def test_item_added_behind_a_faster_order_is_ordered_in_the_second_round(shop: "Shop") -> None:
    asha = shop.shopper()
    lamp, bowl = shop.catalog.offer(), shop.catalog.offer()
    asha.want(lamp)

    async def faster_order_then_a_new_item() -> None:
        await asha.order(key="other")
        asha.want(bowl, 3)

    shop.catalog.calls_to.once(after=faster_order_then_a_new_item)
    response = await asha.order(key="k")
    assert response.status_code == 201
    assert [(item["variant_id"], item["quantity"]) for item in response.json()["items"]] == [(bowl, 3)]
    assert await number_of_open_orders(asha) == 2


async def number_of_open_orders(shopper: "Shopper") -> int:
    return len((await shopper.send("GET", "/orders?status=awaiting_payment")).json()["items"])
