"""Staff describe products, and nobody else does."""

from typing import Any

import pytest

from catalog.answers import ProductDetail


async def test_a_new_product_is_shown_with_its_variants(shop: Any) -> None:
    product = await shop.product(
        "Jaipuri Cotton Kurta",
        description="Block printed.",
        attributes={"fabric": "cotton", "pieces": 1, "washable": True},
        variants=[
            shop.variant(price=89_900, stock=0, options={"size": "S"}),
            shop.variant(price=99_900, options={"size": "M"}, compare_at_price={"amount": 129_900, "currency": "INR"}),
        ],
    )
    answer = await shop.get(f"/products/{product['slug']}")
    assert answer.status_code == 200
    detail = answer.json()
    ProductDetail.model_validate(detail)
    assert detail["slug"] == "jaipuri-cotton-kurta"
    assert detail["price"] == {"amount": 99_900, "currency": "INR"}, "the cheapest that can be bought now"
    assert detail["default_variant_id"] == detail["variants"][1]["id"]
    assert detail["options"] == [{"name": "size", "values": ["S", "M"]}]
    assert [v["in_stock"] for v in detail["variants"]] == [False, True]
    assert answer.json() == (await shop.get(f"/products/{product['id']}")).json()
