"""Slugs: free ones made from names, and refusals for those that would be mistaken for something else."""

from collections.abc import Set as AbstractSet
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.errors import SlugReserved
from catalog.models import Category, Product
from catalog.wording import id_or_slug, slug_of

PRODUCT_PATHS = frozenset({"featured", "low-stock", "import", "export"})
CATEGORY_PATHS = frozenset({"all"})


def require_free_path(slug: str, reserved: AbstractSet[str]) -> None:
    """Raises SlugReserved for a fixed path of the API or what looks like an id."""
    if slug in reserved or isinstance(id_or_slug(slug)[1], UUID):
        raise SlugReserved("Choose another slug; this one is a fixed path or looks like an id.")


async def product_slug(session: AsyncSession, *, wanted: str | None, name: str) -> str:
    """The slug asked for, or a free one made from the name. Raises SlugReserved."""
    if wanted is not None:
        require_free_path(wanted, PRODUCT_PATHS)
        return wanted
    base = slug_of(name) or "product"
    found = await session.execute(
        select(Product.slug).where(Product.slug.startswith(base, autoescape=True), Product.deleted_at.is_(None))
    )
    return _free(base, taken={*found.scalars(), *PRODUCT_PATHS})


async def category_slug(session: AsyncSession, *, wanted: str | None, name: str) -> str:
    """The slug asked for, or a free one made from the name. Raises SlugReserved."""
    if wanted is not None:
        require_free_path(wanted, CATEGORY_PATHS)
        return wanted
    base = slug_of(name) or "category"
    found = await session.execute(select(Category.slug).where(Category.slug.startswith(base, autoescape=True)))
    return _free(base, taken={*found.scalars(), *CATEGORY_PATHS})


def _free(base: str, *, taken: AbstractSet[str]) -> str:
    if isinstance(id_or_slug(base)[1], UUID):
        base = f"{base}-x"
    number, slug = 1, base
    while slug in taken:
        number += 1
        slug = f"{base}-{number}"
    return slug
