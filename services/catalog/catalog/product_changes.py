"""Changing a product: one lock, one version, one event, whatever part of it is changed."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.errors import CurrencyUnsupported, ProductNotFound
from catalog.events import ChangedVariant, ProductChanged
from catalog.models import Product, SearchWord, StockLevel, StockMovement, Variant
from catalog.postgres_stockroom import PostgresStockroom
from catalog.reading import require_version
from catalog.schemas import Price, VariantDraft
from catalog.stockroom import announce_stock
from catalog.wording import dictionary_words, options_label, search_text, sort_key, variant_title
from chassis.database import db_now
from chassis.ids import new_id
from chassis.outbox import record


async def lock_product(session: AsyncSession, product_id: UUID, *, expected_tag: str | None) -> Product:
    """The product, locked until the transaction ends. Raises ProductNotFound, PreconditionFailed."""
    found = await session.execute(
        select(Product)
        .where(Product.id == product_id, Product.deleted_at.is_(None))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    product = found.scalar_one_or_none()
    if product is None:
        raise ProductNotFound("See /api/v1/products for those that exist.")
    require_version(product.version, expected_tag)
    return product


async def announce_product(session: AsyncSession, product: Product, *, currency: str) -> None:
    """Raise the version and tell the others everything about the product, in the transaction of the change."""
    product.version += 1
    product.updated_at = db_now()  # the database's clock, at the flush
    await session.flush()
    found = await session.execute(
        select(Variant)
        .where(Variant.product_id == product.id, Variant.deleted_at.is_(None))
        .order_by(Variant.position, Variant.id)
    )
    assert product.category_id is not None  # noqa: S101 - a CHECK holds it for products that are not deleted
    event = ProductChanged(
        product_id=product.id,
        version=product.version,
        slug=product.slug,
        name=product.name,
        is_active=product.is_active,
        category_id=product.category_id,
        image_url=product.image_url,
        currency=currency,
        variants=[
            ChangedVariant(
                variant_id=variant.id,
                sku=variant.sku,
                name=variant_title(product.name, variant.name),
                unit_price=variant.price,
                is_active=variant.is_active,
            )
            for variant in found.scalars()
        ],
    )
    await record(session, event, subject=product.id, sequence=product.version)


async def add_variants(
    session: AsyncSession, product_id: UUID, drafts: Sequence[VariantDraft], *, position: int, actor_id: UUID
) -> list[UUID]:
    """New variants with their stock and the first row of their ledger; their ids."""
    variants = [_variant(product_id, draft, position=place) for place, draft in enumerate(drafts, start=position)]
    session.add_all(variants)
    await session.flush()
    for variant, draft in zip(variants, drafts, strict=True):
        session.add(
            StockLevel(
                variant_id=variant.id,
                product_id=product_id,
                on_hand=draft.stock,
                reserved=0,
                low_stock_threshold=draft.low_stock_threshold,
                stock_version=1,
            )
        )
        if draft.stock:
            session.add(
                StockMovement(
                    variant_id=variant.id, kind="initial", delta=draft.stock, on_hand=draft.stock, actor_id=actor_id
                )
            )
    await session.flush()
    ids = [variant.id for variant in variants]
    # Nobody else can see these rows yet, so taking their locks after the product's cannot block.
    room = PostgresStockroom(session)
    levels = await room.lock_levels(ids)
    for variant_id in ids:
        await announce_stock(room, levels[variant_id])
    return ids


def _variant(product_id: UUID, draft: VariantDraft, *, position: int) -> Variant:
    return Variant(
        id=new_id(),
        product_id=product_id,
        sku=draft.sku,
        name=options_label(draft.options),
        options=draft.options,
        price=draft.price.amount,
        compare_at_price=draft.compare_at_price.amount if draft.compare_at_price else None,
        is_active=draft.is_active,
        position=position,
    )


def require_currency(currency: str, *prices: Price | None) -> None:
    """Raises CurrencyUnsupported for a price that is not in the shop's currency."""
    if any(price is not None and price.currency != currency for price in prices):
        raise CurrencyUnsupported(f"Give every price in {currency}.")


async def refresh_search(session: AsyncSession, product: Product) -> None:
    """What the product is found and sorted by, after its name or SKUs changed."""
    skus = await session.execute(
        select(Variant.sku)
        .where(Variant.product_id == product.id, Variant.deleted_at.is_(None))
        .order_by(Variant.position, Variant.id)
    )
    product.name_key = sort_key(product.name)
    product.search_name = search_text(product.name)
    product.search_skus = search_text(*skus.scalars())
    words = dictionary_words(product.name)
    if words:
        # In one fixed order, so that two products with the same new words wait instead of deadlocking.
        new_words = [{"word": word} for word in words]
        await session.execute(insert(SearchWord).values(new_words).on_conflict_do_nothing())
