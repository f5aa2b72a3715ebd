"""Catalog's public routes."""

from typing import Annotated, Any

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from catalog import categories, product_page, products, search, stock
from catalog.answers import (
    CategoryDetail,
    CategoryRows,
    CategoryTree,
    FeaturedProducts,
    LowStockPage,
    MovementPage,
    ProductDetail,
    ProductPage,
    StockAnswer,
    VariantAnswer,
)
from catalog.conditional_requests import CHANGED, CREATED, IF_MATCH, IF_NONE_MATCH, READ
from catalog.postgres_stockroom import PostgresStockroom
from catalog.query_parameters import described, read_query
from catalog.questions import Ordering, ProductQuestion
from catalog.reading import session_fetch
from catalog.schemas import (
    Adjustment,
    CategoryDraft,
    CategoryPatch,
    ProductDraft,
    ProductPatch,
    ProductQuery,
    VariantDraft,
    VariantPatch,
)
from chassis.auth import Principal
from chassis.caching import Encoded, if_match
from chassis.database import Database
from chassis.pagination import PageQuery
from chassis.problems import RoleRequired
from chassis.routes import Caller, Db, Router, Session, access
from chassis.strict import Id, QueryText

PUBLIC = "public, max-age=30, stale-while-revalidate=60, stale-if-error=300"
"""Without catalog the shop can be looked at for five minutes more; what is bought, and for how much, is asked anew."""
PRIVATE = "no-store"

CategoryId = Annotated[Id, Path(alias="category", description="Its id.")]
ProductId = Annotated[Id, Path(alias="product", description="Its id.")]
IdOrSlug = Annotated[QueryText, Path(description="Its id or its slug.")]

router = Router(prefix="/api/v1", tags=["catalog"])


def _currency(request: Request) -> str:
    currency: str = request.app.state.service.settings.currency
    return currency


# Hot reads take these from the request: asking FastAPI for them costs a tenth of what a page does.
def _is_staff(request: Request) -> bool:
    caller: Principal | None = request.state.principal
    return caller is not None and caller.is_staff


def _reads(request: Request) -> Any:
    """Staff see their own last write: they read the primary."""
    database: Database = request.app.state.service.database
    return database.primary_reads if _is_staff(request) else database.reads


def _answer(found: Encoded, request: Request) -> Response:
    return found.response(request, cache_control=PRIVATE if _is_staff(request) else PUBLIC)


def _changed(found: Encoded, *, location: str | None = None) -> Response:
    headers = {"etag": f'"{found.etag}"', "cache-control": PRIVATE}
    if location is not None:
        headers["location"] = location
    status = 201 if location is not None else 200
    return Response(found.body, status_code=status, media_type="application/json", headers=headers)


@router.get("/categories", response_model=CategoryTree, responses=READ, openapi_extra=access("all") | IF_NONE_MATCH)
async def read_category_tree(request: Request) -> Response:
    """The active categories as a tree."""
    return _answer(await categories.category_tree(_reads(request)), request)


@router.get("/categories/all", response_model=CategoryRows, responses=READ, openapi_extra=access("all") | IF_NONE_MATCH)
async def list_categories(request: Request) -> Response:
    """The categories as a flat list, each with its path and the number of products in its subtree."""
    found = await categories.all_categories(_reads(request), for_staff=_is_staff(request))
    return _answer(found, request)


@router.get(
    "/categories/{category}", response_model=CategoryDetail, responses=READ, openapi_extra=access("all") | IF_NONE_MATCH
)
async def read_category(request: Request, category: IdOrSlug) -> Response:
    """One category by id or slug, with breadcrumbs and children."""
    found = await categories.read_category(_reads(request).fetch, category, for_staff=_is_staff(request))
    return _answer(found, request)


@router.post(
    "/categories", status_code=201, response_model=CategoryDetail, responses=CREATED, openapi_extra=access("staff")
)
async def create_category(draft: CategoryDraft, session: Session) -> Response:
    """Make a category."""
    category_id = await categories.create_category(session, draft)
    found = await categories.read_category(session_fetch(session), str(category_id), for_staff=True)
    return _changed(found, location=f"/api/v1/categories/{category_id}")


