"""Answers that the gateway keeps: given at once, and ended by what happens in the shop."""

from tests.patience import eventually
from tests.shop import Shop

SOON = 5.0
"""Seconds; an answer that nothing ended would live for thirty."""


async def test_a_visitor_sees_a_sale_long_before_the_answer_is_old(shop: Shop) -> None:
    product = await shop.new_product(stock=3)
    visitor = shop.visitor()
    path = f"/api/v1/products/{product['id']}"

    async def is_kept() -> bool:
        answer = await visitor.send("GET", path)
        return answer.headers["cache-status"].startswith("haat; hit") and available(answer.json()) == 3

    def available(document: dict[str, list[dict[str, int]]]) -> int:
        return document["variants"][0]["available"]

    await eventually(is_kept, what="A kept answer")
    customer = await shop.customer()
    await customer.add_to_cart(product["variants"][0]["id"])
    await customer.place_order()

    async def is_seen() -> bool:
        return available((await visitor.send("GET", path)).json()) == 2

    await eventually(is_seen, what="The sale on the product's page", within=SOON)


async def test_an_edit_is_seen_by_the_next_visitor_and_its_editor_at_once(shop: Shop) -> None:
    product = await shop.new_product()
    visitor, staff = shop.visitor(), await shop.staff()
    path = f"/api/v1/products/{product['id']}"
    await visitor.send("GET", path)

    changed = await staff.send("PATCH", path, json={"name": "Another name"})
    assert changed.status_code == 200
    assert (await staff.send("GET", path)).json()["name"] == "Another name"

    async def is_seen() -> bool:
        return bool((await visitor.send("GET", path)).json()["name"] == "Another name")

    await eventually(is_seen, what="The new name", within=SOON)
