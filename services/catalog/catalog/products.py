"""Staff describe what is for sale: products and their variants.

Every change locks the product, checks the version the caller has read, applies, and tells the others with one
`product.changed`. A deleted product keeps its rows: orders hold snapshots of it, and its ledger stays true.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.errors import LastVariant, VariantNotFound, refusal_for
from catalog.events import ProductWithdrawn
from catalog.levels import lock_levels
from catalog.models import Category, Product, StockLevel, Variant
from catalog.offers import refresh_offers
from catalog.product_changes import (
    add_variants,
    announce_product,
    lock_product,
    refresh_search,
    require_currency,
)
from catalog.schemas import MAX_VARIANTS, ProductDraft, ProductPatch, VariantDraft, VariantPatch
from catalog.slugs import PRODUCT_PATHS, product_slug, require_free_path
from catalog.wording import options_label
from chassis.database import db_now
from chassis.ids import new_id
from chassis.outbox import record
from chassis.problems import FieldError, InputInvalid


async def create_product(session: AsyncSession, draft: ProductDraft, *, currency: str, actor_id: UUID) -> UUID:
    """A new product with its variants; its id. Raises CurrencyUnsupported, SlugReserved, SlugTaken, SkuTaken."""
    for variant in draft.variants:
        require_currency(currency, variant.price, variant.compare_at_price)
    await _require_category(session, draft.category_id)
    product = Product(
        id=new_id(),
        slug=await product_slug(session, wanted=draft.slug, name=draft.name),
        name=draft.name,
        name_key="",
        description=draft.description,
        attributes=draft.attributes,
        category_id=draft.category_id,
        is_featured=draft.is_featured,
        is_active=draft.is_active,
        price=draft.variants[0].price.amount,
        in_stock=False,
        search_name="",
        search_skus="",
        version=0,
    )
    session.add(product)
    try:
        await session.flush()
        await add_variants(session, product.id, draft.variants, position=0, actor_id=actor_id)
    except IntegrityError as error:
        raise refusal_for(error) from error
    await _finish(session, product, currency=currency)
    return product.id


async def change_product(
    session: AsyncSession, product_id: UUID, patch: ProductPatch, *, currency: str, expected_tag: str | None
) -> None:
    """Change what is sent. Raises ProductNotFound, PreconditionFailed, SlugReserved, SlugTaken."""
    product = await lock_product(session, product_id, expected_tag=expected_tag)
    changes = patch.changes()
    if "slug" in changes:
        require_free_path(changes["slug"], PRODUCT_PATHS)
    if "category_id" in changes:
        await _require_category(session, changes["category_id"])
    for name, value in changes.items():
        setattr(product, name, value)
    try:
        await session.flush()
    except IntegrityError as error:
        raise refusal_for(error) from error
    await _finish(session, product, currency=currency)


async def withdraw_product(session: AsyncSession, product_id: UUID, *, expected_tag: str | None) -> None:
    """Take a product off sale for good. What orders hold of it stays theirs. Raises as `change_product`."""
    product = await lock_product(session, product_id, expected_tag=expected_tag)
    product.deleted_at = db_now()  # the database's clock, at the flush
    product.in_stock = False
    product.version += 1
    await session.flush()
    await session.execute(
        update(Variant)
        .where(Variant.product_id == product_id, Variant.deleted_at.is_(None))
        .values(deleted_at=db_now())
    )
    event = ProductWithdrawn(product_id=product_id, version=product.version)
    await record(session, event, subject=product_id, sequence=product.version)


async def add_variant(
    session: AsyncSession,
    product_id: UUID,
    draft: VariantDraft,
    *,
    currency: str,
    actor_id: UUID,
    expected_tag: str | None,
) -> UUID:
    """One more variant; its id. Raises CurrencyUnsupported, SkuTaken, OptionsTaken."""
    require_currency(currency, draft.price, draft.compare_at_price)
    product = await lock_product(session, product_id, expected_tag=expected_tag)
    count, last = (
        await session.execute(
            select(func.count().filter(Variant.deleted_at.is_(None)), func.max(Variant.position)).where(
                Variant.product_id == product_id
            )
        )
    ).one()
    if count >= MAX_VARIANTS:
        raise InputInvalid([FieldError("", "too_many_variants", f"A product has at most {MAX_VARIANTS} variants.")])
    try:
        (variant_id,) = await add_variants(session, product_id, [draft], position=last + 1, actor_id=actor_id)
    except IntegrityError as error:
        raise refusal_for(error) from error
    await _finish(session, product, currency=currency)
    return variant_id


async def change_variant(
    session: AsyncSession,
    product_id: UUID,
    variant_id: UUID,
    patch: VariantPatch,
    *,
    currency: str,
    expected_tag: str | None,
) -> None:
    """Change what is sent. Raises VariantNotFound and as `add_variant`."""
    require_currency(currency, patch.price, patch.compare_at_price)
    changes = patch.changes()
    threshold = changes.pop("low_stock_threshold", None)
    if threshold is not None:
        # Stock levels come before products in the order of locks.
        await lock_levels(session, [variant_id])
    product = await lock_product(session, product_id, expected_tag=expected_tag)
    variant = await _variant_of(session, product_id, variant_id)
    _apply(variant, changes)
    if threshold is not None:
        await session.execute(
            update(StockLevel).where(StockLevel.variant_id == variant_id).values(low_stock_threshold=threshold)
        )
    try:
        await session.flush()
    except IntegrityError as error:
        raise refusal_for(error) from error
    await _finish(session, product, currency=currency)


async def remove_variant(
    session: AsyncSession, product_id: UUID, variant_id: UUID, *, currency: str, expected_tag: str | None
) -> None:
    """Take a variant off sale for good. Raises VariantNotFound, LastVariant."""
    product = await lock_product(session, product_id, expected_tag=expected_tag)
    variant = await _variant_of(session, product_id, variant_id)
    others = await session.execute(
        select(func.count()).where(
            Variant.product_id == product_id, Variant.deleted_at.is_(None), Variant.id != variant_id
        )
    )
    if others.scalar_one() == 0:
        raise LastVariant("Add another variant first, or delete the product.")
    variant.deleted_at = db_now()  # the database's clock, at the flush
    await session.flush()
    await _finish(session, product, currency=currency)


def _apply(variant: Variant, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        is_price = name in ("price", "compare_at_price") and value is not None
        setattr(variant, name, value.amount if is_price else value)
    if "options" in changes:
        variant.name = options_label(variant.options)
    if variant.compare_at_price is not None and variant.compare_at_price <= variant.price:
        raise InputInvalid([FieldError("/compare_at_price", "compare_at_price", "must be higher than the price")])


async def _finish(session: AsyncSession, product: Product, *, currency: str) -> None:
    await refresh_search(session, product)
    await announce_product(session, product, currency=currency)
    await refresh_offers(session, [product.id])


async def _variant_of(session: AsyncSession, product_id: UUID, variant_id: UUID) -> Variant:
    found = await session.execute(
        select(Variant).where(Variant.id == variant_id, Variant.product_id == product_id, Variant.deleted_at.is_(None))
    )
    variant = found.scalar_one_or_none()
    if variant is None:
        raise VariantNotFound("Read the product again to see its variants.")
    return variant


async def _require_category(session: AsyncSession, category_id: UUID) -> None:
    """The share lock keeps the category from being deleted until the product is in it."""
    found = await session.execute(
        select(Category.id).where(Category.id == category_id).with_for_update(read=True, key_share=True)
    )
    if found.first() is None:
        raise InputInvalid([FieldError("/category_id", "category_not_found", "there is no such category")])
