"""Staff describe products, and nobody else does."""

from typing import TYPE_CHECKING, Any

import pytest

from catalog.answers import ProductDetail, ProductPage
from chassis.ids import new_id

if TYPE_CHECKING:
    from tests.conftest import Shop


async def test_a_new_product_is_shown_with_its_variants(shop: "Shop") -> None:
    product = await shop.product(
        "Jaipuri Cotton Kurta",
        attributes={"fabric": "cotton", "pieces": 1, "washable": True},
        variants=[
            shop.variant(price=89_900, stock=0, options={"size": "S"}),
            shop.variant(price=99_900, options={"size": "M"}, compare_at_price={"amount": 129_900, "currency": "INR"}),
        ],
    )

    answer = await shop.get(f"/products/{product['slug']}")

    detail = answer.json()
    assert ProductDetail.model_validate(detail).model_dump(mode="json") == detail
    assert detail["slug"] == "jaipuri-cotton-kurta"
    assert detail["price"] == {"amount": 99_900, "currency": "INR"}, "the cheapest that can be bought now"
    assert detail["default_variant_id"] == detail["variants"][1]["id"]
    assert detail["options"] == [{"name": "size", "values": ["S", "M"]}]
    assert [variant["in_stock"] for variant in detail["variants"]] == [False, True]
    assert detail == (await shop.get(f"/products/{product['id']}")).json()
    listed = (await shop.get("/products")).json()
    assert ProductPage.model_validate(listed).model_dump(mode="json", exclude_unset=True) == listed


async def test_creating_tells_the_others_once(shop: "Shop") -> None:
    product = await shop.product("Yoga Mat", variants=[shop.variant(options={"thickness": "6 mm"})])

    (told,) = await shop.told("product.changed.v1")
    assert told == {
        "product_id": product["id"], "version": 1, "slug": "yoga-mat", "name": "Yoga Mat", "is_active": True,
        "category_id": product["category"]["id"], "image_url": None, "currency": "INR",
        "variants": [{
            "variant_id": product["variants"][0]["id"], "sku": product["variants"][0]["sku"],
            "name": "Yoga Mat (6 mm)", "unit_price": 49_900, "is_active": True,
        }],
    }  # fmt: skip
    assert [data["available"] for data in await shop.told("stock.changed.v1")] == [10]


async def test_a_change_needs_the_version_it_was_made_from(shop: "Shop") -> None:
    product = await shop.product()
    path = f"/products/{product['id']}"
    tag = (await shop.get(path)).headers["etag"]
    await shop.reserve(new_id(), {shop.first(product): 1})
    assert (await shop.get(path)).headers["etag"] != tag, "a sale changes what is shown"

    changed = await shop.write("PATCH", path, {"name": "Better Kurta"}, headers={"if-match": tag})
    assert changed.status_code == 200, "but it is no conflict for an editor"
    late = await shop.write("PATCH", path, {"name": "Worse Kurta"}, headers={"if-match": tag})

    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert (await shop.get(path)).json()["name"] == "Better Kurta"
    assert changed.headers["etag"] == (await shop.get(path)).headers["etag"]


