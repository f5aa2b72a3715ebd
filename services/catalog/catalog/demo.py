"""A shop to look at: some 300 products made by a seeded generator, and a large catalogue for benchmarks.

The same seed gives the same shop, ids included. Rows go in by COPY and no events go out: cart fetches what its copy
misses, so a shop of 300 or 100,000 products needs no such flood.
"""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product as combinations
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from catalog.demo_words import SHELVES, Shelf
from catalog.settings import CatalogSettings
from catalog.wording import dictionary_words, options_label, search_text, slug_of, sort_key
from chassis.database import Database
from chassis.ids import derive_id

SEED = 2026
PER_SHELF = 13
LOW_STOCK = 5
NAMESPACE = UUID("6d0f2a52-3c1e-4b7e-9a57-0d6f6d1c9b11")
OPENED = datetime(2026, 5, 1, 4, 30, tzinfo=UTC)
"""When the demo shop's first product appeared; the others followed."""
CROWDED = ("Electronics", "Mobile Accessories", "Chargers")
"""The shelf that gets 60 % of the large catalogue: real shops are as uneven."""
LOCK = 4_201
_COLUMNS = {
    "categories": "id parent_id ancestor_ids slug name description position is_active version",
    "products": (
        "id slug name name_key description attributes category_id is_featured is_active price compare_at_price "
        "default_variant_id in_stock search_name search_skus version created_at updated_at"
    ),
    "variants": "id product_id sku name options price compare_at_price is_active position",
    "stock_levels": "variant_id product_id on_hand reserved low_stock_threshold stock_version",
    "stock_movements": "variant_id kind delta on_hand reason",
}


@dataclass(slots=True)
class Rows:
    """What is to be copied, table by table."""

    tables: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})
    words: set[str] = field(default_factory=set)

    def add(self, table: str, *values: Any) -> None:
        """One row."""
        self.tables[table].append(values)

    async def copy(self, connection: asyncpg.Connection) -> None:
        """Put all rows in, parents first."""
        for table, rows in self.tables.items():
            await connection.copy_records_to_table(table, records=rows, columns=_COLUMNS[table].split())
        await connection.execute(
            "INSERT INTO search_words SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", sorted(self.words)
        )


async def seed_demo(database: Database) -> bool:
    """Fill an empty catalogue with the demo shop; whether it was empty."""
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            if await connection.fetchval("SELECT EXISTS (SELECT FROM categories)"):
                return False
            await demo_rows(SEED).copy(connection)
        return True
    finally:
        await connection.close()


async def fill_large(database: Database, size: int) -> int:
    """Bring the catalogue to `size` products, demo shop included, by COPY. Returns how many were added."""
    await seed_demo(database)
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            present = await connection.fetchval("SELECT count(*) FROM products")
            if present >= size:
                return 0
            async with _without_indexes(connection):
                for start in range(present, size, 10_000):
                    await _large_rows(start, min(start + 10_000, size)).copy(connection)
        for table in _COLUMNS:
            await connection.execute(f"VACUUM (ANALYZE) {table}")
        return size - int(present)
    finally:
        await connection.close()


@asynccontextmanager
async def _without_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Indexes of products are built faster at once than row by row."""
    found = await connection.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_products_%'")
    for index in found:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    yield
    for index in found:
        await connection.execute(index["indexdef"])


async def seed_command(settings: CatalogSettings) -> None:
    """`python -m catalog seed`: the demo shop, or CATALOG_SEED_SIZE products."""
    database = Database(settings)
    await fill_large(database, settings.seed_size) if settings.seed_size else await seed_demo(database)


def demo_rows(seed: int) -> Rows:
    """The demo shop; the same for the same seed."""
    dice = Random(seed)  # noqa: S311 - a demo shop is no secret
    rows = Rows()
    _add_categories(rows)
    drafts = [(shelf, name) for shelf in SHELVES for name in _names(shelf, dice)]
    dice.shuffle(drafts)
    for number, (shelf, name) in enumerate(drafts):
        _add_product(rows, shelf, name, number=number, dice=dice)
    return rows


def _names(shelf: Shelf, dice: Random) -> Iterable[str]:
    every = [" ".join(words) for words in combinations(shelf.brands, shelf.qualities, shelf.nouns)]
    return dice.sample(every, min(PER_SHELF, len(every)))


def _path_id(path: tuple[str, ...]) -> UUID:
    return derive_id(NAMESPACE, "category", *path)


def _add_categories(rows: Rows) -> None:
    seen: dict[tuple[str, ...], None] = {}
    for shelf in SHELVES:
        for depth in (1, 2, 3):
            seen.setdefault(shelf.path[:depth])
    for position, path in enumerate(sorted(seen, key=len)):
        ids = [_path_id(path[:depth]) for depth in range(1, len(path) + 1)]
        parent = ids[-2] if len(ids) > 1 else None
        slug = slug_of(path[-1]) if len(path) != 2 else slug_of(" ".join(path))
        rows.add("categories", ids[-1], parent, ids, slug, path[-1], "", position, True, 1)


def _choices(shelf: Shelf, dice: Random) -> Iterator[dict[str, str]]:
    """Some of the combinations a shelf's options allow: every size, in one or two colours."""
    chosen = {
        name: values if name != "colour" else tuple(dice.sample(values, dice.randint(1, 2)))
        for name, values in shelf.options.items()
    }
    for values in combinations(*chosen.values()):
        yield dict(zip(chosen, values, strict=True))


