"""A shopper looks for products: the list, its search, its facets, and the featured ones.

1. `list_products` walks the index of the order asked for, from where the cursor points: page 1,000 costs what page 1
   costs. Below a category with children the walks of its leaves are merged.
2. `search` asks the full-text index. If nothing matches, each word is replaced by its nearest neighbours among the
   words of product names: a typing mistake, and the only case in which a page takes more than one statement.
3. By relevance, the best 1,000 of at most 2,000 matches are ranked; the pages end there.
4. Rows become bytes without a model in between.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec

from catalog.errors import CategoryNotFound
from catalog.questions import Ordering, ProductQuestion, conditions, within
from catalog.wording import MAX_WORDS, id_or_slug, search_words
from chassis.caching import Encoded, encode
from chassis.pagination import COUNT_CAP, decode_cursor, encode_cursor
from chassis.problems import CursorInvalid

BEST_MATCHES = 1_000
RANKED_MATCHES = 2_000
"""Ranking reads every match: a word that half the shop carries must not cost a second."""
FEATURED = 12
PRICE_BANDS = (0, 500_00, 1_000_00, 2_500_00, 5_000_00, 10_000_00, 25_000_00, 50_000_00)
"""Lower ends of the price bands, in minor units."""


class CategoryRef(msgspec.Struct, gc=False):
    """The category of a list item."""

    id: str
    slug: str
    name: str


class Price(msgspec.Struct, gc=False):
    """An amount in minor units and its currency."""

    amount: int
    currency: str


class ListItem(msgspec.Struct, gc=False):
    """A product in a list."""

    id: str
    slug: str
    name: str
    category: CategoryRef
    price: Price
    compare_at_price: Price | None
    in_stock: bool
    is_featured: bool
    image_url: str | None
    default_variant_id: str | None
    created_at: datetime


_SORT_KEYS: dict[str, tuple[str, Any]] = {
    "price": ("price", Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]),
    "name": ("name_key", str),
    "created_at": ("created_at", Annotated[datetime, msgspec.Meta(tz=True)]),
}
_COLUMNS = (
    "p.id, p.slug, p.name, p.category_id, p.price, p.compare_at_price, p.in_stock, p.is_featured, p.image_url, "
    "p.default_variant_id, p.created_at"
)
# Ids are read as text, which is what they become: three objects less for each row.
_PAGE = """
    SELECT p.id::text, p.slug, p.name, p.category_id::text, c.slug, c.name, p.price, p.compare_at_price, p.in_stock,
        p.is_featured, p.image_url, p.default_variant_id::text, p.created_at, p.sort_key
"""
_FEATURED = f"""
    {_PAGE} FROM (
        SELECT {_COLUMNS}, NULL AS sort_key FROM products p
        WHERE p.deleted_at IS NULL AND p.is_featured AND p.is_active
        ORDER BY p.in_stock DESC, p.created_at DESC, p.id DESC LIMIT {FEATURED}
    ) AS p JOIN categories c ON c.id = p.category_id ORDER BY p.in_stock DESC, p.created_at DESC, p.id DESC
"""  # noqa: S608 - made of constants
_CORRECTION = """
    SELECT string_agg('(' || coalesce(near.words, nullif(plainto_tsquery('english', typed)::text, '')) || ')', ' & ')
    FROM unnest($1::text[]) AS typed
    CROSS JOIN LATERAL (
        SELECT string_agg(nullif(plainto_tsquery('english', known.word)::text, ''), ' | ') AS words
        FROM (
            SELECT w.word, rank() OVER (ORDER BY levenshtein_less_equal(w.word, typed, 2)) AS place
            FROM search_words w
            WHERE length(typed) > 3 AND length(w.word) BETWEEN length(typed) - 2 AND length(typed) + 2
                AND levenshtein_less_equal(w.word, typed, 2) <= CASE WHEN length(typed) < 5 THEN 1 ELSE 2 END
            ORDER BY place, similarity(w.word, typed) DESC, w.word
            LIMIT 3
        ) AS known
        WHERE known.place = 1
    ) AS near