async def test_an_unchanged_page_is_not_sent_again(shop: "Shop") -> None:
    product = await shop.product()
    for path in (f"/products/{product['slug']}", "/products", "/categories", "/products/featured"):
        first = await shop.get(path)
        assert "max-age=30" in first.headers["cache-control"]
        again = await shop.harness.client.get(f"/api/v1{path}", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_staff_answers_are_not_cached(shop: "Shop") -> None:
    product = await shop.product(is_active=False)
    path = f"/products/{product['id']}"
    assert (await shop.get(path)).status_code == 404
    seen = await shop.get(path, staff=True)
    assert (seen.status_code, seen.headers["cache-control"]) == (200, "no-store")


async def test_a_renamed_category_changes_the_tag_of_its_products(shop: "Shop") -> None:
    category = await shop.category()
    product = await shop.product(category=category["id"])
    before = (await shop.get(f"/products/{product['id']}")).headers["etag"]
    await shop.write("PATCH", f"/categories/{category['id']}", {"name": "Long Kurtas"})
    assert (await shop.get(f"/products/{product['id']}")).headers["etag"] != before


async def test_a_deleted_product_is_gone_and_frees_its_names(shop: "Shop") -> None:
    product = await shop.product("Kurta", variants=[shop.variant(sku="K-1")])
    path = f"/products/{product['id']}"
    assert (await shop.write("DELETE", path)).status_code == 204
    for answer in (await shop.get(path), await shop.get(path, staff=True), await shop.write("DELETE", path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "product_not_found")
    assert (await shop.get("/products")).json()["items"] == []
    assert await shop.told("product.withdrawn.v1") == [{"product_id": product["id"], "version": 2}]
    again = await shop.product("Kurta", variants=[shop.variant(sku="K-1")])
    assert again["slug"] == "kurta"


async def test_slugs_are_made_free_and_never_mistaken(shop: "Shop") -> None:
    category = (await shop.category())["id"]
    slugs = [(await shop.product(name, category=category))["slug"] for name in ("Featured", "Tea!", "Tea", "चाय")]
    assert slugs == ["featured-2", "tea", "tea-2", "product"]
    for slug in ("featured", "low-stock", str(new_id())):
        body = {"name": "x", "slug": slug, "category_id": category, "variants": [shop.variant()]}
        answer = await shop.write("POST", "/products", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "slug_reserved")
    body = {"name": "x", "slug": "tea", "category_id": category, "variants": [shop.variant()]}
    assert (await shop.write("POST", "/products", body)).json()["code"] == "slug_taken"


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": 3}, "/name"),
        ({"name": None}, "/name"),
        ({"slug": "Not A Slug"}, "/slug"),
        ({"variants": []}, "/variants"),
        ({"colour": "red"}, "/colour"),
        ({"is_active": "yes"}, "/is_active"),
        ({"category_id": "kurtas"}, "/category_id"),
        ({"category_id": "0199b7a0-0000-7000-8000-000000000000"}, "/category_id"),
        ({"attributes": {"a": [1]}}, "/attributes/a"),
        ({"variants": [{"sku": "a b", "price": {"amount": 1, "currency": "INR"}, "stock": 1}]}, "/variants/0/sku"),
        ({"variants": [{"sku": "a", "price": {"amount": -1, "currency": "INR"}, "stock": 1}]}, "/variants/0/price"),
        ({"variants": [{"sku": "a", "price": {"amount": 1.0, "currency": "INR"}, "stock": 1}]}, "/variants/0/price"),
        ({"variants": [{"sku": "a", "price": {"amount": 1, "currency": "INR"}, "stock": -1}]}, "/variants/0/stock"),
        ({"variants": [{"sku": "a", "price": {"amount": 1, "currency": "INR"}, "stock": True}]}, "/variants/0/stock"),
    ],
)
async def test_wrong_input_is_pointed_at(shop: "Shop", wrong: dict[str, Any], pointer: str) -> None:
    category = (await shop.category())["id"]
    body = {"name": "Kurta", "category_id": category, "variants": [shop.variant()], **wrong}
    answer = await shop.write("POST", "/products", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert (await shop.get("/products", staff=True)).json()["items"] == []


async def test_prices_are_in_the_shops_currency(shop: "Shop") -> None:
    product = await shop.product()
    dollars = {"amount": 100, "currency": "USD"}
    path = f"/products/{product['id']}/variants"
    variant = f"{path}/{product['variants'][0]['id']}"
    for answer in (
        await shop.write("POST", path, shop.variant() | {"price": dollars}),
        await shop.write("PATCH", variant, {"price": dollars}),
        await shop.write("PATCH", variant, {"compare_at_price": {"amount": 10**6, "currency": "USD"}}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "currency_unsupported")


async def test_variants_come_change_and_go(shop: "Shop") -> None:
    product = await shop.product("Kurta", variants=[shop.variant(options={"size": "M"})])
    path = f"/products/{product['id']}/variants"
    first = f"{path}/{product['variants'][0]['id']}"

    added = await shop.write("POST", path, shop.variant(price=100, stock=2, options={"size": "S"}))
    assert added.status_code == 201
    assert (await shop.get("/products")).json()["items"][0]["default_variant_id"] == added.json()["id"]
    changed = await shop.write("PATCH", first, {"price": {"amount": 50, "currency": "INR"}, "options": {"size": "L"}})
    assert (changed.json()["price"]["amount"], changed.json()["name"]) == (50, "L")
    assert (await shop.get("/products")).json()["items"][0]["price"]["amount"] == 50
    assert (await shop.write("DELETE", first)).status_code == 204
    last = await shop.write("DELETE", f"{path}/{added.json()['id']}")
    assert (last.status_code, last.json()["code"]) == (409, "last_variant")
    assert [data["version"] for data in await shop.told("product.changed.v1")] == [1, 2, 3, 4]


async def test_variants_differ_in_sku_and_options(shop: "Shop") -> None:
    product = await shop.product("Kurta", variants=[shop.variant(sku="K-M", options={"size": "M"})])
    path = f"/products/{product['id']}/variants"
    for draft, code in (
        (shop.variant(sku="K-M", options={"size": "L"}), "sku_taken"),
        (shop.variant(options={"size": "M"}), "variant_options_taken"),
    ):
        answer = await shop.write("POST", path, draft)
        assert (answer.status_code, answer.json()["code"]) == (409, code)
    other = await shop.product("Shirt")
    answer = await shop.write("PATCH", f"/products/{other['id']}/variants/{product['variants'][0]['id']}", {"sku": "Z"})
    assert answer.json()["code"] == "variant_not_found", "it is another product's"


async def test_a_crossed_out_price_is_higher(shop: "Shop") -> None:
    product = await shop.product()
    path = f"/products/{product['id']}/variants/{product['variants'][0]['id']}"
    answer = await shop.write("PATCH", path, {"compare_at_price": {"amount": 49_900, "currency": "INR"}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/compare_at_price"
    assert (await shop.write("PATCH", path, {"compare_at_price": None})).status_code == 200


async def test_an_inactive_variant_is_not_offered(shop: "Shop") -> None:
    variants = [shop.variant(price=100, options={"size": "S"}), shop.variant(price=200, options={"size": "M"})]
    product = await shop.product(variants=variants)
    path = f"/products/{product['id']}/variants/{product['variants'][0]['id']}"
    await shop.write("PATCH", path, {"is_active": False})
    shown = (await shop.get(f"/products/{product['id']}")).json()
    assert (shown["price"]["amount"], len(shown["variants"])) == (200, 1)
    assert len((await shop.get(f"/products/{product['id']}", staff=True)).json()["variants"]) == 2


async def test_a_repeated_post_with_one_key_makes_one_product(shop: "Shop") -> None:
    body = {"name": "Tea", "category_id": (await shop.category())["id"], "variants": [shop.variant()]}
    first = await shop.write("POST", "/products", body, headers={"idempotency-key": "k"})
    again = await shop.write("POST", "/products", body, headers={"idempotency-key": "k"})
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"


async def test_cart_looks_variants_up(shop: "Shop") -> None:
    product = await shop.product("Kurta", variants=[shop.variant(options={"size": "M"})])
    gone = await shop.product("Shirt")
    await shop.write("DELETE", f"/products/{gone['id']}")
    ids = [product["variants"][0]["id"], gone["variants"][0]["id"], str(new_id())]

    answer = await shop.harness.client.post(
        "/internal/variants/lookup", json={"ids": ids}, headers=shop.harness.as_service("cart")
    )

    found = {item["variant_id"]: item for item in answer.json()["items"]}
    assert set(found) == set(ids[:2])
    assert found[ids[0]] == {
        "variant_id": ids[0], "product_id": product["id"], "sku": product["variants"][0]["sku"],
        "name": "Kurta (M)", "image_url": None, "unit_price": 49_900, "currency": "INR", "available": 10,
        "is_sellable": True, "product_version": 1, "stock_version": 1,
    }  # fmt: skip
    assert found[ids[1]]["is_sellable"] is False


SOME_ID = "01a1f0c4-9d3e-7c11-8a55-0f2b6f9d4e21"
WRITES = [
    ("POST", "/categories"),
    ("PATCH", f"/categories/{SOME_ID}"),
    ("DELETE", f"/categories/{SOME_ID}"),
    ("POST", "/products"),
    ("PATCH", f"/products/{SOME_ID}"),
    ("DELETE", f"/products/{SOME_ID}"),
    ("POST", f"/products/{SOME_ID}/variants"),
    ("PATCH", f"/products/{SOME_ID}/variants/{SOME_ID}"),
    ("DELETE", f"/products/{SOME_ID}/variants/{SOME_ID}"),
    ("POST", f"/inventory/{SOME_ID}/adjustments"),
    ("GET", f"/inventory/{SOME_ID}"),
    ("GET", f"/inventory/{SOME_ID}/movements"),
    ("GET", "/products/low-stock"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_what_staff_do_with_the_catalogue_is_refused_to_shoppers(shop: "Shop", method: str, path: str) -> None:
    for headers, status in (({}, 401), (shop.harness.as_user("customer"), 403)):
        answer = await shop.harness.client.request(method, f"/api/v1{path}", headers=headers)
        assert answer.status_code == status


async def test_unusable_paths_are_refused_calmly(shop: "Shop") -> None:
    for path in (
        "/products/%00",
        "/products/nothing-here",
        f"/products/{new_id()}",
        "/categories/%00",
        "/categories/no",
    ):
        answer = await shop.harness.client.get(f"/api/v1{path}")
        assert answer.status_code in (404, 422), path
