"""Catalog's public routes."""

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

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
from catalog.categories import (
    all_categories,
    category_tree,
    change_category,
    create_category,
    delete_category,
    read_category,
)
from catalog.postgres_stockroom import PostgresStockroom
from catalog.product_page import read_product, read_variant
from catalog.products import (
    add_variant,
    change_product,
    change_variant,
    create_product,
    remove_variant,
    withdraw_product,
)
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
from catalog.search import featured_products, list_products
from catalog.stock import adjust_stock, low_stock, movements_of, stock_of
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

IF_MATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "description": "The ETag of what you have read: when somebody has changed it since, nothing is done.",
            "schema": {"type": "string", "examples": ['"3.17"']},
        }
    ]
}

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


@router.get("/categories", response_model=CategoryTree, openapi_extra=access("all"))
async def get_category_tree(request: Request) -> Response:
    """The active categories as a tree."""
    return _answer(await category_tree(_reads(request)), request)


@router.get("/categories/all", response_model=CategoryRows, openapi_extra=access("all"))
async def get_all_categories(request: Request) -> Response:
    """The categories as a flat list, each with its path and the number of products in its subtree."""
    found = await all_categories(_reads(request), for_staff=_is_staff(request))
    return _answer(found, request)


@router.get("/categories/{category}", response_model=CategoryDetail, openapi_extra=access("all"))
async def get_category(request: Request, category: QueryText) -> Response:
    """One category by id or slug, with breadcrumbs and children."""
    found = await read_category(_reads(request).fetch, category, for_staff=_is_staff(request))
    return _answer(found, request)


@router.post("/categories", status_code=201, response_model=CategoryDetail, openapi_extra=access("staff"))
async def post_category(draft: CategoryDraft, session: Session) -> Response:
    """Make a category."""
    category_id = await create_category(session, draft)
    found = await read_category(session_fetch(session), str(category_id), for_staff=True)
    return _changed(found, location=f"/api/v1/categories/{category_id}")


@router.patch("/categories/{category_id}", response_model=CategoryDetail, openapi_extra=access("staff") | IF_MATCH)
async def patch_category(request: Request, category_id: Id, patch: CategoryPatch, session: Session) -> Response:
    """Rename, move or hide a category. Accepts If-Match."""
    await change_category(session, category_id, patch, expected_tag=if_match(request))
    return _changed(await read_category(session_fetch(session), str(category_id), for_staff=True))


@router.delete("/categories/{category_id}", status_code=204, openapi_extra=access("staff") | IF_MATCH)
async def remove_category(request: Request, category_id: Id, session: Session) -> None:
    """Delete an empty category. Accepts If-Match."""
    await delete_category(session, category_id, expected_tag=if_match(request))


@router.get("/products", response_model=ProductPage, openapi_extra=access("all") | described(ProductQuery))
async def get_products(request: Request) -> Response:
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
    found = await list_products(_reads(request), question, currency=_currency(request))
    return _answer(found, request)


def _ordering(query: ProductQuery) -> Ordering:
    wanted: Ordering | None = query.ordering
    if query.search is None:
        return wanted if wanted not in (None, Ordering.RELEVANCE) else Ordering.CREATED_AT_DESCENDING
    return wanted or Ordering.RELEVANCE


@router.get("/products/featured", response_model=FeaturedProducts, openapi_extra=access("all"))
async def get_featured_products(request: Request) -> Response:
    """A short list of products the shop wants to be seen."""
    found = await featured_products(_reads(request), currency=_currency(request))
    return _answer(found, request)


@router.get("/products/low-stock", response_model=LowStockPage, openapi_extra=access("staff"))
async def get_low_stock(query: Annotated[PageQuery, Query()], database: Db) -> LowStockPage:
    """Variants at or below their threshold, the scarcest first."""
    return await low_stock(database.primary_reads, query)


@router.get("/products/{product}", response_model=ProductDetail, openapi_extra=access("all"))
async def get_product(request: Request, product: QueryText) -> Response:
    """One product by id or slug, with its variants. The ETag is "<version>.<stock version>"."""
    is_staff = _is_staff(request)
    fetch = _reads(request).fetch
    found = await read_product(fetch, product, currency=_currency(request), for_staff=is_staff)
    return _answer(found, request)


