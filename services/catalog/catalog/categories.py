"""The tree of categories: how shoppers find their way, and how staff shape it.

Every category carries the ids from the root down to itself, so a subtree, a breadcrumb and a cycle are one look
each. Changes of the tree take one lock on the table, which readers and writers of products never wait for.
"""

import hashlib
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.errors import CategoryCycle, CategoryNotEmpty, CategoryNotFound, CategoryTooDeep, refusal_for
from catalog.models import Category, Product
from catalog.reading import Fetch, require_version
from catalog.schemas import CategoryDraft, CategoryPatch
from catalog.slugs import CATEGORY_PATHS, category_slug, require_free_path
from catalog.wording import id_or_slug
from chassis.caching import Encoded, encode
from chassis.database import db_now
from chassis.ids import new_id
from chassis.problems import FieldError, InputInvalid

MAX_DEPTH = 10


class _Node(msgspec.Struct):
    id: UUID
    slug: str
    name: str
    description: str
    children: list["_Node"]


_TREE = """
    SELECT id, parent_id, slug, name, description FROM categories WHERE is_active
    ORDER BY cardinality(ancestor_ids), position, name, id
"""
_ALL = """
    SELECT c.id, c.parent_id, c.slug, c.name, c.is_active,
        ARRAY(
            SELECT a.name FROM categories a WHERE a.id = ANY (c.ancestor_ids) ORDER BY cardinality(a.ancestor_ids)
        ) AS path,
        cardinality(c.ancestor_ids) AS depth, coalesce(below.count, 0)::bigint AS product_count
    FROM categories c
    LEFT JOIN (
        SELECT x.ancestor_id, sum(own.count) AS count
        FROM (SELECT category_id, count(*) FROM products WHERE deleted_at IS NULL AND is_active GROUP BY 1) AS own
        JOIN categories d ON d.id = own.category_id
        CROSS JOIN unnest(d.ancestor_ids) AS x (ancestor_id)
        GROUP BY 1
    ) AS below ON below.ancestor_id = c.id
    WHERE {shown}
    ORDER BY path, c.id
"""
_SHOWN = "NOT EXISTS (SELECT FROM categories a WHERE a.id = ANY (c.ancestor_ids) AND NOT a.is_active)"
_REF = "jsonb_build_object('id', r.id, 'slug', r.slug, 'name', r.name)"
_ONE = f"""
    SELECT c.id, c.parent_id, c.slug, c.name, c.description, c.position, c.is_active, c.updated_at, c.version,
        (SELECT jsonb_agg({_REF} ORDER BY cardinality(r.ancestor_ids))::text
            FROM categories r WHERE r.id = ANY (c.ancestor_ids)) AS breadcrumbs,
        (SELECT coalesce(jsonb_agg({_REF} ORDER BY r.position, r.name, r.id), '[]')::text
            FROM categories r WHERE r.parent_id = c.id AND {{children}}) AS children
    FROM categories c WHERE c.{{key}} = $1 AND {{shown}}
"""  # noqa: S608 - made of constants


async def category_tree(reads: asyncpg.Pool) -> Encoded:
    """The active categories, nested; what lies below an inactive one is not shown."""
    roots: list[_Node] = []
    nodes: dict[UUID, _Node] = {}
    for row in await reads.fetch(_TREE):
        siblings = roots if row[1] is None else nodes[row[1]].children if row[1] in nodes else None
        if siblings is not None:
            nodes[row[0]] = node = _Node(row[0], row[2], row[3], row[4], [])
            siblings.append(node)
    return _by_content({"items": roots})


async def all_categories(reads: asyncpg.Pool, *, for_staff: bool) -> Encoded:
    """The same, flat, parents before children; staff see inactive ones too."""
    rows = await reads.fetch(_ALL.format(shown="true" if for_staff else _SHOWN))
    return _by_content({"items": [dict(row) for row in rows]})


async def read_category(fetch: Fetch, key: str, *, for_staff: bool) -> Encoded:
    """One category by id or slug, with the way to it and what lies below. Raises CategoryNotFound."""
    column, value = id_or_slug(key)
    shown = ("true", "true") if for_staff else (_SHOWN, "r.is_active")
    rows = await fetch(_ONE.format(key=column, shown=shown[0], children=shown[1]), value)
    if not rows:
        raise CategoryNotFound("See /api/v1/categories for those that exist.")
    found = dict(rows[0])
    version = found.pop("version")
    for name in ("breadcrumbs", "children"):
        found[name] = msgspec.Raw(found[name].encode())
    body = encode(found)
    # Names of relatives are shown too, so the tag says more than the version; If-Match compares only that.
    return Encoded(body, f"{version}.{_digest(body)}")