@router.patch(
    "/categories/{category}", response_model=CategoryDetail, responses=CHANGED, openapi_extra=access("staff") | IF_MATCH
)
async def change_category(
    request: Request, category_id: CategoryId, patch: CategoryPatch, session: Session
) -> Response:
    """Rename, move or hide a category. Accepts If-Match."""
    await categories.change_category(session, category_id, patch, expected_tag=if_match(request))
    return _changed(await categories.read_category(session_fetch(session), str(category_id), for_staff=True))


@router.delete("/categories/{category}", status_code=204, openapi_extra=access("staff") | IF_MATCH)
async def delete_category(request: Request, category_id: CategoryId, session: Session) -> None:
    """Delete an empty category. Accepts If-Match."""
    await categories.delete_category(session, category_id, expected_tag=if_match(request))


@router.get(
    "/products",
    response_model=ProductPage,
    responses=READ,
    openapi_extra=access("all") | {"parameters": described(ProductQuery) + IF_NONE_MATCH["parameters"]},
)
async def list_products(request: Request) -> Response:
    """Products by search, category subtree, price, stock; in pages that cost the same however deep they are.

    `relevance` is the default order when `search` is given and ends after the best 1,000; otherwise newest first.
    `is_active` is for staff, who see inactive products too.
    """
    query = read_query(request, ProductQuery)
    if query.is_active is not None and not _is_staff(request):
        raise RoleRequired("Only staff can ask for inactive products; leave is_active out.")
    fields = query.model_dump(exclude={"ordering", "is_active"})
    question = ProductQuestion(
        **fields,
        ordering=_ordering(query),
        is_active=query.is_active if _is_staff(request) else True,
    )
    found = await search.list_products(_reads(request), question, currency=_currency(request))
    return _answer(found, request)


def _ordering(query: ProductQuery) -> Ordering:
    wanted: Ordering | None = query.ordering
    if query.search is None:
        return wanted if wanted not in (None, Ordering.RELEVANCE) else Ordering.CREATED_AT_DESCENDING
    return wanted or Ordering.RELEVANCE


@router.get(
    "/products/featured", response_model=FeaturedProducts, responses=READ, openapi_extra=access("all") | IF_NONE_MATCH
)
async def list_featured_products(request: Request) -> Response:
    """A short list of products the shop wants to be seen."""
    found = await search.featured_products(_reads(request), currency=_currency(request))
    return _answer(found, request)


@router.get("/products/low-stock", response_model=LowStockPage, openapi_extra=access("staff"))
async def list_low_stock(query: Annotated[PageQuery, Query()], database: Db) -> LowStockPage:
    """Variants at or below their threshold, the scarcest first."""
    return await stock.low_stock(database.primary_reads, query)


@router.get(
    "/products/{product}", response_model=ProductDetail, responses=READ, openapi_extra=access("all") | IF_NONE_MATCH
)
async def read_product(request: Request, product: IdOrSlug) -> Response:
    """One product by id or slug, with its variants. The ETag is "<version>.<stock version>"."""
    is_staff = _is_staff(request)
    fetch = _reads(request).fetch
    found = await product_page.read_product(fetch, product, currency=_currency(request), for_staff=is_staff)
    return _answer(found, request)


@router.post(
    "/products", status_code=201, response_model=ProductDetail, responses=CREATED, openapi_extra=access("staff")
)
async def create_product(request: Request, draft: ProductDraft, session: Session, caller: Caller) -> Response:
    """Make a product with its variants and their stock."""
    currency = _currency(request)
    product_id = await products.create_product(session, draft, currency=currency, actor_id=caller.user_id)
    found = await product_page.read_product(session_fetch(session), str(product_id), currency=currency, for_staff=True)
    return _changed(found, location=f"/api/v1/products/{product_id}")