@router.post("/products", status_code=201, response_model=ProductDetail, openapi_extra=access("staff"))
async def post_product(request: Request, draft: ProductDraft, session: Session, caller: Caller) -> Response:
    """Make a product with its variants and their stock."""
    currency = _currency(request)
    product_id = await create_product(session, draft, currency=currency, actor_id=caller.user_id)
    found = await read_product(session_fetch(session), str(product_id), currency=currency, for_staff=True)
    return _changed(found, location=f"/api/v1/products/{product_id}")


@router.patch("/products/{product_id}", response_model=ProductDetail, openapi_extra=access("staff") | IF_MATCH)
async def patch_product(request: Request, product_id: Id, patch: ProductPatch, session: Session) -> Response:
    """Change a product. Accepts If-Match, of which only the version counts: a sale is no conflict."""
    currency = _currency(request)
    await change_product(session, product_id, patch, currency=currency, expected_tag=if_match(request))
    return _changed(await read_product(session_fetch(session), str(product_id), currency=currency, for_staff=True))


@router.delete("/products/{product_id}", status_code=204, openapi_extra=access("staff") | IF_MATCH)
async def remove_product(request: Request, product_id: Id, session: Session) -> None:
    """Take a product off sale for good; orders keep their snapshots. Accepts If-Match."""
    await withdraw_product(session, product_id, expected_tag=if_match(request))


@router.post(
    "/products/{product_id}/variants",
    status_code=201,
    response_model=VariantAnswer,
    openapi_extra=access("staff") | IF_MATCH,
)
async def post_variant(
    request: Request, product_id: Id, draft: VariantDraft, session: Session, caller: Caller
) -> Response:
    """Add a variant. Accepts If-Match with the product's tag, which is also the answer's."""
    currency, tag = _currency(request), if_match(request)
    variant_id = await add_variant(
        session, product_id, draft, currency=currency, actor_id=caller.user_id, expected_tag=tag
    )
    found = await read_variant(session, product_id, variant_id, currency=currency)
    return _changed(found, location=f"/api/v1/products/{product_id}")


@router.patch(
    "/products/{product_id}/variants/{variant_id}",
    response_model=VariantAnswer,
    openapi_extra=access("staff") | IF_MATCH,
)
async def patch_variant(
    request: Request, product_id: Id, variant_id: Id, patch: VariantPatch, session: Session
) -> Response:
    """Change a variant's SKU, prices, options or threshold. Accepts If-Match with the product's tag."""
    currency, tag = _currency(request), if_match(request)
    await change_variant(session, product_id, variant_id, patch, currency=currency, expected_tag=tag)
    return _changed(await read_variant(session, product_id, variant_id, currency=currency))


@router.delete(
    "/products/{product_id}/variants/{variant_id}", status_code=204, openapi_extra=access("staff") | IF_MATCH
)
async def delete_variant(request: Request, product_id: Id, variant_id: Id, session: Session) -> None:
    """Take a variant off sale for good, unless it is the last one. Accepts If-Match with the product's tag."""
    tag = if_match(request)
    await remove_variant(session, product_id, variant_id, currency=_currency(request), expected_tag=tag)


@router.post(
    "/inventory/{variant_id}/adjustments",
    status_code=201,
    response_model=StockAnswer,
    openapi_extra=access("staff", idempotency="required"),
)
async def post_adjustment(variant_id: Id, adjustment: Adjustment, session: Session, caller: Caller) -> StockAnswer:
    """Add to what is on hand, or take from it; never below what orders hold."""
    return await adjust_stock(
        PostgresStockroom(session),
        variant_id,
        delta=adjustment.delta,
        reason=adjustment.reason,
        actor_id=caller.user_id,
    )


@router.get("/inventory/{variant_id}", response_model=StockAnswer, openapi_extra=access("staff"))
async def get_stock(variant_id: Id, session: Session) -> StockAnswer:
    """What is on hand, reserved and available of a variant."""
    return await stock_of(session, variant_id)


@router.get("/inventory/{variant_id}/movements", response_model=MovementPage, openapi_extra=access("staff"))
async def get_movements(variant_id: Id, query: Annotated[PageQuery, Query()], database: Db) -> MovementPage:
    """The ledger of a variant, newest first."""
    return await movements_of(database.primary_reads, variant_id, query)