"""


async def list_products(reads: asyncpg.Pool, question: ProductQuestion, *, currency: str) -> Encoded:
    """A page of products, with total and facets where asked for. Raises CategoryNotFound, CursorInvalid."""
    if question.search is not None and not search_words(question.search):
        return _encoded({"items": [], "next_cursor": None, **_nothing(question)})
    rows = await reads.fetch(*page_statement(question))
    if not rows and question.search is not None:
        question = replace(question, corrected=await _correction(reads, question.search))
        rows = await reads.fetch(*page_statement(question)) if question.corrected else []
    if not rows and question.category is not None:
        await _require_category(reads, question.category)
    page: dict[str, Any] = {
        "items": list_items(rows[: question.limit], currency),
        "next_cursor": _next_cursor(rows, question),
    }
    if question.count:
        page |= await _total(reads, question)
    if question.facets:
        page["facets"] = await _facets(reads, question)
    return _encoded(page)


async def featured_products(reads: asyncpg.Pool, *, currency: str) -> Encoded:
    """The products the shop wants to be seen, those in stock before those sold out, then newest first."""
    return _encoded({"items": list_items(await reads.fetch(_FEATURED), currency)})


def list_items(rows: Sequence[asyncpg.Record], currency: str) -> list[ListItem]:
    """Rows of `_PAGE` as what a client reads."""
    return [
        ListItem(
            row[0],
            row[1],
            row[2],
            CategoryRef(row[3], row[4], row[5]),
            Price(row[6], currency),
            None if row[7] is None else Price(row[7], currency),
            *row[8:13],
        )
        for row in rows
    ]


def _encoded(page: dict[str, Any]) -> Encoded:
    body = encode(page)
    return Encoded(body, hashlib.sha256(body).hexdigest()[:24])


def _nothing(question: ProductQuestion) -> dict[str, Any]:
    total = {"total": 0, "total_is_capped": False} if question.count else {}
    return total | ({"facets": {"categories": [], "price_bands": []}} if question.facets else {})


def page_statement(question: ProductQuestion) -> tuple[Any, ...]:
    """The one statement of a page, and its values."""
    return _best_matches(question) if question.ordering is Ordering.RELEVANCE else _walk(question)


def _walk(question: ProductQuestion) -> tuple[Any, ...]:
    """A page by price, name or age: forward or backward along the index of that order."""
    column, kind = _SORT_KEYS[question.ordering.removeprefix("-")]
    descending = question.ordering.startswith("-")
    made = conditions(question)
    if question.cursor is not None:
        key, product_id = _position(question, kind)
        sign = "<" if descending else ">"
        made.texts.append(f"(p.{column}, p.id) {sign} ({made.value(key)}, {made.value(product_id)})")
    direction = "DESC" if descending else "ASC"
    order = f"ORDER BY p.sort_key {direction}, p.id {direction}"
    limit = f"LIMIT {made.value(question.limit + 1)}"
    walk = f"SELECT {_COLUMNS}, p.{column} AS sort_key FROM products p WHERE "  # noqa: S608 - made of constants
    ends = f"ORDER BY p.{column} {direction}, p.id {direction} {limit}"
    if question.category is not None and question.search is None:
        leaf = f"{walk} p.category_id = below.id AND {made.where} {ends}"
        page = f"SELECT p.* FROM below CROSS JOIN LATERAL ({leaf}) AS p {order} {limit}"  # noqa: S608 - placeholders
    else:
        page = f"{walk} {within(made, question)} {ends}"
    text = f"{made.with_tables} {_PAGE} FROM ({page}) AS p JOIN categories c ON c.id = p.category_id {order}"
    return text, *made.values


def _best_matches(question: ProductQuestion) -> tuple[Any, ...]:
    """A page of the best matches; of two equally good ones the newer comes first."""
    made = conditions(question)
    made.tables.append(
        f"""best AS MATERIALIZED (
            SELECT m.id, ts_rank(m.search_vector, {made.words})::float8 AS rank
            FROM (
                SELECT p.id, p.search_vector FROM products p WHERE {within(made, question)} LIMIT {RANKED_MATCHES}
            ) AS m
            ORDER BY rank DESC, m.id DESC LIMIT {BEST_MATCHES}
        )"""  # noqa: S608 - placeholders
    )
    after = ""
    if question.cursor is not None:
        rank, product_id = _position(question, float)
        after = f"WHERE (best.rank, best.id) < ({made.value(rank)}, {made.value(product_id)})"
    limit = made.value(question.limit + 1)
    text = f"""
        {made.with_tables} {_PAGE} FROM (
            SELECT {_COLUMNS}, page.rank AS sort_key
            FROM (SELECT * FROM best {after} ORDER BY rank DESC, id DESC LIMIT {limit}) AS page
            JOIN products p ON p.id = page.id
        ) AS p JOIN categories c ON c.id = p.category_id ORDER BY p.sort_key DESC, p.id DESC
    """  # noqa: S608 - placeholders
    return text, *made.values


def _position(question: ProductQuestion, kind: Any) -> tuple[Any, ...]:
    position = decode_cursor(question.cursor or "", question.scope, kind, UUID)
    if isinstance(position[0], datetime) and not 1970 <= position[0].year < 9999:
        raise CursorInvalid("Start again without a cursor.")
    return position


def _next_cursor(rows: Sequence[asyncpg.Record], question: ProductQuestion) -> str | None:
    if len(rows) <= question.limit:
        return None
    last = rows[question.limit - 1]
    return encode_cursor(question.scope, last["sort_key"], last[0])


async def _correction(reads: asyncpg.Pool, search: str) -> str | None:
    corrected: str | None = await reads.fetchval(_CORRECTION, search_words(search)[:MAX_WORDS])
    return corrected


async def _require_category(reads: asyncpg.Pool, category: str) -> None:
    column, value = id_or_slug(category)
    if await reads.fetchval(f"SELECT 1 FROM categories WHERE {column} = $1", value) is None:  # noqa: S608 - one of two names
        raise CategoryNotFound("See /api/v1/categories for those that exist.")


async def _total(reads: asyncpg.Pool, question: ProductQuestion) -> dict[str, Any]:
    made = conditions(question)
    matches = f"SELECT FROM products p WHERE {within(made, question)} LIMIT {COUNT_CAP + 1}"
    count = await reads.fetchval(f"{made.with_tables} SELECT count(*) FROM ({matches}) AS p", *made.values)  # noqa: S608 - as above
    return {"total": min(count, COUNT_CAP), "total_is_capped": count > COUNT_CAP}


async def _facets(reads: asyncpg.Pool, question: ProductQuestion) -> dict[str, Any]:
    """How many products each category and price band would show, each under all other filters."""
    by_category, by_price = await asyncio.gather(_count_categories(reads, question), _count_prices(reads, question))
    return {"categories": by_category, "price_bands": by_price}


async def _count_categories(reads: asyncpg.Pool, question: ProductQuestion) -> list[dict[str, Any]]:
    made = conditions(question, category=False)
    rows = await reads.fetch(
        f"""
        SELECT a.id, a.slug, a.name, sum(own.count)::bigint AS count
        FROM (SELECT p.category_id, count(*) FROM products p WHERE {made.where} GROUP BY 1) AS own
        JOIN categories c ON c.id = own.category_id
        JOIN categories a ON a.id = ANY (c.ancestor_ids)
        WHERE a.is_active
        GROUP BY a.id ORDER BY count DESC, a.slug
        """,  # noqa: S608 - placeholders
        *made.values,
    )
    return [dict(row) for row in rows]


async def _count_prices(reads: asyncpg.Pool, question: ProductQuestion) -> list[dict[str, Any]]:
    made = conditions(question, price=False)
    bands = made.value(list(PRICE_BANDS))
    rows = await reads.fetch(
        f"{made.with_tables} SELECT width_bucket(p.price, {bands}::bigint[]) AS band, count(*) "  # noqa: S608 - placeholders
        f"FROM products p WHERE {within(made, question)} GROUP BY 1 ORDER BY 1",
        *made.values,
    )
    ends = [*(lower - 1 for lower in PRICE_BANDS[1:]), None]
    return [{"min_price": PRICE_BANDS[band - 1], "max_price": ends[band - 1], "count": count} for band, count in rows]
