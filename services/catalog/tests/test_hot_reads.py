"""Hot reads are one statement each, and every order of the list walks an index, at any depth."""

import json
from typing import Any

import pytest

from catalog.app import build
from catalog.demo import fill_large, seed_demo
from catalog.questions import Ordering, ProductQuestion
from catalog.search import page_statement
from catalog.settings import CatalogSettings
from chassis.testing import Harness, ServiceFactory

SIZE = 20_000
INDEX_OF = {"price": "price", "name": "name", "created_at": "created"}


@pytest.mark.parametrize(
    "path",
    [
        "/products",
        "/products?category=fashion&ordering=price&in_stock=true",
        "/products?search=block%20kur",
        "/products?search=cotton&ordering=name",
        "/products/featured",
        "/categories",
        "/categories/all",
        "/categories/kurtas",
    ],
)
async def test_a_hot_read_is_one_statement(service_factory: ServiceFactory, path: str) -> None:
    async with service_factory(CatalogSettings, build, read_pool_min=1, read_pool_max=1) as harness:
        await seed_demo(harness.database)
        seen: list[str] = []
        async with harness.database.reads.acquire() as connection:
            raw = connection._con  # noqa: SLF001 - the logger belongs to the connection, which the pool wraps
            raw.add_query_logger(lambda record: seen.append(record.query))
        answer = await harness.client.get(f"/api/v1{path}")
        assert answer.status_code == 200
        assert len(seen) == 1, seen
        item = (await harness.client.get("/api/v1/products")).json()["items"][0]
        for key in (item["id"], item["slug"]):
            seen.clear()
            assert (await harness.client.get(f"/api/v1/products/{key}")).status_code == 200
            assert len(seen) == 1, seen


@pytest.mark.slow
async def test_every_page_is_a_walk_along_an_index(service_factory: ServiceFactory) -> None:
    async with service_factory(CatalogSettings, build, statement_timeout=120) as harness:
        assert await fill_large(harness.database, SIZE) > 0
        for ordering in Ordering:
            if ordering is Ordering.RELEVANCE:
                continue
            for category in (None, "chargers", "electronics"):
                answer = await harness.client.get(
                    "/api/v1/products",
                    params={"ordering": ordering, "limit": 100} | ({"category": category} if category else {}),
                )
                question = ProductQuestion(ordering=ordering, category=category, limit=50)
                deep = ProductQuestion(
                    ordering=ordering, category=category, limit=100, cursor=answer.json()["next_cursor"]
                )
                for asked in (question, deep):
                    nodes = await _plan(harness, asked)
                    index = f"ix_products_{'category_' if category else ''}{INDEX_OF[ordering.removeprefix('-')]}"
                    assert index in {node.get("Index Name") for node in nodes}, (asked, nodes)
                    read = max(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
                    assert read < 2_000, "a page must not read the whole category"


async def _plan(harness: Harness, question: ProductQuestion) -> list[dict[str, Any]]:
    text, *values = page_statement(question)
    plan = await harness.database.reads.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *values)
    nodes: list[dict[str, Any]] = []
    waiting = [json.loads(plan)[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes
