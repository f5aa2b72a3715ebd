"""Finding products: search, filters, orders, pages, facets."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from catalog.demo import seed_demo

if TYPE_CHECKING:
    from tests.conftest import Shop

ORDERINGS = ("price", "-price", "name", "-name", "created_at", "-created_at")


async def names(shop: "Shop", **params: Any) -> list[str]:
    """The names on the first page."""
    answer = await shop.get("/products", **params)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


async def fill(shop: "Shop", *products: tuple[str, int], **fields: Any) -> None:
    """Products of one category by name and price."""
    category = (await shop.category())["id"]
    for name, price in products:
        await shop.product(name, category=category, variants=[shop.variant(price=price)], **fields)


async def walk(shop: "Shop", *, limit: int, **params: Any) -> list[dict[str, Any]]:
    """All pages of a list, one after the other."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = (await shop.get("/products", limit=limit, **params, **({"cursor": cursor} if cursor else {}))).json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items
        assert len(page["items"]) == limit


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("kurta", ["Cotton Kurta"]),
        ("KURTAS", ["Cotton Kurta"]),
        ("cotton kurta", ["Cotton Kurta"]),
        ("kurta cotton", ["Cotton Kurta"]),
        ("cot", ["Cotton Kurta"]),
        ("cotton kur", ["Cotton Kurta"]),
        ("kutra", ["Cotton Kurta"]),
        ("coton", ["Cotton Kurta"]),
        ("headfones", ["Wireless Headphones"]),
        ("wirless headphone", ["Wireless Headphones"]),
        ("breathable", ["Cotton Kurta"]),
        ("TSH-001", ["Café Mug"]),
        ("tsh 001", ["Café Mug"]),
        ("cafe", ["Café Mug"]),
        ("हल्दी", ["हल्दी पाउडर"]),
        ("zebra crossing", []),
        ("cotton zebra", []),
        ("'; DROP TABLE products; --", []),
        ("!!! & | ( :* <->", []),
    ],
)
async def test_search_forgives(shop: "Shop", search: str, found: list[str]) -> None:
    category = (await shop.category())["id"]
    await shop.product("Cotton Kurta", category=category, description="Breathable and light.")
    await shop.product("Wireless Headphones", category=category)
    await shop.product("Café Mug", category=category, variants=[shop.variant(sku="TSH-001")])
    await shop.product("हल्दी पाउडर", category=category)
    assert await names(shop, search=search) == found


async def test_the_best_match_comes_first(shop: "Shop") -> None:
    category = (await shop.category())["id"]
    await shop.product("Steel Bottle", category=category, description="Goes well with a copper cup.")
    await shop.product("Copper Bottle", category=category)
    assert await names(shop, search="copper") == ["Copper Bottle", "Steel Bottle"]
    assert await names(shop, search="copper", ordering="name") == ["Copper Bottle", "Steel Bottle"]
    assert await names(shop, search="copper", ordering="-name") == ["Steel Bottle", "Copper Bottle"]


async def test_a_renamed_product_is_found_by_its_new_name(shop: "Shop") -> None:
    product = await shop.product("Kurta")
    await shop.write("PATCH", f"/products/{product['id']}", {"name": "Sherwani"})
    assert await names(shop, search="sherwani") == ["Sherwani"]
    assert await names(shop, search="kurta") == []
    await shop.write("POST", f"/products/{product['id']}/variants", shop.variant(sku="NEW-77", options={"size": "S"}))
    assert await names(shop, search="new-77") == ["Sherwani"]


async def test_filters_narrow(shop: "Shop") -> None:
    parent = await shop.category("Fashion")
    child = await shop.category("Kurtas", parent_id=parent["id"])
    await shop.product("Cheap", category=child["id"], variants=[shop.variant(price=100)])
    await shop.product("Dear", category=child["id"], variants=[shop.variant(price=900, stock=0)], is_featured=True)
    await shop.product("Mat", category=(await shop.category("Yoga"))["id"])

    assert await names(shop, category="fashion", ordering="price") == ["Cheap", "Dear"]
    assert await names(shop, category=child["id"], ordering="price") == ["Cheap", "Dear"]
    assert await names(shop, min_price=100, max_price=900, ordering="-price") == ["Dear", "Cheap"]
    assert await names(shop, in_stock="true", category="kurtas") == ["Cheap"]
    assert await names(shop, in_stock="false") == ["Dear"]
    assert await names(shop, featured="true") == ["Dear"]
    assert await names(shop, search="dear", category="fashion", max_price=899) == []
    assert (await shop.get("/products", category="nowhere")).json()["code"] == "category_not_found"
    featured = (await shop.get("/products/featured")).json()["items"]
    assert [item["name"] for item in featured] == ["Dear"]


