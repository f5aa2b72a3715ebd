"""Staff see how the whole shop stands."""

from tests.patience import eventually
from tests.shop import Shop
from tests.shopper import Document


async def test_staff_see_every_part_of_the_shop(shop: Shop) -> None:
    member = await shop.staff()

    async def look() -> Document | None:
        answer = await member.send("GET", "/status")
        assert answer.status_code == 200, answer.text
        parts: Document = {part["name"]: part for part in answer.json()["parts"]}
        return parts if parts["orders"].get("queue") else None

    # The queues are looked at by the clock.
    parts = await eventually(look, what="A first look at the queue of orders", within=40)
    assert parts is not None
    assert set(parts) == {"gateway", "accounts", "catalog", "cart", "orders", "payments"}
    for name, part in parts.items():
        assert part["state"] == "answering", name
        assert part["version"] != "0"
        if name != "gateway":
            assert part["migrations"]["applied"] == part["migrations"]["newest"], name
            assert {"outbox-cleanup", "idempotency-cleanup"} <= {job["job"] for job in part["jobs"]}, name
    assert parts["orders"]["queue"]["parked"] == 0


async def test_the_page_for_staff_holds_the_same(shop: Shop) -> None:
    page = await (await shop.staff()).send("GET", "/status", headers={"accept": "text/html"})
    assert page.status_code == 200
    for name in ("gateway", "accounts", "catalog", "cart", "orders", "payments"):
        assert f"<th>{name}</th>" in page.text
