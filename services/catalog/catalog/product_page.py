"""Everything about one product, for its page; and what cart and orders need to know of single variants.

One statement each, rows to bytes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.errors import ProductNotFound, VariantNotFound
from catalog.reading import Fetch, session_fetch
from catalog.wording import id_or_slug, option_values, variant_title
from chassis.caching import Encoded, encode


class _Category(msgspec.Struct, gc=False):
    id: UUID
    slug: str
    name: str


class _Price(msgspec.Struct, gc=False):
    amount: int
    currency: str


class _Variant(msgspec.Struct):
    id: UUID
    sku: str
    name: str
    options: dict[str, str]
    price: _Price
    compare_at_price: _Price | None
    available: int
    in_stock: bool
    is_active: bool


class _Option(msgspec.Struct):
    name: str
    values: list[str]


class _Product(msgspec.Struct):
    id: UUID
    slug: str
    name: str
    category: _Category
    price: _Price
    compare_at_price: _Price | None
    in_stock: bool
    is_featured: bool
    image_url: str | None
    default_variant_id: UUID | None
    created_at: datetime
    description: str
    attributes: msgspec.Raw
    options: list[_Option]
    variants: list[_Variant]
    is_active: bool
    updated_at: datetime


_PRODUCT = """
    SELECT p.id, p.slug, p.name, c.id AS category_id, c.slug AS category_slug, c.name AS category_name, p.price,
        p.compare_at_price, p.in_stock, p.is_featured, p.image_url, p.default_variant_id, p.created_at,
        p.description, p.attributes::text AS attributes, p.is_active, p.updated_at, p.version,
        c.version AS category_version, v.id AS variant_id, v.sku, v.name AS variant_name,
        v.options::text AS options, v.price AS unit_price, v.compare_at_price AS unit_compare_at_price,
        v.is_active AS variant_is_active, s.on_hand - s.reserved AS available, s.stock_version
    FROM products p
    JOIN categories c ON c.id = p.category_id
    LEFT JOIN variants v ON v.product_id = p.id AND v.deleted_at IS NULL AND {variants}
    LEFT JOIN stock_levels s ON s.variant_id = v.id
    WHERE p.{key} = $1 AND p.deleted_at IS NULL AND {products}
    ORDER BY v.position, v.id
"""
_LOOKUP = """
    SELECT v.id, v.product_id, v.sku, p.name, v.name, p.image_url, v.price, s.on_hand - s.reserved,
        v.deleted_at IS NULL AND v.is_active AND p.deleted_at IS NULL AND p.is_active, p.version, s.stock_version
    FROM variants v
    JOIN products p ON p.id = v.product_id
    JOIN stock_levels s ON s.variant_id = v.id
    WHERE v.id = ANY ($1::uuid[])
    ORDER BY v.id
"""


async def read_product(fetch: Fetch, key: str, *, currency: str, for_staff: bool = False) -> Encoded:
    """A product by id or slug, with its tag "<version>.<stock version>". Raises ProductNotFound.

    Staff see inactive products and variants too.
    """
    column, value = id_or_slug(key)
    shown = "true" if for_staff else "{table}.is_active"
    sql = _PRODUCT.format(key=column, variants=shown.format(table="v"), products=shown.format(table="p"))
    rows = await fetch(sql, value)
    if not rows:
        raise ProductNotFound("See /api/v1/products for those that exist.")
    return Encoded(encode(_product(rows, currency)), _tag(rows))


async def read_variant(session: AsyncSession, product_id: UUID, variant_id: UUID, *, currency: str) -> Encoded:
    """A variant as staff see it right after changing it; its tag is its product's. Raises VariantNotFound."""
    rows = await session_fetch(session)(_PRODUCT.format(key="id", variants="true", products="true"), product_id)
    for row in rows:
        if row["variant_id"] == variant_id:
            return Encoded(encode(_variant(row, currency)), _tag(rows))
    raise VariantNotFound("Read the product again to see its variants.")


async def look_up_variants(reads: asyncpg.Pool, variant_ids: Sequence[UUID], *, currency: str) -> bytes:
    """What cart needs to know of variants, whether they are still sold or not; unknown ones are absent."""
    rows = await reads.fetch(_LOOKUP, list(variant_ids))
    items = [
        {
            "variant_id": row[0],
            "product_id": row[1],
            "sku": row[2],
            "name": variant_title(row[3], row[4]),
            "image_url": row[5],
            "unit_price": row[6],
            "currency": currency,
            "available": row[7],
            "is_sellable": row[8],
            "product_version": row[9],
            "stock_version": row[10],
        }
        for row in rows
    ]
    return encode({"items": items})


def _tag(rows: Sequence[Any]) -> str:
    # The category's version counts with the stock's: its name is shown too, and a rename is no edit of the product.
    stock = sum(row["stock_version"] or 0 for row in rows)
    return f"{rows[0]['version']}.{stock + rows[0]['category_version']}"


def _product(rows: Sequence[Any], currency: str) -> _Product:
    first = rows[0]
    variants = [_variant(row, currency) for row in rows if row["variant_id"] is not None]
    values = option_values(variant.options for variant in variants)
    return _Product(
        id=first["id"],
        slug=first["slug"],
        name=first["name"],
        category=_Category(first["category_id"], first["category_slug"], first["category_name"]),
        price=_Price(first["price"], currency),
        compare_at_price=_price(first["compare_at_price"], currency),
        in_stock=first["in_stock"],
        is_featured=first["is_featured"],
        image_url=first["image_url"],
        default_variant_id=first["default_variant_id"],
        created_at=first["created_at"],
        description=first["description"],
        attributes=msgspec.Raw(first["attributes"].encode()),
        options=[_Option(name, known) for name, known in values.items()],
        variants=variants,
        is_active=first["is_active"],
        updated_at=first["updated_at"],
    )


def _variant(row: Any, currency: str) -> _Variant:
    return _Variant(
        id=row["variant_id"],
        sku=row["sku"],
        name=row["variant_name"],
        options=msgspec.json.decode(row["options"], type=dict[str, str]),
        price=_Price(row["unit_price"], currency),
        compare_at_price=_price(row["unit_compare_at_price"], currency),
        available=row["available"],
        in_stock=row["available"] > 0 and row["variant_is_active"],
        is_active=row["variant_is_active"],
    )


def _price(amount: int | None, currency: str) -> _Price | None:
    return None if amount is None else _Price(amount, currency)
