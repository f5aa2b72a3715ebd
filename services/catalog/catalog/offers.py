"""What the product list shows of a product's variants, kept on the product itself.

The offer is the variant a shopper would take: the cheapest that can be bought now, or the cheapest at all when none
can. Its price is the product's price, so `price`, `default_variant_id` and `in_stock` always speak of the same thing.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.models import Product

_REFRESH = text("""
    UPDATE products AS product
    SET price = offer.price,
        compare_at_price = offer.compare_at_price,
        default_variant_id = CASE WHEN offer.is_active THEN offer.id END,
        in_stock = offer.is_active AND offer.is_available
    FROM (
        SELECT DISTINCT ON (variant.product_id)
            variant.product_id, variant.id, variant.price, variant.compare_at_price, variant.is_active,
            level.on_hand > level.reserved AS is_available
        FROM variants AS variant
        JOIN stock_levels AS level ON level.variant_id = variant.id
        WHERE variant.product_id = ANY (CAST(:product_ids AS uuid[])) AND variant.deleted_at IS NULL
        ORDER BY variant.product_id, variant.is_active DESC, (level.on_hand > level.reserved) DESC,
            variant.price, variant.position, variant.id
    ) AS offer
    WHERE product.id = offer.product_id
""")


async def refresh_offers(session: AsyncSession, product_ids: Collection[UUID], *, lock: bool = False) -> None:
    """Work out the offers of the products anew. `lock` unless the caller already holds the products' rows.

    The lock comes in a statement before: the second one then sees what whoever held it has committed.
    """
    if not product_ids:
        return
    if lock:
        await session.execute(
            select(Product.id)
            .where(Product.id.in_(list(product_ids)))
            .order_by(Product.id)
            .with_for_update(key_share=True)
        )
    await session.execute(_REFRESH, {"product_ids": list(product_ids)})