async def test_only_staff_see_inactive_products(shop: "Shop") -> None:
    await fill(shop, ("Draft", 1), is_active=False)
    await shop.product("Live")
    assert await names(shop) == ["Live"]
    assert await names(shop, staff=True) == ["Live", "Draft"]
    assert await names(shop, staff=True, is_active="false") == ["Draft"]
    assert (await shop.get("/products", is_active="false")).json()["code"] == "role_required"


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("category", [None, "home-kitchen", "kurtas"])
async def test_pages_are_complete_and_in_order(shop: "Shop", ordering: str, category: str | None) -> None:
    await seed_demo(shop.harness.database)
    params = {"ordering": ordering} | ({"category": category} if category else {})

    items = await walk(shop, limit=7, **params)

    whole = (await shop.get("/products", count="true", **params)).json()
    assert len({item["id"] for item in items}) == len(items) == whole["total"]
    field = ordering.removeprefix("-")
    keys = [item["price"]["amount"] if field == "price" else item[field] for item in items]
    keys = [key.casefold() if field == "name" else key for key in keys]
    assert keys == sorted(keys, reverse=ordering.startswith("-"))


@pytest.mark.parametrize("ordering", ORDERINGS)
async def test_equal_keys_are_neither_lost_nor_repeated(shop: "Shop", ordering: str) -> None:
    await fill(shop, *(("Same", 100) for _ in range(7)))
    await shop.harness.execute("UPDATE products SET created_at = '2026-01-01'")
    items = await walk(shop, limit=2, ordering=ordering)
    assert len({item["id"] for item in items}) == 7


@pytest.mark.parametrize("ordering", ["price", "-price", "name", "-name", "-created_at"])
async def test_inserts_between_pages_disturb_nothing(shop: "Shop", ordering: str) -> None:
    await fill(shop, *((f"Thing {number}", number * 10) for number in range(1, 7)))
    expected = [item["id"] for item in await walk(shop, limit=6, ordering=ordering)]
    first = (await shop.get("/products", limit=3, ordering=ordering)).json()
    for price in (1, 1_000):
        await shop.product(f"Thing {price}", variants=[shop.variant(price=price)])

    rest = await shop.get("/products", limit=100, ordering=ordering, cursor=first["next_cursor"])

    seen = [item["id"] for item in first["items"] + rest.json()["items"]]
    assert [product for product in seen if product in expected] == expected
    assert len(set(seen)) == len(seen)


async def test_pages_by_relevance_are_complete(shop: "Shop") -> None:
    await seed_demo(shop.harness.database)
    items = await walk(shop, limit=5, search="cotton")
    assert len({item["id"] for item in items}) == len(items) > 10
    assert len(await walk(shop, limit=5, search="coton")) == len(items), "and so are those of a corrected search"


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "eyJhIjoxfQ", "%00", "WyJhIiwxXQ"])
async def test_a_cursor_that_is_none_is_refused(shop: "Shop", cursor: str) -> None:
    answer = await shop.get("/products", cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


async def test_a_cursor_belongs_to_its_order_and_filters(shop: "Shop") -> None:
    await fill(shop, ("A", 1), ("B", 2), ("C", 3))
    cursor = (await shop.get("/products", limit=1, ordering="price")).json()["next_cursor"]
    for params in ({"ordering": "name"}, {"ordering": "price", "in_stock": "true"}, {"ordering": "-price"}):
        assert (await shop.get("/products", cursor=cursor, **params)).json()["code"] == "cursor_invalid"


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"ordering": "size"}, "ordering"),
        ({"min_price": "-1"}, "min_price"),
        ({"max_price": "9" * 30}, "max_price"),
        ({"in_stock": "1"}, "in_stock"),
        ({"colour": "red"}, "colour"),
        ({"search": "x" * 201}, "search"),
        ({"search": "a\x00b"}, "search"),
        ({"category": "a\x00b"}, "category"),
    ],
)
async def test_wrong_parameters_are_named(shop: "Shop", params: dict[str, str], parameter: str) -> None:
    answer = await shop.get("/products", **params)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == parameter


