"""The tree of categories keeps its shape, whoever pulls at it."""

import asyncio
from typing import TYPE_CHECKING, Any

from catalog.answers import CategoryDetail, CategoryRows, CategoryTree
from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop


async def chain(shop: "Shop", *names: str) -> list[dict[str, Any]]:
    """Categories below one another."""
    made: list[dict[str, Any]] = []
    for name in names:
        parent = made[-1]["id"] if made else None
        made.append(await shop.category(name, parent_id=parent))
    return made


async def test_the_tree_the_list_and_the_page(shop: "Shop") -> None:
    fashion, _, kurtas = await chain(shop, "Fashion", "Women", "Kurtas")
    await shop.category("Books", position=1)
    await shop.product("Kurta", category=kurtas["id"])
    await shop.product("Hidden", category=kurtas["id"], is_active=False)

    tree = (await shop.get("/categories")).json()
    assert CategoryTree.model_validate(tree).model_dump(mode="json") == tree
    assert [node["name"] for node in tree["items"]] == ["Fashion", "Books"]
    assert tree["items"][0]["children"][0]["children"][0]["slug"] == "kurtas"

    rows = (await shop.get("/categories/all")).json()
    assert CategoryRows.model_validate(rows).model_dump(mode="json") == rows
    assert [(row["path"], row["product_count"]) for row in rows["items"]] == [
        (["Books"], 0), (["Fashion"], 1), (["Fashion", "Women"], 1), (["Fashion", "Women", "Kurtas"], 1),
    ]  # fmt: skip

    page = (await shop.get("/categories/kurtas")).json()
    assert CategoryDetail.model_validate(page).model_dump(mode="json") == page
    assert [crumb["name"] for crumb in page["breadcrumbs"]] == ["Fashion", "Women", "Kurtas"]
    assert [child["name"] for child in (await shop.get(f"/categories/{fashion['id']}")).json()["children"]] == ["Women"]


async def test_an_inactive_category_hides_its_subtree_from_shoppers(shop: "Shop") -> None:
    fashion, women, _ = await chain(shop, "Fashion", "Women", "Kurtas")
    await shop.write("PATCH", f"/categories/{women['id']}", {"is_active": False})
    assert (await shop.get("/categories")).json()["items"][0]["children"] == []
    assert [row["slug"] for row in (await shop.get("/categories/all")).json()["items"]] == [fashion["slug"]]
    assert (await shop.get("/categories/kurtas")).status_code == 404
    assert (await shop.get("/categories/kurtas", staff=True)).status_code == 200


async def test_moving_takes_the_subtree_along(shop: "Shop") -> None:
    _, women, kurtas = await chain(shop, "Fashion", "Women", "Kurtas")
    await shop.product("Kurta", category=kurtas["id"])
    other = await shop.category("Clearance")

    moved = await shop.write("PATCH", f"/categories/{women['id']}", {"parent_id": other["id"]})

    assert [crumb["name"] for crumb in moved.json()["breadcrumbs"]] == ["Clearance", "Women"]
    assert len((await shop.get("/products", category="clearance")).json()["items"]) == 1
    assert (await shop.get("/products", category="fashion")).json()["items"] == []
    await shop.write("PATCH", f"/categories/{women['id']}", {"parent_id": None})
    assert len((await shop.get("/categories/kurtas")).json()["breadcrumbs"]) == 2


async def test_no_category_is_its_own_ancestor(shop: "Shop") -> None:
    top, _, bottom = await chain(shop, "A", "B", "C")
    for parent in (top["id"], bottom["id"]):
        answer = await shop.write("PATCH", f"/categories/{top['id']}", {"parent_id": parent})
        assert (answer.status_code, answer.json()["code"]) == (409, "category_cycle")


async def test_two_moves_at_the_same_time_make_no_cycle(shop: "Shop") -> None:
    first, second = await shop.category("First"), await shop.category("Second")
    for _ in range(5):
        answers = await asyncio.gather(
            shop.write("PATCH", f"/categories/{first['id']}", {"parent_id": second["id"]}),
            shop.write("PATCH", f"/categories/{second['id']}", {"parent_id": first["id"]}),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        for category in (first, second):
            await shop.write("PATCH", f"/categories/{category['id']}", {"parent_id": None})


async def test_the_tree_has_a_bottom(shop: "Shop") -> None:
    made = await chain(shop, *(f"Level {level}" for level in range(10)))
    answer = await shop.write("POST", "/categories", {"name": "Too deep", "parent_id": made[-1]["id"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "category_too_deep")
    lone = (await chain(shop, "Lone", "Child"))[0]
    answer = await shop.write("PATCH", f"/categories/{lone['id']}", {"parent_id": made[8]["id"]})
    assert answer.json()["code"] == "category_too_deep", "its child would be at level eleven"


async def test_only_empty_categories_are_deleted(shop: "Shop") -> None:
    fashion, kurtas = await chain(shop, "Fashion", "Kurtas")
    product = await shop.product(category=kurtas["id"])
    for category in (fashion, kurtas):
        answer = await shop.write("DELETE", f"/categories/{category['id']}")
        assert (answer.status_code, answer.json()["code"]) == (409, "category_not_empty")
    await shop.write("DELETE", f"/products/{product['id']}")
    assert (await shop.write("DELETE", f"/categories/{kurtas['id']}")).status_code == 204
    assert (await shop.write("DELETE", f"/categories/{fashion['id']}")).status_code == 204
    assert (await shop.get("/categories")).json()["items"] == []


async def test_a_product_and_the_deletion_of_its_category_do_not_cross(shop: "Shop") -> None:
    for number in range(5):
        category = await shop.category(f"Category {number}")
        body = {"name": f"Kurta {number}", "category_id": category["id"], "variants": [shop.variant()]}
        made, deleted = await asyncio.gather(
            shop.write("POST", "/products", body), shop.write("DELETE", f"/categories/{category['id']}")
        )
        assert (made.status_code, deleted.status_code) in ((201, 409), (422, 204))


async def test_a_category_change_needs_its_version(shop: "Shop") -> None:
    category = await shop.category()
    path = f"/categories/{category['id']}"
    tag = (await shop.get(path)).headers["etag"]
    assert (await shop.write("PATCH", path, {"name": "New"}, headers={"if-match": tag})).status_code == 200
    for method in ("PATCH", "DELETE"):
        stale = await shop.write(
            method, path, {"name": "Old"} if method == "PATCH" else None, headers={"if-match": tag}
        )
        assert stale.status_code == 412


async def test_what_is_no_category_is_refused(shop: "Shop") -> None:
    category = await shop.category()
    path = f"/categories/{category['id']}"
    for answer, status in (
        (await shop.write("POST", "/categories", {"name": "x", "slug": "all"}), 422),
        (await shop.write("POST", "/categories", {"name": "x", "slug": category["slug"]}), 409),
        (await shop.write("POST", "/categories", {"name": "x", "parent_id": str(new_id())}), 422),
        (await shop.write("PATCH", path, {"name": None}), 422),
        (await shop.write("PATCH", f"/categories/{new_id()}", {"name": "x"}), 404),
        (await shop.write("DELETE", f"/categories/{new_id()}"), 404),
    ):
        assert answer.status_code == status, answer.text
