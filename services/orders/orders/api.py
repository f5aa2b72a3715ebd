"""What shoppers can do with orders: place, see, cancel."""

import hashlib
import re
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from chassis.routes import Caller, Db, IdempotencyKey, Router, Session, access
from chassis.strict import Id
from orders import cancellation, lookup, order_reading
from orders.checkout import Checkout
from orders.models import ActorKind, Order
from orders.order_states import Actor
from orders.postgres_orders import PostgresOrderBook
from orders.schemas import CancelOrder, OrderPage, OrderQuery, OrderView, PlaceOrder, Timeline
from orders.showing import encoded_order, order_view, timeline

CART_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")
CART_COOKIE = "cart_token"


NOT_KEPT = {"cache-control": "no-store"}
"""Everything here is personal: no cache keeps it."""


async def _not_kept(response: Response) -> None:
    response.headers.update(NOT_KEPT)


async def _key(key: IdempotencyKey) -> str:
    assert key is not None  # noqa: S101 - the route class refuses a request without one
    return key


async def _checkout(request: Request) -> Checkout:
    checkout: Checkout = request.app.state.checkout
    return checkout


Key = Annotated[str, Depends(_key)]
Till = Annotated[Checkout, Depends(_checkout)]


GUEST: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-Cart-Token",
            "in": "header",
            "required": False,
            "description": "The guest's cart with which the caller has just signed in: it is ordered even if it is not"
            " merged into the caller's yet. Browsers send it as the cookie `cart_token`.",
            "schema": {"type": "string", "maxLength": 200},
        }
    ]
}


def _guest_token_hash(request: Request) -> str | None:
    """The guest cart this request carries, in the header or else in the cookie; what cannot be a token is ignored."""
    for token in (request.headers.get("x-cart-token"), request.cookies.get(CART_COOKIE)):
        if token and CART_TOKEN.fullmatch(token):
            return hashlib.sha256(token.encode()).hexdigest()
    return None


def _answer(order: Order, *, status: int = 200) -> Response:
    return Response(encoded_order(order), status, headers=NOT_KEPT, media_type="application/json")


router = Router(prefix="/api/v1/orders", tags=["orders"], dependencies=[Depends(_not_kept)])


@router.post(
    "",
    status_code=201,
    response_model=OrderView,
    openapi_extra=access("user", idempotency="required", transaction=False) | GUEST,
)
async def place_order(request: Request, caller: Caller, key: Key, body: PlaceOrder, checkout: Till) -> Response:
    """Order what is in the cart. The same Idempotency-Key again answers the order as it is by then."""
    guest = _guest_token_hash(request)
    placed = await checkout.place_order(caller.user_id, key, body, guest_token_hash=guest)
    response = _answer(placed.order, status=201)
    response.headers["location"] = f"/api/v1/orders/{placed.order.id}"
    if placed.replayed:
        response.headers["idempotency-replayed"] = "true"
    if CART_COOKIE in request.cookies:
        # The guest's cart is part of the user's now, and its token is dead.
        response.delete_cookie(CART_COOKIE, path="/", httponly=True, samesite="lax")
    return response


@router.get("", response_model=OrderPage, openapi_extra=access("user"))
async def list_orders(session: Session, caller: Caller, wanted: Annotated[OrderQuery, Query()]) -> OrderPage:
    """My orders, newest first."""
    page = await lookup.my_orders(session, caller.user_id, wanted)
    items = [order_view(order) for order in page.orders]
    return OrderPage(items=items, next_cursor=page.next_cursor, **page.counts)


@router.get("/{order_id}", response_model=OrderView, openapi_extra=access("user"))
async def read_order(database: Db, caller: Caller, order_id: Id) -> Response:
    """One of my orders."""
    order = await order_reading.read_order(database.primary_reads, order_id)
    return _answer(lookup.own(order, caller.user_id))


@router.get("/{order_id}/timeline", response_model=Timeline, openapi_extra=access("user"))
async def read_timeline(session: Session, caller: Caller, order_id: Id) -> Timeline:
    """Everything that happened to one of my orders."""
    order = await lookup.my_order(session, caller.user_id, order_id)
    return timeline(await lookup.history(session, order))


@router.post("/{order_id}/cancel", response_model=OrderView, openapi_extra=access("user"))
async def cancel_order(session: Session, caller: Caller, order_id: Id, body: CancelOrder | None = None) -> OrderView:
    """Cancel an order that was not sent yet; what was paid goes back."""
    actor = Actor(ActorKind.CUSTOMER, caller.user_id)
    reason = body.reason if body else None
    book = PostgresOrderBook(session)
    order = await cancellation.cancel_order(book, actor, order_id=order_id, reason=reason, owner=caller.user_id)
    return order_view(order)