async def test_a_parameter_is_given_once(shop: "Shop") -> None:
    answer = await shop.harness.client.get("/api/v1/products?limit=1&limit=2")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "limit")


async def test_the_document_lists_the_parameters(shop: "Shop") -> None:
    listed = shop.harness.service.fastapi.openapi()["paths"]["/api/v1/products"]["get"]["parameters"]
    assert {"search", "category", "ordering", "facets", "cursor", "limit"} <= {row["name"] for row in listed}
    (ordering,) = [row["schema"] for row in listed if row["name"] == "ordering"]
    assert "-price" in str(ordering)


async def test_facets_count_under_all_other_filters(shop: "Shop") -> None:
    parent = await shop.category("Fashion")
    kurtas = await shop.category("Kurtas", parent_id=parent["id"])
    yoga = await shop.category("Yoga")
    for name, category, price in (("A", kurtas, 40_000), ("B", kurtas, 60_000), ("C", yoga, 70_000)):
        await shop.product(name, category=category["id"], variants=[shop.variant(price=price)])

    facets = (await shop.get("/products", facets="true", category="kurtas", min_price=50_000)).json()["facets"]

    assert {row["slug"]: row["count"] for row in facets["categories"]} == {"fashion": 1, "kurtas": 1, "yoga": 1}
    assert facets["price_bands"] == [
        {"min_price": 0, "max_price": 49_999, "count": 1},
        {"min_price": 50_000, "max_price": 99_999, "count": 1},
    ]


async def test_a_count_ends_at_its_cap(shop: "Shop") -> None:
    await fill(shop, ("A", 1), ("B", 2))
    page = (await shop.get("/products", count="true", limit=1)).json()
    assert (page["total"], page["total_is_capped"]) == (2, False)
    await shop.harness.execute(
        """
        INSERT INTO products (id, slug, name, name_key, description, attributes, category_id, is_featured, is_active,
            price, in_stock, search_name, search_skus, version)
        SELECT gen_random_uuid(), 's-' || n, 'Thing', 'thing', '', '{}', (SELECT id FROM categories), false, true,
            n, true, 'thing', '', 1
        FROM generate_series(1, 10001) AS n
        """
    )
    page = (await shop.get("/products", count="true", limit=1)).json()
    assert (page["total"], page["total_is_capped"]) == (10_000, True)
    assert len(await walk(shop, limit=100, search="thing")) == 1_000, "the best matches end there"


async def test_the_demo_shop_is_believable(shop: "Shop") -> None:
    assert await seed_demo(shop.harness.database) is True
    assert await seed_demo(shop.harness.database) is False, "a second start keeps what is there"
    tree = (await shop.get("/categories")).json()["items"]
    assert len(tree) >= 5
    assert all(leaf["children"] == [] for root in tree for middle in root["children"] for leaf in middle["children"])
    page = (await shop.get("/products", count="true", in_stock="false")).json()
    assert page["total"] > 5
    assert (await shop.get("/products", count="true")).json()["total"] == pytest.approx(300, abs=15)
    assert len((await shop.get("/products/featured")).json()["items"]) == 12
    assert len((await shop.get("/products/low-stock", staff=True)).json()["items"]) == 50
    assert await shop.broken_invariants() == []
    listed = {item["price"]["amount"] for item in (await shop.get("/products")).json()["items"]}
    assert all(before < after for before, after in pairwise(sorted(listed)))
    for item in page["items"][:3]:
        detail = (await shop.get(f"/products/{item['slug']}")).json()
        assert detail["price"] == item["price"]
        assert detail["in_stock"] is False