def _stock(dice: Random, *, is_sold_out: bool) -> int:
    luck = dice.random()
    if is_sold_out or luck < 0.07:
        return 0
    return dice.randint(1, LOW_STOCK) if luck < 0.17 else dice.randint(12, 140)


def _add_product(rows: Rows, shelf: Shelf, name: str, *, number: int, dice: Random) -> None:
    base = dice.randint(*shelf.prices) // 50 * 50 + dice.choice((49, 99))
    discount = dice.choice((0, 0, 0, 15, 20, 30))
    is_sold_out = dice.random() < 0.05
    product_id = derive_id(NAMESPACE, "product", name)
    variants = []
    for position, options in enumerate(_choices(shelf, dice)):
        bigger = 1 if "colour" in options or "size" in options else 1 + position * 0.6
        price = int(base * bigger) * 100
        before = int(price / (100 - discount)) // 10 * 1000 - 100 if discount else None
        sku = f"{slug_of(shelf.path[-1])[:3]}-{number:03}-{position + 1:02}".upper()
        variant_id = derive_id(NAMESPACE, "variant", sku)
        stock = _stock(dice, is_sold_out=is_sold_out)
        variants.append((variant_id, sku, options, price, before, stock))
    attributes = {"material": dice.choice(shelf.material), "made in": "India"}
    _add_rows(
        rows,
        product_id,
        name=name,
        slug=slug_of(name),
        description=f"{name} by our own workshop partners. {shelf.blurb}",
        attributes=attributes,
        category_id=_path_id(shelf.path),
        is_featured=number % 13 == 0 and not is_sold_out,
        created_at=OPENED + timedelta(minutes=number * 907),
        variants=variants,
    )


def _add_rows(
    rows: Rows,
    product_id: UUID,
    *,
    name: str,
    slug: str,
    description: str,
    attributes: dict[str, str],
    category_id: UUID,
    is_featured: bool,
    created_at: datetime,
    variants: list[tuple[UUID, str, dict[str, str], int, int | None, int]],
) -> None:
    offer = min(enumerate(variants), key=lambda placed: (placed[1][5] == 0, placed[1][3], placed[0]))[1]
    skus = search_text(*(variant[1] for variant in variants))
    rows.add(
        "products", product_id, slug, name, sort_key(name), description, json.dumps(attributes), category_id,
        is_featured, True, offer[3], offer[4], offer[0], offer[5] > 0, search_text(name), skus, 1, created_at,
        created_at,
    )  # fmt: skip
    rows.words.update(dictionary_words(name))
    for position, (variant_id, sku, options, price, before, stock) in enumerate(variants):
        label = options_label(options)
        rows.add("variants", variant_id, product_id, sku, label, json.dumps(options), price, before, True, position)
        rows.add("stock_levels", variant_id, product_id, stock, 0, LOW_STOCK, 1)
        if stock:
            rows.add("stock_movements", variant_id, "initial", stock, stock, "demo shop")


def _large_rows(start: int, end: int) -> Rows:
    """Products number `start` to `end`, one variant each."""
    rows = Rows()
    shelves = [shelf for shelf in SHELVES if shelf.path != CROWDED]
    (crowded,) = [shelf for shelf in SHELVES if shelf.path == CROWDED]
    for number in range(start, end):
        dice = Random(f"{SEED} {number}")  # noqa: S311 - as above
        shelf = crowded if dice.random() < 0.6 else dice.choice(shelves)
        words = dice.choice(shelf.brands), dice.choice(shelf.qualities), dice.choice(shelf.nouns)
        name = f"{' '.join(words)} {number}"
        price = dice.randint(*shelf.prices) * 100
        variant_id = derive_id(NAMESPACE, "large", str(number))
        _add_rows(
            rows,
            derive_id(NAMESPACE, "large product", str(number)),
            name=name,
            slug=slug_of(name),
            description=shelf.blurb,
            attributes={"material": dice.choice(shelf.material)},
            category_id=_path_id(shelf.path),
            is_featured=number % 997 == 0,
            created_at=OPENED + timedelta(seconds=number * 150),
            variants=[(variant_id, f"LRG-{number:06}", {}, price, None, _stock(dice, is_sold_out=False))],
        )
    return rows
