"""Cart's own copy of what it needs of the catalogue, so that carts work while catalog is down.

Events keep the copy fresh; a variant met for the first time is looked up at catalog, before any transaction. Each
row is guarded by the version that catalog gave it: older news changes nothing, so any order of arrival, repetition
or loss of earlier news ends in the same copy. Nothing is ever deleted: a cart goes on showing what was withdrawn.
"""

from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from cart.errors import CatalogUnavailable, VariantNotFound
from cart.events import ProductChanged, ProductWithdrawn, StockChanged
from cart.locked_cart import Offer
from cart.models import ProductCopy, VariantCopy
from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.database import Database
from chassis.events import Reader
from chassis.plain_sql import end_with
from chassis.telemetry import get_logger

_OFFER = "SELECT * FROM offers WHERE variant_id = $1 AND available IS NOT NULL"
# Every sale brings news of stock, so this one goes with the commit.
_COUNT = """
    INSERT INTO stock_copies (variant_id, available, stock_version) VALUES ($1, $2, $3)
    ON CONFLICT (variant_id) DO UPDATE
    SET available = excluded.available, stock_version = excluded.stock_version
    WHERE stock_copies.stock_version < excluded.stock_version
"""


class CatalogVariant(Reader):
    """A variant as catalog answers a lookup."""

    variant_id: UUID
    product_id: UUID
    product_version: int
    sku: str
    name: str
    image_url: str | None = None
    unit_price: int
    currency: str
    is_sellable: bool
    available: int
    stock_version: int


class CatalogVariants(Reader):
    """The answer to a lookup; unknown variants are absent."""

    items: list[CatalogVariant]


async def find_offer(database: Database, catalog: InternalClient, variant_id: UUID) -> Offer:
    """What is offered of a variant; asks catalog only about one of which the copy has never heard.

    Raises VariantNotFound, or CatalogUnavailable when it must be asked and does not answer.
    """
    known: Any = await database.primary_reads.fetchrow(_OFFER, variant_id)
    if known is None:
        found = await _look_up(catalog, variant_id)
        async with database.transaction() as session:
            await _store(session, found)
        known = await database.primary_reads.fetchrow(_OFFER, variant_id)
    return Offer(*known)


async def on_product_changed(session: AsyncSession, event: ProductChanged) -> None:
    """Take over a product whole. A variant that its newest version does not list is no longer sellable."""
    await _announce(session, event.product_id, event.version, is_withdrawn=False)
    # In the order of their ids: two messages about one product must not wait for each other.
    for variant in sorted(event.variants, key=lambda listed: listed.variant_id):
        await _describe(
            session,
            VariantCopy(
                variant_id=variant.variant_id,
                product_id=event.product_id,
                product_version=event.version,
                sku=variant.sku,
                name=variant.name,
                image_url=event.image_url,
                unit_price=variant.unit_price,
                currency=event.currency,
                is_active=event.is_active and variant.is_active,
            ),
        )


async def on_product_withdrawn(session: AsyncSession, event: ProductWithdrawn) -> None:
    """None of its variants is sold any more."""
    await _announce(session, event.product_id, event.version, is_withdrawn=True)


async def on_stock_changed(session: AsyncSession, event: StockChanged) -> None:
    """So many can be had now."""
    _count(session, event.variant_id, available=event.available, stock_version=event.stock_version)


async def _look_up(catalog: InternalClient, variant_id: UUID) -> CatalogVariant:
    try:
        reply = await catalog.call("POST", "/internal/variants/lookup", json={"ids": [str(variant_id)]})
    except UpstreamUnavailable as error:
        raise CatalogUnavailable from error
    if reply.status != 200:
        get_logger().error("catalog refuses lookups", status=reply.status)
        raise CatalogUnavailable
    for variant in CatalogVariants.model_validate(reply.data).items:
        if variant.variant_id == variant_id:
            return variant
    raise VariantNotFound(variant_id)


async def _store(session: AsyncSession, found: CatalogVariant) -> None:
    await _describe(
        session,
        VariantCopy(
            variant_id=found.variant_id,
            product_id=found.product_id,
            product_version=found.product_version,
            sku=found.sku,
            name=found.name,
            image_url=found.image_url,
            unit_price=found.unit_price,
            currency=found.currency,
            is_active=found.is_sellable,
        ),
    )
    _count(session, found.variant_id, available=found.available, stock_version=found.stock_version)


async def _announce(session: AsyncSession, product_id: UUID, version: int, *, is_withdrawn: bool) -> None:
    announced = insert(ProductCopy).values(product_id=product_id, version=version, is_withdrawn=is_withdrawn)
    new = announced.excluded
    # Of one version the withdrawal is the last word.
    is_newer = ProductCopy.version < new.version if not is_withdrawn else ProductCopy.version <= new.version
    await session.execute(
        announced.on_conflict_do_update(
            index_elements=[ProductCopy.product_id],
            set_={"version": new.version, "is_withdrawn": new.is_withdrawn},
            where=is_newer,
        )
    )


async def _describe(session: AsyncSession, copy: VariantCopy) -> None:
    columns = [column.name for column in VariantCopy.__table__.columns]
    described = insert(VariantCopy).values({name: getattr(copy, name) for name in columns})
    await session.execute(
        described.on_conflict_do_update(
            index_elements=[VariantCopy.variant_id],
            set_={name: described.excluded[name] for name in columns if name != "variant_id"},
            where=VariantCopy.product_version < described.excluded.product_version,
        )
    )


def _count(session: AsyncSession, variant_id: UUID, *, available: int, stock_version: int) -> None:
    end_with(session, _COUNT, variant_id, available, stock_version)