@router.patch(
    "/products/{product}", response_model=ProductDetail, responses=CHANGED, openapi_extra=access("staff") | IF_MATCH
)
async def change_product(request: Request, product_id: ProductId, patch: ProductPatch, session: Session) -> Response:
    """Change a product. Accepts If-Match, of which only the version counts: a sale is no conflict."""
    currency = _currency(request)
    await products.change_product(session, product_id, patch, currency=currency, expected_tag=if_match(request))
    return _changed(
        await product_page.read_product(session_fetch(session), str(product_id), currency=currency, for_staff=True)
    )


@router.delete("/products/{product}", status_code=204, openapi_extra=access("staff") | IF_MATCH)
async def withdraw_product(request: Request, product_id: ProductId, session: Session) -> None:
    """Take a product off sale for good; orders keep their snapshots. Accepts If-Match."""
    await products.withdraw_product(session, product_id, expected_tag=if_match(request))


@router.post(
    "/products/{product_id}/variants",
    status_code=201,
    response_model=VariantAnswer,
    responses=CREATED,
    openapi_extra=access("staff") | IF_MATCH,
)
async def add_variant(
    request: Request, product_id: Id, draft: VariantDraft, session: Session, caller: Caller
) -> Response:
    """Add a variant. Accepts If-Match with the product's tag, which is also the answer's."""
    currency, tag = _currency(request), if_match(request)
    variant_id = await products.add_variant(
        session, product_id, draft, currency=currency, actor_id=caller.user_id, expected_tag=tag
    )
    found = await product_page.read_variant(session, product_id, variant_id, currency=currency)
    return _changed(found, location=f"/api/v1/products/{product_id}")


@router.patch(
    "/products/{product_id}/variants/{variant_id}",
    response_model=VariantAnswer,
    responses=CHANGED,
    openapi_extra=access("staff") | IF_MATCH,
)
async def change_variant(
    request: Request, product_id: Id, variant_id: Id, patch: VariantPatch, session: Session
) -> Response:
    """Change a variant's SKU, prices, options or threshold. Accepts If-Match with the product's tag."""
    currency, tag = _currency(request), if_match(request)
    await products.change_variant(session, product_id, variant_id, patch, currency=currency, expected_tag=tag)
    return _changed(await product_page.read_variant(session, product_id, variant_id, currency=currency))


@router.delete(
    "/products/{product_id}/variants/{variant_id}", status_code=204, openapi_extra=access("staff") | IF_MATCH
)
async def remove_variant(request: Request, product_id: Id, variant_id: Id, session: Session) -> None:
    """Take a variant off sale for good, unless it is the last one. Accepts If-Match with the product's tag."""
    tag = if_match(request)
    await products.remove_variant(session, product_id, variant_id, currency=_currency(request), expected_tag=tag)


@router.post(
    "/inventory/{variant_id}/adjustments",
    status_code=201,
    response_model=StockAnswer,
    openapi_extra=access("staff", idempotency="required"),
)
async def adjust_stock(variant_id: Id, adjustment: Adjustment, session: Session, caller: Caller) -> StockAnswer:
    """Add to what is on hand, or take from it; never below what orders hold."""
    return await stock.adjust_stock(
        PostgresStockroom(session),
        variant_id,
        delta=adjustment.delta,
        reason=adjustment.reason,
        actor_id=caller.user_id,
    )


@router.get("/inventory/{variant_id}", response_model=StockAnswer, openapi_extra=access("staff"))
async def read_stock(variant_id: Id, session: Session) -> StockAnswer:
    """What is on hand, reserved and available of a variant."""
    return await stock.stock_of(session, variant_id)


@router.get("/inventory/{variant_id}/movements", response_model=MovementPage, openapi_extra=access("staff"))
async def list_movements(variant_id: Id, query: Annotated[PageQuery, Query()], database: Db) -> MovementPage:
    """The ledger of a variant, newest first."""
    return await stock.movements_of(database.primary_reads, variant_id, query)
