"""The cart of the caller: a user's by access token, a guest's by cart token, both merged when both come along."""

from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from cart import catalog_copy, contents, items, merging
from cart.contents import Document
from cart.locked_cart import new_guest_cart
from cart.merging import Opened
from cart.schemas import AddItem, Cart, ChangeItem, MergeCart
from cart.settings import CartSettings
from cart.shopper import (
    COOKIE,
    HEADER,
    Shopper,
    clear_cookie,
    hand_out_token,
    hash_token,
    keep_cookie,
    new_token,
    refuse_foreign_origin,
    shopper_of,
)
from chassis.caching import encode
from chassis.idempotency import Attempt, claim, fingerprint, remember
from chassis.routes import Db, IdempotencyKey, Router, Session, access
from chassis.strict import Id

router = Router(prefix="/api/v1", tags=["cart"])


async def _reading(request: Request) -> Shopper:
    return shopper_of(request)


async def _writing(request: Request) -> Shopper:
    refuse_foreign_origin(request, _settings(request))
    return shopper_of(request)


Reading = Annotated[Shopper, Depends(_reading)]
Writing = Annotated[Shopper, Depends(_writing)]

_TOKEN: dict[str, Any] = {"required": False, "schema": {"type": "string"}}
_GUEST = {
    "parameters": [
        {"name": HEADER, "in": "header", "description": "A guest's token, for apps.", **_TOKEN},
        {"name": COOKIE, "in": "cookie", "description": "A guest's token, for browsers.", **_TOKEN},
    ]
}
_ISSUED: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": {
            HEADER: {"description": "A newcomer's token; also set as cookie.", "schema": {"type": "string"}},
        }
    }
}


@router.get("/cart", response_model=Cart, openapi_extra=access("all", transaction=False) | _GUEST)
async def read_cart(request: Request, shopper: Reading, database: Db) -> Response:
    """The cart, with today's prices and stock. A newcomer gets an empty one, and nothing is stored."""
    currency = _settings(request).currency
    seen = await contents.read(database, user_id=shopper.user_id, token_hash=shopper.token_hash, currency=currency)
    if seen.guest_waits:
        async with database.transaction() as session:
            return await _answer(request, shopper, await _open(session, shopper))
    return _response(request, shopper, seen.document)


@router.post(
    "/cart/items",
    status_code=201,
    response_model=Cart,
    responses=_ISSUED,
    openapi_extra=access("all", transaction=False) | _GUEST,
)
async def add_item(request: Request, body: AddItem, shopper: Writing, database: Db, key: IdempotencyKey) -> Response:
    """Add a variant; one that is in the cart already adds up. A newcomer gets a cart and its token."""
    offer = await catalog_copy.find_offer(database, request.app.state.catalog, body.variant_id)
    # A newcomer's cart is made in one statement.
    async with database.one_statement() if shopper.is_new else database.transaction() as session:
        opened = await _open(session, shopper)
        cart, token = opened.cart, None
        if cart is None:
            token = new_token()
            cart = new_guest_cart(session, hash_token(token))
            opened, shopper = Opened(cart, []), Shopper(None, token, by_cookie=False)
        # A newcomer is no known caller: the token, of which nobody may keep more than the hash, is in the answer.
        attempt = await _attempt(request, shopper, key) if key and token is None else None
        if attempt is not None and (stored := await claim(session, attempt)) is not None:
            return stored
        items.add(cart, offer, quantity=body.quantity)
        response = await _answer(request, shopper, opened, status=201)
        if attempt is not None:
            await remember(session, attempt, response)
    if token is not None:
        hand_out_token(response, token, _settings(request))
    return response


@router.patch("/cart/items/{item_id}", response_model=Cart, openapi_extra=access("all") | _GUEST)
async def change_item(request: Request, item_id: Id, body: ChangeItem, shopper: Writing, session: Session) -> Response:
    """Set the quantity of an item."""
    opened = await _open(session, shopper)
    items.change(opened.cart, item_id=item_id, quantity=body.quantity)
    return await _answer(request, shopper, opened)


@router.delete("/cart/items/{item_id}", response_model=Cart, openapi_extra=access("all") | _GUEST)
async def remove_item(request: Request, item_id: Id, shopper: Writing, session: Session) -> Response:
    """Take an item out."""
    opened = await _open(session, shopper)
    items.remove(opened.cart, item_id=item_id)
    return await _answer(request, shopper, opened)


@router.delete("/cart", response_model=Cart, openapi_extra=access("all") | _GUEST)
async def clear_cart(request: Request, shopper: Writing, session: Session) -> Response:
    """Take everything out; the cart itself stays."""
    opened = await _open(session, shopper)
    items.clear(opened.cart)
    return await _answer(request, shopper, opened)


@router.post("/cart/merge", response_model=Cart, openapi_extra=access("user") | _GUEST)
async def merge_cart(request: Request, shopper: Reading, session: Session, body: MergeCart | None = None) -> Response:
    """Merge a guest's cart, by token in body, header or cookie, into the caller's: once, then the token is dead."""
    if body is not None and body.token is not None:
        shopper = Shopper(shopper.user_id, body.token, by_cookie=shopper.by_cookie and body.token == shopper.token)
    return await _answer(request, shopper, await _open(session, shopper))


def _settings(request: Request) -> CartSettings:
    settings: CartSettings = request.app.state.settings
    return settings


async def _open(session: AsyncSession, shopper: Shopper) -> Opened:
    return await merging.open_cart(session, user_id=shopper.user_id, token_hash=shopper.token_hash)


async def _attempt(request: Request, shopper: Shopper, key: str) -> Attempt | None:
    # Claimed here rather than by the route class: the variant is looked up first, outside any transaction.
    if shopper.key_scope is None:
        return None
    content = fingerprint(request.url.query.encode(), await request.body())
    return Attempt(shopper.key_scope, f"{request.method} {request.url.path}", key, content)


async def _answer(request: Request, shopper: Shopper, opened: Opened, *, status: int = 200) -> Response:
    document = await contents.of(opened.cart, capped=opened.capped, currency=_settings(request).currency)
    return _response(request, shopper, document, status=status)


def _response(request: Request, shopper: Shopper, document: Document, *, status: int = 200) -> Response:
    response = Response(encode(document), status, {"cache-control": "no-store"}, media_type="application/json")
    if shopper.by_cookie and shopper.token is not None:
        if shopper.user_id is not None:
            clear_cookie(response, _settings(request))
        elif request.method != "GET" and document["id"] is not None:
            keep_cookie(response, shopper.token, _settings(request))
    return response