async def create_category(session: AsyncSession, draft: CategoryDraft) -> UUID:
    """A new category; its id. Raises SlugReserved, SlugTaken, CategoryTooDeep."""
    await _lock_tree(session)
    category_id = new_id()
    category = Category(
        id=category_id,
        parent_id=draft.parent_id,
        ancestor_ids=[*await _path_of_parent(session, draft.parent_id), category_id],
        slug=await category_slug(session, wanted=draft.slug, name=draft.name),
        name=draft.name,
        description=draft.description,
        position=draft.position,
        is_active=draft.is_active,
        version=1,
    )
    session.add(category)
    await _flush(session)
    return category_id


async def change_category(
    session: AsyncSession, category_id: UUID, patch: CategoryPatch, *, expected_tag: str | None
) -> None:
    """Change what is sent. Raises CategoryCycle, CategoryTooDeep, SlugReserved, SlugTaken, PreconditionFailed."""
    await _lock_tree(session)
    category = await _category(session, category_id, expected_tag=expected_tag)
    changes = patch.changes()
    if "slug" in changes:
        require_free_path(changes["slug"], CATEGORY_PATHS)
    if "parent_id" in changes and changes["parent_id"] != category.parent_id:
        await _move(session, category, changes["parent_id"])
    for name, value in changes.items():
        setattr(category, name, value)
    category.version += 1
    category.updated_at = db_now()  # the database's clock, at the flush
    await _flush(session)


async def delete_category(session: AsyncSession, category_id: UUID, *, expected_tag: str | None) -> None:
    """Delete an empty category. Raises CategoryNotFound, CategoryNotEmpty, PreconditionFailed."""
    await _lock_tree(session)
    category = await _category(session, category_id, expected_tag=expected_tag)
    children = await session.execute(select(func.count()).where(Category.parent_id == category.id))
    products = await session.execute(
        select(func.count()).where(Product.category_id == category.id, Product.deleted_at.is_(None))
    )
    if children.scalar_one() or products.scalar_one():
        raise CategoryNotEmpty("Move or delete its products and categories first.")
    await session.execute(update(Product).where(Product.category_id == category.id).values(category_id=None))
    await session.execute(delete(Category).where(Category.id == category.id))


async def _lock_tree(session: AsyncSession) -> None:
    # Conflicts with itself and with writers of categories, not with the share locks of products' foreign keys.
    await session.execute(text("LOCK TABLE categories IN SHARE ROW EXCLUSIVE MODE"))


async def _category(session: AsyncSession, category_id: UUID, *, expected_tag: str | None) -> Category:
    # The row lock waits for products that are being put into the category.
    found = await session.execute(select(Category).where(Category.id == category_id).with_for_update())
    category = found.scalar_one_or_none()
    if category is None:
        raise CategoryNotFound("See /api/v1/categories/all for those that exist.")
    require_version(category.version, expected_tag)
    return category


async def _path_of_parent(session: AsyncSession, parent_id: UUID | None) -> list[UUID]:
    if parent_id is None:
        return []
    found = await session.execute(select(Category.ancestor_ids).where(Category.id == parent_id))
    path = found.scalar_one_or_none()
    if path is None:
        raise InputInvalid([FieldError("/parent_id", "category_not_found", "there is no such category")])
    if len(path) >= MAX_DEPTH:
        raise CategoryTooDeep(f"The tree may be {MAX_DEPTH} levels deep; choose a parent higher up.")
    return list(path)


async def _move(session: AsyncSession, category: Category, parent_id: UUID | None) -> None:
    """Put a category below another parent, and everything below it along."""
    path = await _path_of_parent(session, parent_id)
    if category.id in path:
        raise CategoryCycle("Choose a parent that is not the category itself and not below it.")
    depth = len(category.ancestor_ids)
    deepest = await session.execute(
        select(func.max(func.cardinality(Category.ancestor_ids))).where(Category.ancestor_ids.contains([category.id]))
    )
    if len(path) + 1 + (deepest.scalar_one() - depth) > MAX_DEPTH:
        raise CategoryTooDeep(f"The tree may be {MAX_DEPTH} levels deep; choose a parent higher up.")
    await session.execute(
        text("""
            UPDATE categories
            SET ancestor_ids = CAST(:path AS uuid[]) || ancestor_ids[CAST(:depth AS int) :],
                version = version + (id <> :id)::int
            WHERE ancestor_ids @> ARRAY[CAST(:id AS uuid)]
        """),
        {"path": path, "depth": depth, "id": category.id},
    )
    await session.refresh(category)


async def _flush(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        raise refusal_for(error) from error


def _by_content(document: dict[str, object]) -> Encoded:
    body = encode(document)
    return Encoded(body, _digest(body))


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=12).hexdigest()
